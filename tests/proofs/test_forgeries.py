"""No forged webhook is accepted, and all refusals look alike."""

import base64
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest

from phones.models import CallEvent
from sandbox.signing import signed
from tests.support import EVERY_CASE
from tests.support.carriers import CARRIERS, PLIVO
from tests.support.tally import Tally
from tests.support.webhooks import (
    KINDS,
    NOW,
    PUBLIC_URL,
    Form,
    Knock,
    Party,
    event,
    originals,
    row_counts,
    send,
    vendor_accepts,
    wire,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("clock")]

FORGED_PER_KIND, FORGED_PER_CARRIER = (2_000, 10_000) if EVERY_CASE else (400, 2_000)


Mutation = Callable[[random.Random, Knock], Knock]
PRINTABLE = (string.ascii_letters + string.digits + "&=+%;.-_~ {}[]\"'/?#,:|\\").encode()
BASE64 = string.ascii_letters + string.digits + "+/="


def change_byte(chance: random.Random, knock: Knock) -> Knock:
    at = chance.randrange(len(knock.body))
    new = bytes([chance.choice((*PRINTABLE, knock.body[at] ^ 1 << chance.randrange(8)))])
    return replace(knock, body=knock.body[:at] + new + knock.body[at + 1 :])


def insert_byte(chance: random.Random, knock: Knock) -> Knock:
    at = chance.randrange(len(knock.body) + 1)
    return replace(knock, body=knock.body[:at] + bytes([chance.choice(PRINTABLE)]) + knock.body[at:])


def remove_byte(chance: random.Random, knock: Knock) -> Knock:
    at = chance.randrange(len(knock.body))
    return replace(knock, body=knock.body[:at] + knock.body[at + 1 :])


def on_fields(change: Callable[[random.Random, Form, int], Form]) -> Mutation:
    """Change one field of the body and leave the signature."""

    def mutate(chance: random.Random, knock: Knock) -> Knock:
        form = parse_qsl(knock.body.decode("utf-8", "replace"), keep_blank_values=True)
        if not form:
            return change_byte(chance, knock)
        return replace(knock, body=urlencode(change(chance, form, chance.randrange(len(form)))).encode())

    return mutate


def word(chance: random.Random) -> str:
    return "".join(chance.choices(string.ascii_letters + string.digits + "+é", k=chance.randint(1, 12)))


def another_value(chance: random.Random, form: Form, at: int) -> Form:
    return [*form[:at], (form[at][0], word(chance)), *form[at + 1 :]]


def another_name(chance: random.Random, form: Form, at: int) -> Form:
    return [*form[:at], (word(chance), form[at][1]), *form[at + 1 :]]


def swap_values(chance: random.Random, form: Form, at: int) -> Form:
    to, changed = chance.randrange(len(form)), list(form)
    changed[at], changed[to] = (form[at][0], form[to][1]), (form[to][0], form[at][1])
    return changed


def move_to_query(chance: random.Random, knock: Knock) -> Knock:
    first, _, rest = knock.body.partition(b"&")
    joint = "&" if "?" in knock.path else "?"
    return replace(knock, path=f"{knock.path}{joint}{quote(first, safe='=%+')}", body=rest or b"x=1")


def add_to_query(chance: random.Random, knock: Knock) -> Knock:
    return replace(knock, path=f"{knock.path}{'&' if '?' in knock.path else '?'}{quote(word(chance))}=1")


def drop_from_query(chance: random.Random, knock: Knock) -> Knock:
    path, _, query = knock.path.partition("?")
    return replace(knock, path=path) if query else add_to_query(chance, knock)


def on_header(names: tuple[str, ...], change: Callable[[random.Random, str], str | None]) -> Mutation:
    def mutate(chance: random.Random, knock: Knock) -> Knock:
        changed = {name: change(chance, knock.headers.get(name, "")) for name in names}
        return knock.with_headers(**changed)

    return mutate


def alter(chance: random.Random, value: str) -> str:
    at = chance.randrange(len(value) or 1)
    return value[:at] + chance.choice(BASE64.replace(value[at : at + 1] or "=", "")) + value[at + 1 :]


def unpacked(value: str) -> bytes:
    try:
        return base64.b64decode(value)
    except ValueError:
        return b""


