"""What carriers share that keep webhooks on an application: how it is found, made, changed and put back."""

from abc import abstractmethod
from dataclasses import dataclass

from integrations.base import Provider
from integrations.errors import IntegrationError, Refused, Unanswered, UnknownApplication
from integrations.transport import in_parallel
from integrations.types import Application, Difference, Route, Settings, compare_settings
from integrations.webhooks import Urls, is_ours


@dataclass(frozen=True)
class LinkedNumber:
    """Whether a number can take calls, and what it is linked to."""

    active: bool
    application_id: str


class ApplicationProvider(Provider):
    """A carrier that keeps webhooks on an application, to which numbers are linked.

    The number's settings are one field, `application_id`.
    """

    @abstractmethod
    def wanted(self, urls: Urls) -> Settings:
        """The application's settings as we want them."""

    def find_application(self, application_id: str = "") -> Application | None:
        """The application with this id; without one, that with our name, the oldest if there are several."""
        with self.reading():
            return self._application(application_id) if application_id else self._find_application()

    def make_application(self, urls: Urls, profile_id: str | None) -> Application:
        """Make an application with our name. After an unknown outcome it is looked for by name, never made twice."""
        try:
            return self._create_application(urls, profile_id)
        except Refused as failure:
            raise self.setup_failed(failure.detail) from None
        except Unanswered as failure:
            found = self.find_application()
            if found is None:
                raise self.setup_failed(failure.detail) from None
            return found

    def point_application(self, application: Application, urls: Urls) -> None:
        """Set the application's addresses to ours and read back."""
        self._write_application(application, self.wanted(urls))

    def restore_application(self, application_id: str, snapshot: Settings, urls: Urls) -> None:
        """Put back a customer's application as it was, if its addresses are still ours. Fine if it is gone."""
        application = self.find_application(application_id)
        if application and all(is_ours(application.settings[name], value) for name, value in self.wanted(urls).items()):
            self._write_application(application, snapshot)

    @abstractmethod
    def delete_application(self, application_id: str) -> None:
        """Delete an application that we made (none if the id is empty) and what else of ours went with it.

        Fine if it is gone.
        """

    def routes_to_us(self, settings: Settings, urls: Urls, application_id: str) -> bool:
        return bool(application_id) and settings["application_id"] == application_id

    def blank(self) -> Settings:
        return {"application_id": ""}

    def compare(self, number_id: str, urls: Urls, application_id: str, public_key: str) -> list[Difference]:
        with self.reading():
            number, application, key = in_parallel(
                lambda: self._inspect(number_id),
                lambda: self._application(application_id) if application_id else None,
                self.read_public_key,
            )
        if number is None:
            return [Difference("number_missing", number_id, "")]
        found = [] if number.active else [Difference("number_inactive", "active", "inactive")]
        if public_key and key and key != public_key:
            found.append(Difference("signature_key_changed", public_key, key))
        if application is None:
            return [*found, Difference("application_missing", application_id, "")]
        if number.application_id != application_id:
            found.append(Difference(self._link_reason(number.application_id), application_id, number.application_id))
        return found + compare_settings(self.wanted(urls), application.settings) + self._application_faults(application)

    def repair(self, number_id: str, urls: Urls, application_id: str) -> None:
        if not self.routes_to_us(self.read(number_id), urls, application_id):
            self.apply(number_id, urls, application_id)

    def is_ready(self, application: Application, urls: Urls) -> bool:
        """Whether an application needs no change to bring us the calls."""
        return application.settings == self.wanted(urls) and not self._application_faults(application)

    def _link_reason(self, application_id: str) -> str:
        """Why a number that is linked to something else does not reach us."""
        if not application_id:
            return "not_linked"
        with self.reading():
            return "overridden_by_application" if self._is_application(application_id) else "overridden_by_trunk"

    def _application_faults(self, application: Application) -> list[Difference]:
        """What else is wrong with our application."""
        return []

    def restore(self, number_id: str, snapshot: Settings, urls: Urls, application_id: str) -> None:
        before = snapshot["application_id"]
        if not self.routes_to_us(self.read(number_id), urls, application_id) or before == application_id:
            return
        self.link(number_id, before)
        if self.routes_to_us(self.read(number_id), urls, application_id):
            raise self.setup_failed("still linked to our application")

    def link(self, number_id: str, application_id: str) -> None:
        """Link the number to an application that was there before us; empty, or gone meanwhile: to none."""
        try:
            self._link(number_id, application_id)
        except Refused as failure:
            if not application_id or failure.status in (401, 403) or self._is_there(application_id):
                raise self.setup_failed(failure.detail) from None
            self.link(number_id, "")
        except Unanswered:
            pass  # read back by restore()

    def _is_there(self, id: str) -> bool:
        with self.reading():
            return self._exists(id)

    @abstractmethod
    def _exists(self, id: str) -> bool:
        """Whether what a number was linked to is known to be there still. Raises RequestFailed."""

    @abstractmethod
    def _link(self, number_id: str, application_id: str) -> None:
        """Link the number; to none if the id is empty. Raises RequestFailed."""

    @abstractmethod
    def _inspect(self, number_id: str) -> "LinkedNumber | None":
        """The number's state; None if it is gone. Raises RequestFailed."""

    @abstractmethod
    def _is_application(self, id: str) -> bool:
        """Whether what a number is linked to is an application and not a trunk. Raises RequestFailed."""

    @abstractmethod
    def _application(self, application_id: str) -> Application | None:
        """Read one application. Raises RequestFailed."""

    @abstractmethod
    def _find_application(self) -> Application | None:
        """Look for the application with our name. Raises RequestFailed."""

    @abstractmethod
    def _create_application(self, urls: Urls, profile_id: str | None) -> Application:
        """Make an application with our name, in one attempt. Raises RequestFailed, or what else failed."""

    @abstractmethod
    def _write_application(self, application: Application, settings: Settings) -> None:
        """Change an application's settings and read back. Raises WebhookSetupFailed."""

    def unknown_application(self) -> IntegrationError:
        return UnknownApplication(f"accSId: this {self.label} account has no application with this id.")

    def route_of(self, settings: Settings, application: Application | None) -> Route:
        """An application that the customer named is no conflict, and no route of ours to be forgotten either."""
        linked = settings["application_id"]
        if not linked or (application and linked == application.id and application.name != self.site.application_name):
            return Route.NONE
        return Route.OURS if application and linked == application.id else Route.ELSEWHERE
