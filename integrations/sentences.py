"""What a carrier's refusals and silences are called, in words for the client."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from integrations.errors import (
    CarrierUnavailable,
    IntegrationError,
    InvalidCredentials,
    MediaMissing,
    NumberNotOwned,
    NumberNotUsable,
    Refused,
    RequestFailed,
    UnknownApplication,
    WebhookSetupFailed,
    WrongPublicKey,
)


class Sentences:
    """The errors of one carrier."""

    label: ClassVar[str]
    account_id_name: ClassVar[str]
    auth_token_name: ClassVar[str]

    @contextmanager
    def reading(self, *, refusals: tuple[int, ...] = (401, 403)) -> Iterator[None]:
        """Around requests that read: raises what the failure of one means.

        Args:
            refusals: the statuses with which the carrier refuses the credentials.
        """
        try:
            yield
        except RequestFailed as failure:
            if isinstance(failure, Refused) and failure.status in refusals:
                raise self.invalid_credentials(failure.detail) from None
            raise self.unavailable(failure.detail) from None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around requests that change something: raises what the failure of one means."""
        try:
            yield
        except RequestFailed as failure:
            raise self.setup_failed(failure.detail) from None

    def invalid_credentials(self, detail: str = "") -> IntegrationError:
        names = f"{self.auth_token_name} (authToken) and {self.account_id_name} (accSId)"
        return InvalidCredentials(
            f"{self.label} refused the credentials. Check the {names}, and that the account is active.", detail
        )

    def unavailable(self, detail: str = "") -> IntegrationError:
        return CarrierUnavailable(f"{self.label} cannot be reached or does not answer. Try again in a minute.", detail)

    def setup_failed(self, detail: str = "") -> IntegrationError:
        return WebhookSetupFailed(
            f"{self.label} did not take over the webhook settings. Try again; if it stays, look at the number in the "
            f"{self.label} console.",
            detail,
        )

    def unknown_application(self) -> IntegrationError:
        return UnknownApplication(f"accSId: this {self.label} account has no application with this id.")

    def media_missing(self) -> IntegrationError:
        return MediaMissing(f"{self.label} does not have the audio of this recording (any more).")

    def media_elsewhere(self) -> IntegrationError:
        return MediaMissing(
            f"The audio of this recording is neither at {self.label} nor in a store of {self.label}'s own, so it is "
            "not fetched. Listen to it where the account stores its recordings."
        )

    def wrong_public_key(self, why: str) -> IntegrationError:
        return WrongPublicKey(f"publicKey: {why} Leave publicKey out: {self.label} is asked for the key.")

    def not_ready(self) -> IntegrationError:
        return CarrierUnavailable(f"{self.label} has not finished this recording yet. Try again in a minute.")

    def not_owned(self) -> IntegrationError:
        return NumberNotOwned(f"This {self.label} account does not own phoneNumber. Check the number and the account.")

    def not_usable(self, why: str) -> IntegrationError:
        return NumberNotUsable(f"phoneNumber {why} at {self.label}. Check the number in the {self.label} console.")
