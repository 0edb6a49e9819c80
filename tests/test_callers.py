"""Callers without a number are not numbers, whichever way a carrier writes it."""

import json
from typing import Any

import pytest

from integrations import provider_class
from integrations.events import party
from sandbox.sandbox import Sandbox
from tests.support.api import get
from tests.support.carriers import CARRIERS, Good
from tests.support.events import post
from tests.support.people import Tenant
from tests.support.webhooks import form_of, join

# Digits: Twilio's list (help.twilio.com/articles/223179988), as code that cites it has it; bmlt-enabled/yap#125,
# somleng/somleng#1820, sstephenson/global_phone#27. 7378742833 is what code that has met it looks for.
# SIP addresses: RFC 3323; wazo-platform/wazo-platform.org#703. "Anonymous": techmatters/flex-plugins#4647.
WITHHELD = {
    "anonymous": "anonymous",
    "Anonymous": "anonymous",
    "ANONYMOUS": "anonymous",
    "+anonymous": "anonymous",
    " anonymous ": "anonymous",
    "+266696687": "anonymous",
    "266696687": "anonymous",
    "sip:anonymous@anonymous.invalid": "anonymous",
    "sip:c8oqz84zk7z@anonymous.invalid": "anonymous",
    '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1928301774': "anonymous",
    "sip:266696687@sip.example.com": "anonymous",
    "sip:+266696687@sip.example.com:5060": "anonymous",
    "sip:anonymous@192.0.2.7": "anonymous",
    "anonymous@anonymous.invalid": "anonymous",
    "sip:c8oqz84zk7z@anonymous.invalid:5060": "anonymous",
    '"Ann" <sip:restricted@anonymous.invalid>': "restricted",
    "tel:anonymous": "anonymous",
    "sip:anonymous": "anonymous",
    "<tel:Anonymous;phone-context=example.com>": "anonymous",
    "tel:+266696687": "anonymous",
    "Anonymous Caller": "anonymous",
    "restricted": "restricted",
    "Restricted": "restricted",
    "+7378742833": "restricted",
    "+7378742883": "restricted",
    '"Restricted" <sip:x@gateway.example>': "restricted",
    "Private": "restricted",
    "Private Number": "restricted",
    "No Caller ID": "restricted",
    "Caller ID withheld": "restricted",
    "withheld": "restricted",
    "+2562533": "blocked",
    "2562533": "blocked",
    "Blocked number": "blocked",
    "Blocked": "blocked",
    "unknown": "unknown",
    "+8656696": "unknown",
    "+464": "unknown",
    "UNKNOWN CALLER": "unknown",
    '"Unknown" <sip:unknown@192.0.2.7>': "unknown",
    "sip:c8oqz84zk7z@unknown.invalid": "unknown",
    "sips:unknown@unknown.invalid;transport=tls": "unknown",
    "unavailable": "unavailable",
    "Unavailable": "unavailable",
    "+86282452253": "unavailable",
    "86282452253": "unavailable",
}
KEPT = {
    "+441632960083": "441632960083",
    "441632960083": "441632960083",
    "+2666966870": "2666966870",  # a digit more
    "sip:alice@example.com": "sip:alice@example.com",
    "sip:+441632960083@example.com": "sip:+441632960083@example.com",
    "client:anonymous": "client:anonymous",
    "anonymous bosch": "anonymous bosch",
    "caller": "caller",
    "unknown private": "unknown private",
    # Ten digits are a number in the USA, and three a short code.
    "7378742833": "7378742833",
    "+17378742833": "17378742833",
    "464": "464",
    # Users who are called so, and a number whose name is not known.
    "sip:private@office.example": "sip:private@office.example",
    "sip:blocked@office.example;transport=tcp": "sip:blocked@office.example;transport=tcp",
    "unknown@office.example": "unknown@office.example",
    '"Unknown" <sip:+441632960083@gateway.example>': '"Unknown" <sip:+441632960083@gateway.example>',
    '"Alice" <sip:alice@office.example>': '"Alice" <sip:alice@office.example>',
    "tel:+441632960083": "tel:+441632960083",
    "": "",
    "9" * 129: "",
}
NOT_TEXT: list[Any] = [None, True, [], ["+441632960083"], {"phone_number": "+441632960083"}, 4.5]


@pytest.mark.parametrize(("theirs", "ours"), [*WITHHELD.items(), *KEPT.items()])
def test_who_calls(theirs: str, ours: str) -> None:
    assert party(theirs) == ours


@pytest.mark.parametrize("theirs", NOT_TEXT, ids=repr)
def test_what_is_no_text_is_nobody(theirs: Any) -> None:
    assert party(theirs) == ""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("theirs", ["Anonymous", "+266696687", "sip:anonymous@anonymous.invalid", "+86282452253", ""])
def test_a_caller_without_a_number_is_a_word_in_the_log(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, theirs: str
) -> None:
    sent = theirs.removeprefix("+") if carrier.integration == "plivo" else theirs

    assert post(join(sandbox, tenant, carrier), form_of(carrier, From=sent), "answer").status_code == 200

    (call,) = get("/api/call/calls", tenant).json()["data"]["items"]
    assert (call["from"], call["to"]) == (WITHHELD.get(theirs), carrier.number)
    assert call["direction"] == "inbound"


def test_a_caller_without_a_number_in_a_telnyx_event() -> None:
    payload = {"call_control_id": "v3:1", "from": "Anonymous", "to": f"+{CARRIERS['telnyx'].number}"}
    said = provider_class("telnyx").parse_event({"data": {"event_type": "call.initiated", "payload": payload}})
    assert said.call and said.call.caller == "anonymous", json.dumps(payload)
