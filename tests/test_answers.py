"""How a call is answered: each plan in each carrier's words, and nothing that a customer writes changes the structure."""

import random
from typing import Any
from xml.etree.ElementTree import Element

import plivo.xml
import pytest
from defusedxml import ElementTree
from twilio.twiml import voice_response

from integrations import provider_class
from integrations.answers import MAX_SPOKEN, Dial, HangUp, Plan, Record, Reject, Say, Stream
from integrations.languages import ALIASES, VOICES
from integrations.webhooks import Urls
from phones.models import PhoneNumber
from phones.spoken import SENTENCES, sentences_in
from phones.targets import read_target
from sandbox.sandbox import Sandbox
from tests.support.api import data_of, send
from tests.support.carriers import CARRIERS, Good
from tests.support.numbers import added
from tests.support.people import Tenant

URLS = Urls.under("https://phones.example.com/api/webhooks/x/y")
# Shown in the name of a test that fails.
SEEDS = [20261130]
STREAM = "wss://voice.example.com/calls"
SIP = "sip:desk@pbx.example.com;transport=tcp"


def rendered(carrier: Good, *plan: Any) -> Element:
    return ElementTree.fromstring(provider_class(carrier.integration).render_answer(plan, URLS))


def shape(element: Element) -> list[Any]:
    return [element.tag, *map(shape, element)]


