"""How calls are answered: the document that we return to the carrier for an incoming call."""

import logging

from django.db.models import QuerySet

from integrations import provider_class
from integrations.events import CallReport
from integrations.webhooks import Action, Answer
from phones.models import Account, PhoneNumber
from phones.services.carriers import urls_for

# Active numbers answer before one that is being added.
ANSWERING: list[str] = [PhoneNumber.State.ACTIVE, PhoneNumber.State.APPLYING]

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
    """The answer that the number's owner has chosen. If several users of the account's workspace share the number, the
    earliest owner decides. If the workspace does not have the number, the answer is to hang up."""
    of_workspace = PhoneNumber.objects.filter(integration=account.integration, user__workspace=account.workspace_id)
    phone = who_answers(of_workspace.filter(number=number))
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
    """The number of those whose settings decide how calls are answered: the earliest active one. If there is none yet,
    the one being added: its calls come here as soon as the carrier has our settings."""
    found = list(numbers.filter(state__in=ANSWERING).order_by("created_at", "pk"))
    return min(found, key=lambda phone: ANSWERING.index(phone.state), default=None)


def hang_up(account: Account) -> str:
    """Return the document for the carrier's request after a verb of our answer: there is nothing left to do."""
    return render(account, Answer(Action.HANGUP))


def render(account: Account, answer: Answer) -> str:
    return provider_class(account.integration).render_answer(answer, urls_for(account))
