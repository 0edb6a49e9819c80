"""What our own rows refuse."""

from core.envelope import NOT_FOUND
from core.errors import Refusal


class PhoneExists(Refusal):
    code = "phone_exists"
    field = "phoneNumber"

    def __init__(self) -> None:
        super().__init__("This phoneNumber already exists for this user, or is being added right now.")


class RoutedElsewhere(Refusal):
    code = "number_routed_elsewhere"
    field = "phoneNumber"

    def __init__(self) -> None:
        super().__init__(
            "The calls of phoneNumber go elsewhere now. Send onConflict: replace to take it over; "
            "what is there now comes back when the number is removed."
        )


class ForwardLoop(Refusal):
    code = "invalid_field"
    field = "inbound"

    def __init__(self) -> None:
        super().__init__(
            "inbound: forwardTo is a number of this workspace itself. Calls could go round in a circle, and each round "
            "is billed: send a number outside the workspace."
        )


class NoSuchUser(Refusal):
    code = "user_not_found"
    field = "userId"

    def __init__(self) -> None:
        super().__init__("userId: user not found in this workspace.")


class NoSuchPhone(Refusal):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__(NOT_FOUND)


class LineBusy(Refusal):
    code = "webhook_setup_failed"

    def __init__(self) -> None:
        super().__init__("Another change of the webhooks of this number or account is running. Try again in a minute.")
