"""How calls are answered: the document that we return to the carrier."""

import logging
from collections.abc import Callable

from django.db.models import QuerySet

from integrations import provider_class
from integrations.answers import Dial, HangUp, Plan, Record, Reject, Say, Stream, speakable
from integrations.events import CallReport, CallStatus
from integrations.languages import DEFAULT_LANGUAGE
from phones.models import Account, Call, PhoneNumber
from phones.services.carriers import urls_for
from phones.spoken import SENTENCES, sentences_in

# Active numbers answer before one that is being added.
ANSWERING: list[str] = [PhoneNumber.State.ACTIVE, PhoneNumber.State.APPLYING]
HANG_UP: Plan = (HangUp(),)

log = logging.getLogger(__name__)


# -- what a carrier asks for ------------------------------------------------------------------------------------------


def answer_call(account: Account, call: CallReport | None, *, is_second_try: bool) -> str:
    """Return the document for an incoming call, according to the number's settings.

    Args:
        call: the call as the carrier reports it.
        is_second_try: the carrier could not use our first answer. Then callers reach the voicemail with our greeting.
    """
    return document(account, lambda: plan_answer(account, call, is_second_try=is_second_try))


def go_on(account: Account, call: CallReport | None) -> str:
    """Return the document for the carrier's request after a step of our plan: nothing is left to do, unless the call
    was to be connected and nobody took it."""
    if call is None or call.forwarding in (CallStatus.UNKNOWN, CallStatus.COMPLETED):
        return render(account, HANG_UP)
    return document(account, lambda: plan_unanswered(phone_called(account, call)))


def document(account: Account, plan: Callable[[], Plan]) -> str:
    try:
        return render(account, plan())
    except Exception as error:
        log.error("Could not look up how to answer a call; it goes to voicemail", exc_info=error)
        return render(account, voicemail("", DEFAULT_LANGUAGE))


def render(account: Account, plan: Plan) -> str:
    return provider_class(account.integration).render_answer(plan, urls_for(account))


# -- whose settings decide --------------------------------------------------------------------------------------------


def phone_called(account: Account, call: CallReport | None) -> PhoneNumber | None:
    """The number whose settings decide. If several users of the account's workspace share the number, the earliest
    owner decides; None if the workspace does not have the number."""
    of_workspace = PhoneNumber.objects.filter(integration=account.integration, user__workspace=account.workspace_id)
    return who_answers(of_workspace.filter(number=call.callee if call else ""))


def who_answers(numbers: QuerySet[PhoneNumber]) -> PhoneNumber | None:
    """The number of those whose settings decide how calls are answered: the earliest active one. If there is none yet,
    the one being added: its calls come here as soon as the carrier has our settings."""
    found = list(numbers.filter(state__in=ANSWERING).order_by("created_at", "pk"))
    return min(found, key=lambda phone: ANSWERING.index(phone.state), default=None)


# -- plans ------------------------------------------------------------------------------------------------------------


def plan_answer(account: Account, call: CallReport | None, *, is_second_try: bool) -> Plan:
    phone = phone_called(account, call)
    if phone is None:
        return HANG_UP
    if phone.action == PhoneNumber.Action.REJECT:
        return (Reject(),)
    if is_second_try:
        return voicemail("", phone.language)
    if phone.target.startswith("wss:"):
        return Stream(phone.target, stream_parameters(account, phone, call)), *HANG_UP
    if phone.target:
        return (Dial(phone.target, phone.number, phone.ring_seconds, phone.record),)
    return voicemail(phone.greeting, phone.language)


def plan_unanswered(phone: PhoneNumber | None) -> Plan:
    """Nobody took a call that was to be connected."""
    if phone is None:
        return HANG_UP
    if phone.if_unanswered == PhoneNumber.IfUnanswered.VOICEMAIL:
        return voicemail(phone.greeting, phone.language)
    ours = sentences_in(phone.language)
    return (Say(ours.unanswered, phone.language), *HANG_UP) if ours else HANG_UP


def voicemail(greeting: str, language: str) -> Plan:
    """Greet the caller and record a message. Without a greeting of the customer's, ours is spoken, in English if
    we have none in the language."""
    own, ours = speakable(greeting), sentences_in(language)
    if own:
        spoken = Say(own, language)
    elif ours:
        spoken = Say(ours.greeting, language)
    else:
        spoken = Say(SENTENCES["en"].greeting, DEFAULT_LANGUAGE)
    return spoken, Record(), *HANG_UP


def stream_parameters(account: Account, phone: PhoneNumber, call: CallReport | None) -> dict[str, str]:
    """What the far end of a stream is told: our ids of the number and of the call, if that is in the log yet."""
    rows = Call.objects.filter(account=account, carrier_id=call.id if call else "")
    call_id = next(iter(rows.values_list("pk", flat=True)), None)
    return {"phoneId": phone.pk} | ({"callId": call_id} if call_id else {})