HEADER_CHANGES: list[Callable[[random.Random, str], str | None]] = [
    alter,
    alter,
    alter,
    lambda chance, value: value[: chance.randrange(len(value) or 1)],
    lambda chance, value: value[chance.randrange(len(value) or 1) + 1 :],
    lambda chance, value: value + chance.choice(BASE64),
    lambda _, value: "",
    lambda _, value: None,
    lambda _, value: f"{value}{value}",
    lambda _, value: f"{value},{value}",
    lambda _, value: value.lower(),
    lambda _, value: value.upper(),
    lambda _, value: value[::-1],
    lambda _, value: value.encode().hex(),
    lambda _, value: unpacked(value).hex(),
    lambda _, value: value.rstrip("="),
    lambda chance, value: chance.randbytes(len(value)).hex(),
    lambda chance, value: base64.b64encode(chance.randbytes(chance.choice((20, 32, 64)))).decode(),
    lambda _, value: value + "\u00e9",
]
TIMESTAMPS: list[Callable[[random.Random, str], str | None]] = [
    lambda chance, value: str(NOW + chance.choice((-1, 1)) * chance.randint(1, 10**6)),
    lambda _, value: f"{value}.0",
    lambda _, value: f"+{value}",
    lambda _, value: f"-{value}",
    lambda _, value: f"0{value}",
    lambda _, value: f"{value[:1]}_{value[1:]}",
    lambda _, value: f"{value}|",
    lambda _, value: f"{value} 0",
    lambda _, value: (
        value.translate({ord(str(digit)): 0x660 + digit for digit in range(10)}).encode().decode("latin-1")
    ),
    lambda chance, value: word(chance),
    lambda _, value: hex(NOW),
    lambda _, value: "9" * 400,
]


def strangers(party: Party, other: Party, kind: str) -> list[Mutation]:
    """Requests that are signed well, by somebody else or for something else."""
    carrier = party.row.integration

    def form_of(knock: Knock) -> Form:
        return parse_qsl(knock.body.decode("utf-8", "replace"), keep_blank_values=True) or [("x", "1")]

    def by_another(chance: random.Random, knock: Knock) -> Knock:
        """This address, signed with the other account's secret."""
        body, headers = signed(other.carrier, PUBLIC_URL + knock.path, form_of(knock), timestamp=NOW)
        return Knock(knock.path, body, headers)

    def at_another(chance: random.Random, knock: Knock) -> Knock:
        """The other account's address, with this account's signature; for it, or as it was for this address."""
        path = knock.path.replace(party.row.webhook_token, other.row.webhook_token)
        if chance.random() < 0.5:
            return replace(knock, path=path)
        body, headers = signed(party.carrier, PUBLIC_URL + path, form_of(knock), timestamp=NOW)
        return Knock(path, body, headers)

    def at_nobodys(chance: random.Random, knock: Knock) -> Knock:
        token = chance.choice(
            (word(chance).replace("é", "e").replace("+", "-"), party.row.webhook_token[:-1] + "!"[:0])
        )
        path = knock.path.replace(party.row.webhook_token, token)
        body, headers = signed(party.carrier, PUBLIC_URL + path, form_of(knock), timestamp=NOW)
        return Knock(path, body, headers)

    def at_another_carriers(chance: random.Random, knock: Knock) -> Knock:
        path = knock.path.replace(f"/{carrier}/", f"/{chance.choice([*(set(CARRIERS) - {carrier}), 'vonage'])}/")
        body, headers = signed(party.carrier, PUBLIC_URL + path, form_of(knock), timestamp=NOW)
        return Knock(path, body, headers)

    def of_another_request(chance: random.Random, knock: Knock) -> Knock:
        donor = party.knock(kind, event(carrier, word(chance)))
        return replace(knock, headers=knock.headers | donor.headers)

    def for_another_host(chance: random.Random, knock: Knock) -> Knock:
        url = chance.choice(("http://testserver", "https://testserver", "http://phones.example.com"))
        body, headers = signed(party.carrier, url + knock.path, form_of(knock), timestamp=NOW)
        return Knock(knock.path, body, headers)

    def at_another_kind(chance: random.Random, knock: Knock) -> Knock:
        """Also at one that there is not."""
        to = chance.choice([one for one in (*KINDS, "digest", "under", "x") if one != kind])
        return replace(knock, path=knock.path.replace(f"/{kind}", f"/{to}", 1))

    def too_old_or_new(chance: random.Random, knock: Knock) -> Knock:
        off = chance.choice((-1, 1)) * chance.choice((301, 302, 3600, chance.randint(301, 10**9)))
        body, headers = signed(party.carrier, "", form_of(knock), timestamp=NOW + off)
        return Knock(knock.path, body, headers)

    def v2_only(chance: random.Random, knock: Knock) -> Knock:
        gone = dict.fromkeys((*PLIVO.signature_headers, "X-Plivo-Signature-V3-Nonce"))
        one = knock.with_headers(**gone)
        if chance.random() < 0.5:  # in the place of the better one
            v2 = knock.headers["X-Plivo-Signature-V2"], knock.headers["X-Plivo-Signature-V2-Nonce"]
            one = one.with_headers(X_Plivo_Signature_V3=v2[0], X_Plivo_Signature_V3_Nonce=v2[1])
        if chance.random() < 0.5:
            one = one.with_headers(X_Plivo_Signature=knock.headers["X-Plivo-Signature-V2"])
        return another_nonce(chance, one)

    def another_nonce(chance: random.Random, knock: Knock) -> Knock:
        """Only the nonce of V2, which is no news to us."""
        return knock.with_headers(X_Plivo_Signature_V2_Nonce=word(chance).replace("é", "e"))

    found: list[Mutation] = [by_another, at_another, at_nobodys, at_another_carriers, of_another_request]
    if carrier != "telnyx":
        found += [for_another_host, at_another_kind]
    if carrier == "plivo":
        found.append(v2_only)
    if carrier == "telnyx":
        found.append(too_old_or_new)
    return found


