"""What a caller meets: the document that the carrier is given for a call."""

import logging

from django.db.models import QuerySet

from integrations import provider_class
from integrations.events import CallReport
from integrations.webhooks import Action, Answer
from phones.models import Account, PhoneNumber
from phones.services.carriers import urls_for

log = logging.getLogger(__name__)


def answer_call(account: Account, call: CallReport | None, *, is_second_try: bool) -> str:
    """The document for an incoming call, as the number wants it.

    Args:
        call: what the carrier says about the call.
        is_second_try: the carrier could not use our first answer, so this one is the plainest that takes a message.
    """
    try:
        answer = wanted_answer(account, call.callee if call else "")
    except Exception as error:
        log.error("The answer to a call cannot be looked up; it goes to voicemail", exc_info=error)
        answer = Answer(Action.VOICEMAIL)
    if is_second_try and answer.action in (Action.VOICEMAIL, Action.FORWARD):
        answer = Answer(Action.VOICEMAIL)
    return render(account, answer)


def wanted_answer(account: Account, number: str) -> Answer:
    """What the number's owner has chosen; the earliest one's choice if several share it. A number that is not active
    with us hangs up."""
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
    """Of the numbers on a line the one that decides what a caller meets."""
    return numbers.filter(state=PhoneNumber.State.ACTIVE).order_by("created_at", "pk").first()


def hang_up(account: Account) -> str:
    """The document for what comes after a verb of our answer: nothing."""
    return render(account, Answer(Action.HANGUP))


def render(account: Account, answer: Answer) -> str:
    return provider_class(account.integration).render_answer(answer, urls_for(account))