PLANS: dict[str, Plan] = {
    "voicemail": (Say("Hello", "de-DE"), Record(), HangUp()),
    "number": (Dial("442079460018", "12125551234", 20, record=True),),
    "sip": (Dial(SIP, "12125551234", 20),),
    "stream": (Stream(STREAM, {"phoneId": "a1", "callId": "b2"}), HangUp()),
    "reject": (Reject(),),
    "hangup": (HangUp(),),
}
# What each vendor's pages name, of the elements and attributes that a document may have.
TWIML = {
    "Response": set(), "Say": {"voice", "language", "loop"}, "Hangup": set(), "Reject": {"reason"},
    "Record": {"action", "method", "timeout", "finishOnKey", "maxLength", "playBeep", "trim", "recordingStatusCallback",
               "recordingStatusCallbackMethod", "recordingStatusCallbackEvent"},
    "Dial": {"action", "method", "timeout", "timeLimit", "callerId", "record", "answerOnBridge", "recordingStatusCallback",
             "recordingStatusCallbackMethod", "recordingStatusCallbackEvent"},
    "Number": {"statusCallback", "statusCallbackEvent"}, "Sip": {"username", "password"}, "Connect": {"action", "method"},
    "Stream": {"url", "name", "track", "statusCallback", "statusCallbackMethod"}, "Parameter": {"name", "value"},
}  # fmt: skip
DESCRIPTIONS = {
    "twilio": TWIML,
    "telnyx": TWIML | {"Stream": TWIML["Stream"] | {"codec", "bidirectionalMode", "bidirectionalCodec", "enableReconnect"}},
    "plivo": {
        "Response": set(), "Speak": {"voice", "language", "loop"}, "Hangup": {"reason", "schedule"}, "Number": set(),
        "User": {"sipHeaders"}, "Dial": {"action", "method", "timeout", "timeLimit", "callerId", "redirect"},
        "Record": {"action", "method", "fileFormat", "redirect", "timeout", "maxLength", "recordSession", "finishOnKey",
                   "startOnDialAnswer", "playBeep", "callbackUrl", "callbackMethod", "recordChannelType"},
        "Stream": {"bidirectional", "audioTrack", "streamTimeout", "statusCallbackUrl", "statusCallbackMethod",
                   "contentType", "extraHeaders", "keepCallAlive"},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_a_document_has_only_what_the_vendor_describes(carrier: Good, name: str) -> None:
    described = DESCRIPTIONS[carrier.integration]
    document = rendered(carrier, *PLANS[name])
    for element in document.iter():
        assert set(element.attrib) <= described[element.tag], element.tag
        nested = getattr(plivo.xml, f"{element.tag}Element", None) if carrier.integration == "plivo" else None
        builder = nested or getattr(voice_response, element.tag, None)
        assert builder or element.tag in ("Response", "Parameter"), element.tag


def test_a_stream_is_opened_both_ways_with_our_ids(carrier: Good) -> None:
    document = rendered(carrier, *PLANS["stream"])
    stream = next(document.iter("Stream"))
    if carrier.integration == "plivo":
        assert (stream.text, stream.get("extraHeaders")) == (STREAM, "phoneId=a1,callId=b2")
        assert (stream.get("bidirectional"), stream.get("keepCallAlive")) == ("true", "true")
        assert stream.get("contentType") == "audio/x-mulaw;rate=8000"
    else:
        assert [(one.get("name"), one.get("value")) for one in stream] == [("phoneId", "a1"), ("callId", "b2")]
        assert stream.get("url") == STREAM
        is_telnyx = carrier.integration == "telnyx"
        assert stream.get("bidirectionalMode") == ("rtp" if is_telnyx else None)
        assert stream.get("enableReconnect") == ("false" if is_telnyx else None)
    assert document[-1].tag == "Hangup"


def test_a_ringing_target_is_bounded_and_its_outcome_is_asked_for(carrier: Good) -> None:
    for name, target in (("number", "442079460018"), ("sip", SIP)):
        dial = next(rendered(carrier, *PLANS[name]).iter("Dial"))
        assert (dial.get("timeout"), dial.get("action")) == ("20", URLS.done)
        assert (dial[0].text or "").lstrip("+") == target


def test_twilio_encrypts_sips() -> None:
    document = rendered(CARRIERS["twilio"], Dial("sips:a@pbx.example.com:5061", "12125551234", 30))
    assert next(document.iter("Sip")).text == "sip:a@pbx.example.com:5061;transport=tls"


@pytest.mark.parametrize("language", VOICES)
def test_each_language_is_spoken_by_its_voice(carrier: Good, language: str) -> None:
    spoken = rendered(carrier, Say("Hello", language))[0]
    assert (spoken.get("voice"), spoken.get("language")) == (VOICES[language], language)


@pytest.mark.parametrize("text", ["a" * 1000, "ह" * 1000, "語。" * 500, "Гм, да. " * 125, "x" * 999 + "é"])
def test_a_long_text_is_spoken_in_parts(text: str) -> None:
    parts = list(Say(text).parts())
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(len(part.encode()) <= MAX_SPOKEN for part in parts)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_text_breaks_out_of_its_element(carrier: Good, seed: int) -> None:
    random.seed(seed)
    pieces = [
        "</Say>",
        "<Dial>",
        "]]>",
        "&",
        "&#x3c;",
        '"',
        "'",
        "{{From}}",
        "{{{#if x}}}",
        "\0",
        "\ud800",
        "\uffff",
        "語",
        "<!--",
        " ",
        "a",
    ]
    plain = shape(rendered(carrier, Say("a"), HangUp()))
    for _ in range(500):
        text = "".join(random.choices(pieces, k=random.randint(1, 30))) + "a"
        document = provider_class(carrier.integration).render_answer((Say(text), HangUp()), URLS)
        assert "{{" not in document and "}}" not in document
        assert shape(ElementTree.fromstring(document)) == plain


HOSTILE = [
    "sip:a@10.0.0.1", "sip:a@[::1]", "sip:a@localhost", "sip:a@x.localhost", "sip:a:b@pbx.example.com", "sip:@pbx.example.com",
    "sip:a@pbx.example.com?x=1", "sip:a@pbx.example.com#x", "sip:a@pbx.example.com;transport=ws", "sip:a@pbx",
    "sip:a@pbx.example.com:0", "sip:a@pbx.example.com:70000", "sip:a@127.1", "sip:a@0x7f.0x1", "sip:a@pbx.internal",
    "sips:a@pbx.example.com;transport=udp", "wss://a:b@voice.example.com/", "wss://voice.example.com", "wss://voice.example.com/?x",
    "wss://voice.example.com/#x", "wss://169.254.169.254/", "wss://voice.example.com/{{From}}", "wss://voice.example.com/ ",
    " wss://voice.example.com/", "ws://voice.example.com/", "https://voice.example.com/", "wss://voice.example.com\\@x.example/",
    "wss://voice_x.example.com/", "wss://voice.example.com./", "wss://vоice.example.com/", "wss://2130706433/", "wss:///x", "911",
    "wss://voice.example.com/" + "a" * 500, "sip:" + "a" * 255 + "@pbx.example.com", "javascript:alert(1)", "sip:a@b@c.example.com",
    'wss://voice.example.com/"/>', "wss://voice.example.com/%zz", "WSS://voice.example.com/", "wss://voice.example.com/\n",
]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_no_hostile_target_is_read(seed: int) -> None:
    for target in HOSTILE:
        with pytest.raises(ValueError, match=r"\."):
            read_target(target)
    random.seed(seed)
    for _ in range(500):
        base = random.choice(["sip:a@pbx.example.com", "wss://voice.example.com/a/b"])
        at = random.randrange(len(base) + 1)
        target = base[:at] + random.choice('<>"\\^`{}| \t\r\n\0[]?#é\u202e') + base[at:]
        with pytest.raises(ValueError, match=r"\."):
            read_target(target)


@pytest.mark.parametrize(
    "target",
    ["442079460018", "sip:a@pbx.example.com", "sip:+1555%20x@pbx.example.com:5070;transport=udp", SIP, STREAM,
     "sips:a@pbx.example.com", "wss://voice.example.com:443/", "wss://voice.example.com/a%20b/~c;d=e,f:@!$&'()*+"],
)  # fmt: skip
def test_a_good_target_stays_as_it_is(target: str) -> None:
    assert read_target(target) == target


# -- at the API -------------------------------------------------------------------------------------------------------

REFUSED = {"error": "invalid_field", "field": "inbound"}


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_handling_is_changed_and_shown(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    phone = added(tenant, carrier)
    for inbound in (
        {"action": "connect", "connectTo": STREAM}, {"connectTo": SIP, "ringSeconds": 5, "ifUnanswered": "hangup"},
        {"language": "ja-JP", "greeting": "こんにちは"}, {"language": "pl-PL", "greeting": ""},
    ):  # fmt: skip
        shown = data_of(send("PATCH", f"phones/{phone.pk}", tenant, {"inbound": inbound}))["inbound"]
        assert {name: shown[name] for name in inbound} == inbound
    shown = data_of(send("PATCH", f"phones/{phone.pk}", tenant, {"inbound": {"language": "zh-CN", "greeting": "你好"}}))
    assert shown["inbound"]["language"] == ALIASES["zh-CN"]


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_handling_that_does_not_fit_is_refused(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    phone = added(tenant, carrier)
    wrong: list[dict[str, Any]] = [
        {"action": "connect"}, {"connectTo": "wss://10.0.0.1/"}, {"connectTo": phone.number}, {"ringSeconds": 4},
        {"ringSeconds": 121}, {"ringSeconds": True}, {"ringSeconds": "30"}, {"ifUnanswered": "sing"}, {"language": "en-us"},
        {"language": "fi-FI"}, {"language": "ja-JP"}, {"language": "ja-JP", "greeting": " "}, {"connectTo": 5},
    ]  # fmt: skip
    secure = [{"connectTo": "sips:a@pbx.example.com"}, {"connectTo": "sip:a@pbx.example.com;transport=tls"}]
    port = [{"connectTo": "wss://voice.example.com:8443/"}]
    is_twilio = carrier.integration == "twilio"
    for inbound in wrong + (port if is_twilio else secure):
        reply = send("PATCH", f"phones/{phone.pk}", tenant, {"inbound": inbound})
        assert (reply.status_code, reply.json()["data"]) == (400, REFUSED), inbound
    for inbound in secure if is_twilio else port:
        data_of(send("PATCH", f"phones/{phone.pk}", tenant, {"inbound": inbound}))


@pytest.mark.parametrize("language", VOICES)
@pytest.mark.django_db(transaction=True)
def test_a_caller_is_greeted_in_the_language(
    sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, language: str
) -> None:
    settings.PUBLIC_URL = live_server.url
    phone = added(tenant, CARRIERS["plivo"], language=language, greeting="" if sentences_in(language) else "x")
    ours = sentences_in(language)
    assert sandbox.place_call("plivo", phone.number).spoken == [ours.greeting if ours else "x"]


def test_our_sentences_are_in_nine_languages() -> None:
    assert sorted(SENTENCES) == ["de", "en", "es", "fr", "hi", "it", "nl", "pl", "pt"]
    assert len({sentence for ours in SENTENCES.values() for sentence in ours}) == 18
    assert {language.partition("-")[0] for language in VOICES} > set(SENTENCES)
    assert PhoneNumber().language in VOICES
