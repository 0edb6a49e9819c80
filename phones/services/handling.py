"""How a number may handle its calls: in a language that can be spoken, and not connected with a number of its own
workspace, which could send them back."""

from integrations import provider_class
from integrations.types import Difference
from phones.errors import ForwardLoop, NoConnectTarget, NoForwardTarget, NoGreeting, UnreachableTarget
from phones.models import Line, PhoneNumber
from phones.services.answering import who_answers
from phones.spoken import SENTENCES, sentences_in

Action, State = PhoneNumber.Action, PhoneNumber.State


def check_handling(phone: PhoneNumber) -> None:
    """Raise NoForwardTarget, NoConnectTarget, UnreachableTarget or NoGreeting if the number's settings do not fit each
    other, or its carrier. Asks nobody."""
    if phone.action == Action.FORWARD and not phone.forward_to:
        raise NoForwardTarget
    if phone.action == Action.CONNECT and not phone.connect_to:
        raise NoConnectTarget
    provider = provider_class(phone.integration)
    if not provider.can_reach(phone.connect_to):
        raise UnreachableTarget(carrier=provider.carrier.label, reachable=provider.reachable)
    if not phone.greeting.strip() and sentences_in(phone.language) is None:
        raise NoGreeting(language=phone.language, ours=", ".join(SENTENCES))


def check_loop(phone: PhoneNumber, *targets: str) -> None:
    """Raise ForwardLoop if a target is the number itself or another number of its workspace.

    Call this after the number's row is inserted: then, if two numbers that forward to each other are added at once, at
    least one of them is refused.
    """
    for target in filter(str.isdecimal, targets):
        if is_own(phone, target):
            raise ForwardLoop


def is_own(phone: PhoneNumber, target: str) -> bool:
    others = PhoneNumber.objects.filter(number=target, user__workspace=phone.user.workspace_id)
    return (
        target == phone.number
        or others.exclude(state__in=[State.REMOVING, State.RETIRED]).exclude(pk=phone.pk).exists()
    )


def find_loop(line: Line) -> list[Difference]:
    """Report a target that joined the workspace after it was chosen, for a check."""
    phone = who_answers(line.phone_numbers.select_related("user"))
    if phone is None or not phone.target.isdecimal() or not is_own(phone, phone.target):
        return []
    return [Difference("forward_loop", "a number outside the workspace", phone.target)]
