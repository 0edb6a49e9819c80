"""Where calls may be connected: a number, a SIP address, or a media stream's address.

The carrier connects, not we, so that an address leads into no network of ours. It must have a public host name all the
same: any other would fail at the carrier, call by call.
"""

import re

from phones.numbers import to_e164

LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# The last label has a letter first: otherwise it may be read as an address, as 127.1 and 0x7f.1 are.
HOST = rf"(?P<host>(?:{LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?)(?::(?P<port>[1-9][0-9]{{0,4}}))?"
# RFC 3986, 2.3 and 2.2, without `:` and `@`, which would begin credentials or a host.
CHARACTERS = r"A-Za-z0-9._~!$&'()*+,;=\-"
ESCAPED = "%[0-9A-Fa-f]{2}"
USER = f"(?:[{CHARACTERS}]|{ESCAPED})+"
PATH = f"/(?:[{CHARACTERS}:@/]|{ESCAPED})*"
ADDRESSES = {
    "sip": (re.compile(f"sip:{USER}@{HOST}(?:;transport=(?:udp|tcp|tls))?"), 255),
    "sips": (re.compile(f"sips:{USER}@{HOST}"), 255),
    "wss": (re.compile(f"wss://{HOST}{PATH}"), 500),
}
NOTHING = re.compile(r"(?!)")
# Names that lead nowhere in public. RFC 6761 and 6762; `internal` is kept for private use by ICANN.
PRIVATE = ("localhost", "local", "internal", "invalid", "test")

HINT = (
    "send a number with its country code, sip:user@host, sips:user@host or wss://host/path, with a public host name "
    "and without credentials, ? and #."
)


def read_target(text: str) -> str:
    """Read the target of a call: the digits of a number, or an address as it was sent. Raises ValueError with a
    sentence, which does not repeat the text."""
    scheme, separator, _ = text.partition(":")
    if not separator:
        return to_e164(text)
    form, most = ADDRESSES.get(scheme, (NOTHING, 0))
    found = form.fullmatch(text)
    if found is None or not is_public(found["host"], found["port"]):
        raise ValueError(HINT)
    if len(text) > most:
        raise ValueError(f"this address is too long: send at most {most} characters.")
    return text


def is_public(host: str, port: str | None) -> bool:
    """Whether a host's name can be one that everybody finds, and the port one that exists."""
    return len(host) <= 253 and host.lower().rpartition(".")[2] not in PRIVATE and int(port or 443) <= 65535
