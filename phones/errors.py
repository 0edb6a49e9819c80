"""What our own rows refuse."""

from core.errors import NotFound, Refusal
from integrations.errors import WebhookSetupFailed


class PhoneExists(Refusal):
    """The user has the number already, or it is being added right now."""

    code = "phone_exists"
    field = "number"


class RoutedElsewhere(Refusal):
    """The number's calls go elsewhere, and the client asked to leave them there."""

    code = "number_routed_elsewhere"
    field = "number"


class NoForwardTarget(Refusal):
    """Calls shall be forwarded, and to no number."""

    code = "invalid_field"
    field = "forward_to"


class ForwardLoop(Refusal):
    """Calls shall be forwarded to a number of the same workspace, so they could go round in a circle."""

    code = "invalid_field"
    field = "forward_to"


class NoSuchUser(Refusal):
    """The workspace has no such user who may own a number."""

    code = "user_not_found"
    field = "user_id"


class NoSuchPhone(NotFound):
    """The number is not there any more, or is being removed."""


class TokenReplaced(Refusal):
    """Another auth token was entered in the same moment, so it is open which is the old one."""

    code = "invalid_field"
    field = "auth_token"


class ChangeUncertain(Refusal):
    """The new auth token is in use, and the rest of the change crashed.

    On MongoDB some of it may have been written.
    """


class UnknownCursor(Refusal):
    """The place in a carrier's list is none that it has given us."""

    code = "invalid_field"
    field = "cursor"


class LineBusy(Refusal):
    """Another change of the webhooks of this number or account is running."""

    code = "webhook_setup_failed"


class LeaseLost(Refusal):
    """The add took longer than its lease, so another process has rolled it back."""

    code = "webhook_setup_failed"


class AccountBeingSetUp(WebhookSetupFailed):
    """Somebody sets up the webhooks of the same carrier account, known to us by other credentials."""
