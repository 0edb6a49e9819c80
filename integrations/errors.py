"""What can go wrong at a carrier.

`str(error)` is safe to show and names the next step; `error.detail` is for the log and holds no secret either. A
definite no of the carrier and a question that could not be asked never share a class.
"""


class IntegrationError(Exception):
    """Root. `code` is the machine code of the reply, `field` the wire name of the field to blame."""

    code = "carrier_unavailable"
    field: str | None = None

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail


class InvalidCredentials(IntegrationError):
    """The carrier refuses the credentials, or the account is suspended."""

    code = "invalid_credentials"
    field = "authToken"


class UnknownApplication(IntegrationError):
    """The account has no application with the id that was given as accSId."""

    code = "invalid_field"
    field = "accSId"


class WrongPublicKey(IntegrationError):
    """The public key that was given is not the one that the account's webhooks are signed with."""

    code = "invalid_field"
    field = "publicKey"


class NumberNotOwned(IntegrationError):
    """The account does not own the number."""

    code = "number_not_owned"
    field = "phoneNumber"


class NumberNotUsable(IntegrationError):
    """The number is not active, or cannot take calls."""

    code = "number_not_usable"
    field = "phoneNumber"


class CarrierUnavailable(IntegrationError):
    """A question could not be asked, or the answer makes no sense."""

    code = "carrier_unavailable"


class WebhookSetupFailed(IntegrationError):
    """A change was refused, failed, or is not in effect afterwards."""

    code = "webhook_setup_failed"


class MediaMissing(IntegrationError):
    """The carrier has no audio for a recording."""

    code = "not_found"


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
