"""How calls are answered: the document that we return to the carrier for an incoming call."""

import logging

from django.db.models import QuerySet

from integrations import provider_class
from integrations.events import CallReport
from integrations.webhooks import Action, Answer
from phones.models import Account, PhoneNumber
from phones.services.carriers import urls_for

log = logging.getLogger(__name__)


def answer_call(account: Account, call: CallReport | None, *, is_second_try: bool) -> str:
    """Return the document for an incoming call, according to the number's settings.

    Args:
        call: the call as the carrier reports it.
        is_second_try: the carrier could not use our first answer. Then voicemail and forwarding become a voicemail
            with the default greeting.
    """
    try:
        answer = wanted_answer(account, call.callee if call else "")
    except Exception as error:
        log.error("Could not look up how to answer a call; it goes to voicemail", exc_info=error)
        answer = Answer(Action.VOICEMAIL)
    if is_second_try and answer.action in (Action.VOICEMAIL, Action.FORWARD):
        answer = Answer(Action.VOICEMAIL)
    return render(account, answer)


def wanted_answer(account: Account, number: str) -> Answer:
    """The answer that the number's owner has chosen. If several users share the number, the earliest owner decides. If
    the number is not active, the answer is to hang up."""
    phone = who_answers(PhoneNumber.objects.filter(line__account=account, line__number=number))
    if phone is None:
        return Answer(Action.HANGUP)
    nowhere = phone.action == Action.FORWARD and not phone.forward_to
    return Answer(
        action=Action.VOICEMAIL if nowhere else Action(phone.action),
        greeting=phone.greeting,
        forward_to=phone.forward_to,
        our_number=number,
        record=phone.record,
    )


def who_answers(numbers: QuerySet[PhoneNumber]) -> PhoneNumber | None:
    """The number on a line whose settings decide how calls are answered: the earliest active one."""
    return numbers.filter(state=PhoneNumber.State.ACTIVE).order_by("created_at", "pk").first()


def hang_up(account: Account) -> str:
    """Return the document for the carrier's request after a verb of our answer: there is nothing left to do."""
    return render(account, Answer(Action.HANGUP))


def render(account: Account, answer: Answer) -> str:
    return provider_class(account.integration).render_answer(answer, urls_for(account))
