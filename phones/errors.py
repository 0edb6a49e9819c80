"""What our own rows refuse."""

from core.errors import NotFound, Refusal
from integrations.errors import WebhookSetupFailed


class PhoneExists(Refusal):
    """The user has the number already, or it is being added right now."""

    code = "phone_exists"
    field = "number"


class ImpossibleNumber(Refusal):
    """No numbering plan makes the number possible, and neither the carrier's account nor the workspace has it."""

    code = "invalid_phone_number"
    field = "number"


class RoutedElsewhere(Refusal):
    """The number's calls go elsewhere, and the client asked to leave them there."""

    code = "number_routed_elsewhere"
    field = "number"


class NumberInAnotherWorkspace(Refusal):
    """The number is active in another workspace, whose account still has it."""

    code = "number_in_another_workspace"
    field = "number"


class ApplicationInUse(Refusal):
    """The application that the client named routes other numbers, too."""

    code = "application_in_use"
    field = "account_id"


class NumberRetired(Refusal):
    """Another workspace has taken the number, so that this one can only remove it."""

    code = "invalid_credentials"
    field = "auth_token"


class SameWorkspace(Refusal):
    """A number is to be moved to the workspace that has it."""

    code = "invalid_field"
    field = "user_id"


class NoForwardTarget(Refusal):
    """Forwarding is on, but no number is given."""

    code = "invalid_field"
    field = "forward_to"


class NoConnectTarget(Refusal):
    """Calls are to be connected, but no target is given."""

    code = "invalid_field"
    field = "connect_to"


class UnreachableTarget(Refusal):
    """The number's carrier cannot reach the target, or only without the encryption that it asks for."""

    code = "invalid_field"
    field = "connect_to"


class NoGreeting(Refusal):
    """We have no sentences in the language, and no greeting is given."""

    code = "invalid_field"
    field = "greeting"


class ForwardLoop(Refusal):
    """Calls would be connected with a number of the same workspace, so they could go round in a loop."""

    code = "invalid_field"
    field = "forward_to"


class NoSuchUser(Refusal):
    """The workspace has no such user who may own a number."""

    code = "user_not_found"
    field = "user_id"


class NoSuchPhone(NotFound):
    """The number no longer exists, or is being removed."""


class TokenReplaced(Refusal):
    """Another auth token was saved at the same moment, so it is unclear which one is old."""

    code = "invalid_field"
    field = "auth_token"


class ChangeUncertain(Refusal):
    """The new auth token is in use, and the rest of the change crashed.

    On MongoDB some of it may have been written.
    """


class UnknownCursor(Refusal):
    """The cursor is not one that we issued."""

    code = "invalid_field"
    field = "cursor"


class LineBusy(Refusal):
    """Another change to the webhooks of this number or account is in progress."""

    code = "webhook_setup_failed"


class LeaseLost(Refusal):
    """The add took longer than its lease, so another process has rolled it back."""

    code = "webhook_setup_failed"


class AccountBeingSetUp(WebhookSetupFailed):
    """Another request is setting up the webhooks of the same carrier account, with other credentials."""
