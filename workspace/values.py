"""What the values of variables may be. Each function converts a text, or raises ValueError.

The error is the rest of a sentence that begins with the variable's name. It contains no part of the value, because that
may be a secret.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from core.secrets import is_key

# A key with fewer characters, or fewer distinct ones, can be guessed; keys from documentation are known.
KEY_LENGTH, KEY_CHARACTERS = 32, 5
PLACEHOLDER = re.compile(r"change.?me|replace.?me|secret.?key|placeholder|example|django-insecure", re.IGNORECASE)
# Shorter passwords are not redacted by themselves.
SHORTEST_HIDDEN = 4
LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
URL = re.compile(r"(https?)://(\[[^\]/?#@]*\]|[^/:?#@\[\]]*)(?::([0-9]+))?([/?#].*)?", re.IGNORECASE)
DEFAULT_PORTS = {"http": 80, "https": 443}
# Carriers look the host up in the public DNS. Twilio takes letters, digits and hyphens only, and no underscore:
# https://www.twilio.com/docs/api/errors/21502 (read 2026-11-30). A last label with a digit is a part of an address
# (1.0x7f is 1.0.0.127) or in no DNS: https://www.rfc-editor.org/rfc/rfc3696#section-2 (read 2026-11-30)
LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
PUBLIC_NAME = re.compile(rf"(?=.{{1,253}}$)(?:{LABEL}\.)+(?:[A-Za-z]{{2,63}}|(?=[Xx][Nn]--){LABEL})")
# Names that are never in the public DNS: https://www.rfc-editor.org/rfc/rfc6762#appendix-G, rfc6761, rfc7686, rfc8375
# and rfc9476 (read 2026-11-30), and Linux' localdomain. Not .test and .example, which people use to try things.
PRIVATE_NAMES = (
    "local", "localhost", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa",
    "invalid", "onion", "alt",
)  # fmt: skip
# What Django compares with a Host header: it takes no other characters in one.
SERVED_HOST = re.compile(r"\*|\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:.]+\]")
TCP = re.compile(r"(?:\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
# https://man7.org/linux/man-pages/man7/unix.7.html (read 2026-11-30): sun_path has 108 bytes, with the final zero.
SOCKET_PATH_BYTES = 107


# -- texts ------------------------------------------------------------------------------------------------------------


def nothing(value: str) -> None:
    if value:
        raise ValueError("must not be set: the server answers at the root of its host, not below a path.")


def one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in words:
            raise ValueError(f"must be {' or '.join(words)}.")
        return value.lower()

    return parse


def switch(value: str) -> bool:
    if value.lower() not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
        raise ValueError("must be on or off.")
    return value.lower() in ("1", "true", "yes", "on")


# -- numbers ----------------------------------------------------------------------------------------------------------


def whole_number(least: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", value) or int(value) < least:
            raise ValueError(f"must be a whole number, {least} or more.")
        return int(value)

    return parse


def seconds(value: str) -> float:
    number = float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value) else 0
    if not 0 < number <= 60:
        raise ValueError("must be a number of seconds above 0 and at most 60.")
    return number


def days(value: str) -> int | None:
    """A number of days; None for `forever`."""
    if value.lower() == "forever":
        return None
    if not re.fullmatch("[1-9][0-9]{0,4}", value) or int(value) > 36500:
        raise ValueError("must be a number of days from 1 to 36500, or forever.")
    return int(value)


# -- secrets ----------------------------------------------------------------------------------------------------------


def secret_key(value: str) -> str:
    if len(value) < KEY_LENGTH or len(set(value)) < KEY_CHARACTERS or PLACEHOLDER.search(value):
        raise ValueError(
            f"can be guessed: it must be random, with at least {KEY_LENGTH} characters. "
            "Make one with: openssl rand -hex 32"
        )
    return value


def bearer_token(value: str) -> str:
    """A token for an Authorization header, or an empty text."""
    if value and not re.fullmatch("[!-~]{32,}", value):
        raise ValueError(
            "must have at least 32 characters, all of them ASCII and no blanks. Make one with: openssl rand -hex 32"
        )
    return value


def credential_keys(value: str) -> list[str]:
    keys = [key.strip() for key in value.split(",") if key.strip()]
    bad = [f"key {place}" for place, key in enumerate(keys, 1) if not is_key(key)]
    if bad or not keys:
        raise ValueError(
            f"must be url-safe base64 of 32 bytes each; wrong: {', '.join(bad) or 'no key'} of {len(keys)}. "
            "Make one with: openssl rand -base64 32 | tr '+/' '-_'"
        )
    return keys


# -- addresses --------------------------------------------------------------------------------------------------------


def host_of(url: str) -> str:
    """The host of a URL, as a browser sends it without the port. Empty if there is none."""
    match = URL.fullmatch(url)
    return match[2].lower() if match else ""


def is_loopback(host: str) -> bool:
    return host.strip("[]").lower() in LOOPBACK_HOSTS


def api_url(value: str) -> str:
    """The base URL of an API, without the slash at its end."""
    match = split_url(value)
    problems = scheme_problems(match)
    if "?" in (match[4] or "") or "#" in (match[4] or "") or re.search(r"\s", value):
        problems.append("must have no query, fragment or blank")
    return one_sentence(value.rstrip("/"), problems)


def public_url(value: str) -> str:
    """The address at which carriers and browsers reach this server, without the slash at its end."""
    match = split_url(value)
    scheme, host, port, path = match[1].lower(), match[2], match[3], (match[4] or "").strip("/")
    problems = scheme_problems(match)
    if path:
        problems.append("must have no path, query or fragment: give the server a host name of its own")
    if port and int(port) == DEFAULT_PORTS[scheme]:
        problems.append(f"must not name port {port}, which is the usual one")
    if not is_loopback(host) and (problem := host_problem(host)):
        problems.append(problem)
    return one_sentence(value.rstrip("/"), problems)


def split_url(value: str) -> re.Match[str]:
    match = URL.fullmatch(value)
    if not match or not match[2]:
        raise ValueError("must be an https:// address with a host and without a user name.")
    if match[3] and (len(match[3]) > 5 or not 0 < int(match[3]) < 65536):
        raise ValueError("must have a port from 1 to 65535, or none.")
    return match


def scheme_problems(match: re.Match[str]) -> list[str]:
    if match[1].lower() == "https" or is_loopback(match[2]):
        return []
    return ["must be an https:// address (http:// only on this machine)"]


def host_problem(host: str) -> str:
    """Why carriers cannot reach the host, or an empty text."""
    try:
        address = ip_address(host)
    except ValueError:
        pass
    else:
        is_reachable = address.is_global and not address.is_multicast
        return "" if is_reachable else "must not have a private or multicast address: carriers cannot reach it"
    if host.lower().endswith(tuple(f".{name}" for name in PRIVATE_NAMES)):
        return "must not have a name of a private network: carriers cannot reach it"
    if not PUBLIC_NAME.fullmatch(host):
        return (
            "must have a host that carriers take: a full name of letters, digits, hyphens and dots, "
            "with an international name in its xn-- form"
        )
    return ""


def one_sentence(value: str, problems: list[str]) -> str:
    if problems:
        raise ValueError(f"{', and '.join(problems)}.")
    return value


def hosts(value: str) -> list[str]:
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    bad = [f"entry {place}" for place, entry in enumerate(entries, 1) if not SERVED_HOST.fullmatch(entry)]
    if bad:
        raise ValueError(
            "must be host names, separated by commas, without scheme, port, path and quotes, such as "
            f"phones.example.com,10.0.0.5,[::1]; wrong: {', '.join(bad)}."
        )
    return entries


def bind(value: str) -> str:
    """An address to listen on: host:port, or unix:path."""
    scheme, _, path = value.partition(":")
    if scheme == "unix" and path:
        if len(path.encode()) > SOCKET_PATH_BYTES:
            raise ValueError(f"must have a path of at most {SOCKET_PATH_BYTES} bytes.")
        return value
    match = TCP.fullmatch(value)
    if not match or int(match[1]) > 65535:
        raise ValueError("must be host:port or unix:/path/to/socket, for example 0.0.0.0:8000 or [::]:8000.")
    return value


def exposed_by(bind: str, public_url: str, proxies: int) -> str:
    """The names of the settings by which others reach this server, joined by "and". Empty if nobody does."""
    exposed = {
        "BIND": not bind.startswith("unix:") and not is_loopback(bind.rpartition(":")[0]),
        "PUBLIC_URL": bool(public_url) and not is_loopback(host_of(public_url)),
        "TRUSTED_PROXY_COUNT": proxies > 0,
    }
    return " and ".join(name for name, is_exposed in exposed.items() if is_exposed)


def redis_url(value: str) -> str:
    """The URL of a Redis, or an empty text."""
    if not value:
        return value
    import redis  # takes 80 ms, which an installation without REDIS_URL saves

    try:
        parts = urlsplit(value)
        redis.ConnectionPool.from_url(value).make_connection()  # connects to nothing
        # What it ignores: a second @, which belongs to the password, a port of 0, and what is not a number.
        is_unix = parts.scheme == "unix"
        is_good = bool(parts.path.strip("/")) if is_unix else bool(parts.hostname) and parts.port != 0
        is_good &= is_unix or bool(re.fullmatch("(/[0-9]*)?", parts.path))
        is_good &= parts.netloc.count("@") < 2 and not parts.fragment
    except (ValueError, TypeError, AttributeError, redis.RedisError):  # the last three for options
        is_good = False
    if not is_good:
        raise ValueError(
            "must be redis://host:port/number, rediss:// or unix:///path/to/socket, with the characters :/?#[]@% in a "
            "password percent-encoded, and after a ? only options of redis-py."
        )
    return value


def passwords_of(*urls: str) -> list[str]:
    """The passwords in these URLs and their options, both as written and percent-decoded.

    Not short ones, which are a part of many words: each would make most log lines unreadable.
    """
    written: list[str] = []
    for url in urls:
        with suppress(ValueError):  # such an URL is refused, so nothing can use its password
            parts = urlsplit(url)
            options = (pair.partition("=") for pair in parts.query.split("&"))
            written += [
                parts.password or "",
                *(text for name, _, text in options if name.lower().endswith(("password", "secret"))),
            ]
    return [text for text in {*written, *map(unquote, written)} if len(text) >= SHORTEST_HIDDEN]
