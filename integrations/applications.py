"""Applications: where webhooks live at carriers that do not keep them on the number itself."""

from abc import ABC, abstractmethod
from collections.abc import Container, Iterator
from functools import partial

from integrations.base import Provider
from integrations.errors import Refused, Unanswered, WebhookSetupFailed
from integrations.transport import in_parallel
from integrations.types import Application, Difference, Route, Settings, compare_settings
from integrations.webhooks import Urls, is_ours


class Applications(ABC):
    """The applications of one account: how ours is found, made, changed and deleted, and a customer's put back.

    What raises RequestFailed is for providers; the rest raises IntegrationError.
    """

    # Of the list of applications: more than any account should have.
    max_pages: int

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    # -- verbs --------------------------------------------------------------------------------------------------------

    def find(self, application_id: str = "") -> Application | None:
        """The application with this id; without one, that with our name, the oldest if there are several."""
        with self.provider.reading():
            return self.look_up(application_id)

    def look_up(self, application_id: str) -> Application | None:
        """As find(), but raises RequestFailed."""
        if application_id:
            return self.read(application_id)
        name = self.provider.site.application_name
        # How the carriers' filters compare is not to be relied upon.
        matches = [one for one in self.scan(name) if one.name == name]
        return min(matches, key=lambda one: (len(one.id), one.id), default=None)

    def scan(self, name: str = "") -> Iterator[Application]:
        """The applications, at least those with this name if one is given, page by page. Raises RequestFailed."""
        for number in range(self.max_pages):
            found, is_last = self.provider.ask(partial(self._page, number, name))
            yield from found
            if is_last:
                return

    def make(self, urls: Urls, profile_id: str | None) -> Application:
        """Make an application with our name. After an unknown outcome it is looked for by name, never made twice.

        Args:
            profile_id: as in CarrierNumber.
        """
        try:
            return self._create(urls, profile_id)
        except Refused as failure:
            raise WebhookSetupFailed(self.provider.carrier, failure.detail) from None
        except Unanswered as failure:
            found = self.find()
            if found is None:
                raise WebhookSetupFailed(self.provider.carrier, failure.detail) from None
            return found

    def point(self, application: Application, urls: Urls) -> None:
        """Set the application's addresses to ours and read back."""
        self.write(application, self.wanted(urls))

    def compare(self, application: Application, urls: Urls) -> list[Difference]:
        """What keeps an application from bringing us the calls."""
        return compare_settings(self.wanted(urls), application.settings) + self.other_faults(application)

    def other_faults(self, application: Application) -> list[Difference]:
        """What is wrong with our application besides its settings."""
        return []

    def restore(self, application_id: str, snapshot: Settings, urls: Urls) -> None:
        """Put back a customer's application as it was, if its addresses are still ours. Fine if it is gone."""
        application = self.find(application_id)
        if application and all(is_ours(application.settings[name], value) for name, value in self.wanted(urls).items()):
            self.write(application, snapshot)

    def write(self, application: Application, settings: Settings, profile_id: str = "") -> None:
        """Write what differs, and a new outbound profile if there is one, and read back."""
        changes = {name: value for name, value in settings.items() if application.settings[name] != value}
        after = self.provider.write(lambda: self._update(application, changes, profile_id))
        if after is None:
            with self.provider.writing():
                after = self.read(application.id)
        if after is None or after.settings != settings:
            raise WebhookSetupFailed(self.provider.carrier, "the application was not changed")

    @abstractmethod
    def delete(self, application_id: str) -> None:
        """Delete an application that we made (none if the id is empty) and what else of ours went with it.

        Fine if it is gone.
        """

    # -- facts --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def wanted(self, urls: Urls) -> Settings:
        """An application's settings as we want them."""

    # -- requests -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def read(self, application_id: str) -> Application | None:
        """One application; None if there is none. Raises RequestFailed."""

    @abstractmethod
    def _page(self, number: int, name: str) -> tuple[list[Application], bool]:
        """Within ask(): a page of the list, from 0, filtered by name if there is one; and whether it is the last."""

    @abstractmethod
    def _create(self, urls: Urls, profile_id: str | None) -> Application:
        """Make an application with our name, in one attempt. Raises RequestFailed."""

    @abstractmethod
    def _update(self, application: Application, changes: Settings, profile_id: str) -> Application | None:
        """Within ask(): change these settings. Returns the application as it is then, if the carrier tells."""


