"""What can go wrong at a carrier.

An error carries a machine code and values; each door has its own table of sentences for them. A definite "no" from the
carrier and a failure to ask it never share a class.
"""

from integrations import Carrier

# Refusals of a request that may be granted later: too slow, in conflict, misdirected, locked, too early, too often.
PASSING = (408, 409, 421, 423, 425, 429)


class IntegrationError(Exception):
    """Root of the errors. `str(error)` is for the log and contains no secrets.

    `code` is the machine code in the reply, `field` our name for the field that caused the error (None if no field
    did), `is_final` whether the carrier would refuse the same request again, and `values` fill the placeholders in the
    sentence.

    Args:
        carrier: the carrier that was asked.
        detail: what happened, for the log.
    """

    code = "carrier_unavailable"
    field: str | None = None
    is_final = False

    def __init__(self, carrier: Carrier, detail: str = "") -> None:
        super().__init__()
        self.detail = detail
        self.values = {
            "carrier": carrier.label,
            "account_id_name": carrier.account_id_name,
            "auth_token_name": carrier.auth_token_name,
            "account_id_hint": carrier.account_id_hint,
            "auth_token_hint": carrier.auth_token_hint,
        }

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.values['carrier']}" + (f" ({self.detail})" if self.detail else "")


class InvalidCredentials(IntegrationError):
    """The carrier rejects the credentials."""

    code = "invalid_credentials"
    field = "auth_token"


class AccountNotActive(InvalidCredentials):
    """The credentials belong to a suspended or closed account."""


class NotAnAccountId(InvalidCredentials):
    """What was given as the account's id is plainly something else, so the carrier is not asked."""


class ApiKeyAsAccountId(NotAnAccountId):
    """An API key was given as the account's id. The carrier's API may accept it, but signs no webhooks with it."""

    field = "account_id"


class NotAnAuthToken(InvalidCredentials):
    """What was given as the auth token is plainly an id, so the carrier is not asked."""


class UnknownApplication(IntegrationError):
    """The account has no application with the id given as its account id."""

    code = "invalid_field"
    field = "account_id"


class WrongPublicKey(IntegrationError):
    """The carrier reports a different public key for the account than the one given."""

    code = "invalid_field"
    field = "public_key"


class UnusedPublicKey(WrongPublicKey):
    """The account's webhooks are signed with a different key than the one given."""


class NumberNotOwned(IntegrationError):
    """The account does not own the number."""

    code = "number_not_owned"
    field = "number"


class NumberNotUsable(IntegrationError):
    """The number cannot receive voice calls."""

    code = "number_not_usable"
    field = "number"


class NumberNotActive(NumberNotUsable):
    """The account owns the number, but it is not in service."""


class CarrierUnavailable(IntegrationError):
    """The carrier could not be reached, or its reply makes no sense."""

    code = "carrier_unavailable"


class RequestRefused(CarrierUnavailable):
    """The carrier understood a read and refused it, not for the credentials. It would refuse it again."""

    is_final = True


class RecordingNotReady(CarrierUnavailable):
    """The carrier is still writing the audio of a recording."""


class WebhookSetupFailed(IntegrationError):
    """A change was refused, failed, or is not in effect afterwards."""

    code = "webhook_setup_failed"


class ChangeRefused(WebhookSetupFailed):
    """The carrier refused a change. It would refuse it again."""

    is_final = True


class MediaMissing(IntegrationError):
    """The carrier has no audio for a recording."""

    code = "not_found"


class MediaElsewhere(MediaMissing):
    """The audio is at a URL that is not the carrier's, so it is not fetched."""


class MediaRefused(MediaMissing):
    """Whoever has the audio does not hand it out, and would not if asked again."""

    is_final = True


class MediaRangeRefused(IntegrationError):
    """The requested range is past the end of the audio."""

    code = "range_not_satisfiable"


class BadSignature(Exception):
    """A webhook did not come from the carrier. The message gives the reason, for the log only."""


class SignedOtherwise(BadSignature):
    """The webhook says that it is signed in a way that we cannot verify, because the account is configured so."""


class RequestFailed(Exception):
    """A request to a carrier failed. Never leaves this package: providers translate it to one of the errors above.

    `outcome` is its label in the metrics, `status` that of the reply, and `is_final` whether the same request would be
    refused again.
    """

    outcome: str
    status: int | None = None
    is_final = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Refused(RequestFailed):
    """The carrier understood the request and refused it, so it was not carried out."""

    outcome = "refused"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.is_final = is_final(status)


def is_final(status: int) -> bool:
    """Whether a reply with this status refuses a request for good."""
    return 400 <= status < 500 and status not in PASSING


class Unanswered(RequestFailed):
    """No reply, a server error or a malformed reply: the request may or may not have been carried out."""

    outcome = "unanswered"


class RateLimited(Unanswered):
    """Too many requests; this one was not carried out. `retry_after_s` is the delay the carrier asks for, if any."""

    outcome = "rate_limited"

    def __init__(self, detail: str, retry_after_s: float | None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
