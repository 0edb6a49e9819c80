"""What can go wrong at a carrier.

An error carries a machine code and values; each door has its own table of sentences for them. A definite no of the
carrier and a question that could not be asked never share a class.
"""

from integrations import Carrier


class IntegrationError(Exception):
    """Root. `str(error)` is for the log and holds no secret.

    `code` is the machine code of the reply, `field` our name of the field to blame, if it is one; `values` fill in the
    sentence.

    Args:
        carrier: the one that was asked.
        detail: what happened, for the log.
    """

    code = "carrier_unavailable"
    field: str | None = None

    def __init__(self, carrier: Carrier, detail: str = "") -> None:
        super().__init__()
        self.detail = detail
        self.values = {
            "carrier": carrier.label,
            "account_id_name": carrier.account_id_name,
            "auth_token_name": carrier.auth_token_name,
        }

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.values['carrier']}" + (f" ({self.detail})" if self.detail else "")


class InvalidCredentials(IntegrationError):
    """The carrier refuses the credentials."""

    code = "invalid_credentials"
    field = "auth_token"


class AccountNotActive(InvalidCredentials):
    """The credentials are those of an account that is suspended or closed."""


class UnknownApplication(IntegrationError):
    """The account has no application with the id that was given as the account's."""

    code = "invalid_field"
    field = "account_id"


class WrongPublicKey(IntegrationError):
    """The carrier says that the account has another public key than the one that was given."""

    code = "invalid_field"
    field = "public_key"


class UnusedPublicKey(WrongPublicKey):
    """The account's webhooks are signed with another public key than the one that was given."""


class NumberNotOwned(IntegrationError):
    """The account does not own the number."""

    code = "number_not_owned"
    field = "number"


class NumberNotUsable(IntegrationError):
    """The number cannot take voice calls."""

    code = "number_not_usable"
    field = "number"


class NumberNotActive(NumberNotUsable):
    """The account owns the number, but it is not in service."""


class CarrierUnavailable(IntegrationError):
    """A question could not be asked, or the answer makes no sense."""

    code = "carrier_unavailable"


class RecordingNotReady(CarrierUnavailable):
    """The carrier is still writing the audio of a recording."""


class WebhookSetupFailed(IntegrationError):
    """A change was refused, failed, or is not in effect afterwards."""

    code = "webhook_setup_failed"


class MediaMissing(IntegrationError):
    """The carrier has no audio for a recording."""

    code = "not_found"


class MediaElsewhere(MediaMissing):
    """The audio of a recording is at an address that is not the carrier's, so it is not fetched."""


class MediaRangeRefused(IntegrationError):
    """The audio is shorter than the range that was asked for."""

    code = "range_not_satisfiable"


class BadSignature(Exception):
    """A webhook that is not the carrier's. The text tells why, for the log only."""


class RequestFailed(Exception):
    """One request to a carrier came to nothing. Stays inside this package: providers turn it into one of the above.

    `outcome` is its word in the metrics.
    """

    outcome: str

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Refused(RequestFailed):
    """The carrier understood and said no: it did not do it."""

    outcome = "refused"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Unanswered(RequestFailed):
    """No answer, an error of the carrier's own, or nonsense: it may or may not have done it."""

    outcome = "unanswered"


class RateLimited(Unanswered):
    """One request too many; it was not carried out. `retry_after_s` is what the carrier says, if it says so."""

    outcome = "rate_limited"

    def __init__(self, detail: str, retry_after_s: float | None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
