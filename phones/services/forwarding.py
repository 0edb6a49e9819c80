"""Where a number may forward calls: not to a number of its own workspace, which could forward them back."""

from integrations.types import Difference
from phones.errors import ForwardLoop
from phones.models import Line, PhoneNumber
from phones.services.answering import who_answers

State = PhoneNumber.State


def check_target(phone: PhoneNumber, target: str) -> None:
    """Raise ForwardLoop if the target is the number itself or another number of its workspace.

    Call this after the number's row is inserted: then, if two numbers that forward to each other are added at once, at
    least one of them is refused.
    """
    if target and is_own(phone, target):
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
    if phone is None or phone.action != PhoneNumber.Action.FORWARD or not is_own(phone, phone.forward_to):
        return []
    return [Difference("forward_loop", "a number outside the workspace", phone.forward_to)]