class ApplicationProvider(Provider):
    """A carrier that keeps webhooks on an application, to which numbers are linked.

    The number's settings are one field, `application_id`.
    """

    blank = {"application_id": ""}

    @property
    @abstractmethod
    def applications(self) -> Applications: ...

    # -- verbs --------------------------------------------------------------------------------------------------------

    def compare(self, number_id: str, urls: Urls, application_id: str, public_key: str) -> list[Difference]:
        with self.reading():
            number, application, key = in_parallel(
                lambda: self._number(number_id),
                lambda: self.applications.read(application_id) if application_id else None,
                self.read_public_key,
            )
        if number is None:
            return [Difference("number_missing", number_id, "")]
        found = [] if number.active and number.voice else [Difference("number_inactive", "active", "inactive")]
        if public_key and key and key != public_key:
            found.append(Difference("signature_key_changed", public_key, key))
        if application is None:
            return [*found, Difference("application_missing", application_id, "")]
        linked_id = number.settings["application_id"]
        if linked_id != application_id:
            found.append(Difference(self._link_reason(linked_id), application_id, linked_id))
        return found + self.applications.compare(application, urls)

    def _link_reason(self, linked_id: str) -> str:
        """Why a number that is linked to something else does not reach us."""
        if not linked_id:
            return "not_linked"
        with self.reading():
            is_application = self.kind_of(linked_id).endswith("application")
        return "overridden_by_application" if is_application else "overridden_by_trunk"

    def restore(self, number_id: str, snapshot: Settings, urls: Urls, application_id: str) -> None:
        before = snapshot["application_id"]
        if not self.routes_to_us(self.read(number_id), urls, application_id) or before == application_id:
            return
        self.link(number_id, before)
        if self.routes_to_us(self.read(number_id), urls, application_id):
            raise WebhookSetupFailed(self.carrier, "still linked to our application")

    def link(self, number_id: str, application_id: str) -> None:
        """Link the number to an application that was there before us; empty, or gone meanwhile: to none."""
        try:
            self.ask(lambda: self._update(number_id, {"application_id": application_id}))
        except Refused as failure:
            if not application_id or failure.status in (401, 403) or self._is_there(application_id):
                raise WebhookSetupFailed(self.carrier, failure.detail) from None
            self.link(number_id, "")
        except Unanswered:
            pass  # read back by restore()

    def _is_there(self, linked_id: str) -> bool:
        with self.reading():
            return bool(self.kind_of(linked_id))

    # -- requests -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def kind_of(self, linked_id: str) -> str:
        """What a number is linked to: a word that ends in "application", or another for a trunk; empty if nothing is
        known to be there. Raises RequestFailed."""

    # -- facts --------------------------------------------------------------------------------------------------------

    def wanted(self, urls: Urls, application_id: str) -> Settings:
        return {"application_id": application_id}

    def route_of(self, settings: Settings, application: Application | None) -> Route:
        """An application that the customer named is no conflict, and no route of ours to be forgotten either."""
        linked = settings["application_id"]
        if application and linked == application.id and application.name != self.site.application_name:
            return Route.NONE
        return route_to(linked, [application.id] if application else [])


def route_to(linked_id: str, ours: Container[str]) -> Route:
    """Where the calls of a number go that is linked to this, if these are the ids of our applications."""
    if not linked_id:
        return Route.NONE
    return Route.OURS if linked_id in ours else Route.ELSEWHERE