def mutations(party: Party) -> list[Mutation]:
    """Requests that were changed after they were signed."""
    carrier = party.row.integration
    good = CARRIERS[carrier]
    change_fields = [
        lambda chance, form, at: [*form[:at], *form[at + 1 :]],
        lambda chance, form, at: [*form, (word(chance), word(chance))],
        lambda chance, form, at: [*form, (form[at][0], word(chance))],
        lambda chance, form, at: [(form[at][0], word(chance)), *form],
        lambda chance, form, at: [*form[:at], (form[at][0], ""), *form[at + 1 :]],
        another_value,
        another_name,
        swap_values,
    ]
    found: list[Mutation] = [change_byte, change_byte, insert_byte, remove_byte]
    found += [move_to_query, add_to_query, drop_from_query]
    found += [on_fields(change) for change in change_fields]
    found += [on_header(good.signature_headers, change) for change in HEADER_CHANGES]
    if carrier == "plivo":
        found += [on_header(good.signed_headers, change) for change in (alter, alter, *HEADER_CHANGES[3:8])]
    if carrier == "telnyx":
        found += [on_header(good.signed_headers, change) for change in (alter, *HEADER_CHANGES[3:8], *TIMESTAMPS)]
    return found


def mutants(party: Party, other: Party, kind: str) -> Iterator[Knock]:
    """Without end: each byte of each body first, then every mutation in turn, now and then two of them at once."""
    chance = random.Random(f"{party.row.integration} {kind}")
    good = originals(party, kind)
    for knock in good:
        for at in range(0, len(knock.body), 2):
            yield replace(knock, body=knock.body[:at] + bytes([knock.body[at] ^ 1]) + knock.body[at + 1 :])
            yield replace(knock, body=knock.body[:at] + knock.body[at + 1 :])
    unsigned = mutations(party)
    while True:
        for mutate in (*unsigned, *strangers(party, other, kind)):
            for knock in good:
                mutant = mutate(chance, knock)
                yield mutant
                if mutant.body and chance.random() < 0.25:
                    yield chance.choice(unsigned)(chance, mutant)


def can_be_read(knock: Knock) -> bool:
    try:
        return bool(knock.body.decode()) or True
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("kind", KINDS)
def test_no_forged_request_comes_in_and_all_are_answered_alike(
    party: Party, other: Party, kind: str, tally: Tally
) -> None:
    assert len(KINDS) * FORGED_PER_KIND >= FORGED_PER_CARRIER
    seen: set[Any] = set()
    forged: list[Knock] = []
    equivalent: list[Knock] = []
    for knock in mutants(party, other, kind):
        if knock.mark in seen:
            continue
        seen.add(knock.mark)
        (equivalent if vendor_accepts(knock, [party, other]) else forged).append(knock)
        if len(forged) == FORGED_PER_KIND:
            break

    replies: dict[Any, list[Knock]] = {}
    for knock in forged:
        replies.setdefault(wire(send(knock)), []).append(knock)
    tally("forged webhooks tried", len(forged))
    tally("forged webhooks accepted", sum(len(knocks) for reply, knocks in replies.items() if reply[0] < 300))

    assert {reply[:2]: knocks[:3] for reply, knocks in replies.items() if reply[:2] != (403, b"")} == {}
    assert len(replies) == 1, "the reason shows"
    assert not any(secret in repr(list(replies)) for secret in (*party.secrets(), *other.secrets()))
    assert row_counts() == (0, 0, 0)

    readable = [knock for knock in equivalent if can_be_read(knock)]
    assert {send(knock).status_code for knock in readable} <= {200}
    for knock in originals(party, kind):
        assert send(knock).status_code == 200
    assert CallEvent.objects.count() == len(originals(party, kind)), "the same in another form is another event"
