"""Where a number may forward its calls: not to a number of its own workspace, which could forward them on and back."""

from integrations.types import Difference
from phones.errors import ForwardLoop
from phones.models import Line, PhoneNumber
from phones.services.answering import who_answers

State = PhoneNumber.State


def check_target(phone: PhoneNumber, target: str) -> None:
    """Raise ForwardLoop if the target is the number itself or another of its workspace.

    Of two numbers that are added at once and forward to each other at least one is refused, if each is looked at after
    its row is there.
    """
    if target and is_own(phone, target):
        raise ForwardLoop


def is_own(phone: PhoneNumber, target: str) -> bool:
    others = PhoneNumber.objects.filter(number=target, user__workspace=phone.user.workspace_id)
    return target == phone.number or others.exclude(state=State.REMOVING).exclude(pk=phone.pk).exists()


def find_loop(line: Line) -> list[Difference]:
    """What a check says of a target that came into the workspace after it was chosen."""
    phone = who_answers(line.phone_numbers.select_related("user"))
    if phone is None or phone.action != PhoneNumber.Action.FORWARD or not is_own(phone, phone.forward_to):
        return []
    return [Difference("forward_loop", "a number outside the workspace", phone.forward_to)]
