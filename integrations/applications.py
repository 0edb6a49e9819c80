"""Applications: where carriers that do not store webhooks on the number itself store them."""

from abc import ABC, abstractmethod
from collections.abc import Container, Iterator
from functools import partial
from typing import ClassVar

from integrations.base import Provider
from integrations.errors import Refused, RequestFailed, Unanswered
from integrations.transport import in_parallel
from integrations.types import Application, Difference, Route, Settings, compare_settings
from integrations.webhooks import Urls, is_ours


class Applications(ABC):
    """The applications of one account: finds, creates, changes and deletes ours, and restores a customer's.

    Methods that raise RequestFailed are for providers only; all others raise IntegrationError.
    """

    # Limit for listing applications; no account should have this many pages.
    max_pages: int
    # The setting with the URL that answers calls.
    answer_url_name: ClassVar[str]

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    # -- verbs --------------------------------------------------------------------------------------------------------

    def find(self, application_id: str = "") -> Application | None:
        """Return the application with this id or, without an id, the oldest one with our name; None if none exists."""
        with self.provider.reading():
            return self.look_up(application_id)

    def look_up(self, application_id: str) -> Application | None:
        """Like find(), but raises RequestFailed."""
        if application_id:
            return self.read(application_id)
        name = self.provider.site.application_name
        # Compare again here: the carriers' name filters may also find other names. [U: plivo-name-filter]
        matches = [found for found in self.scan(name) if found.name == name]
        return min(matches, key=lambda found: (len(found.id), found.id), default=None)

    def scan(self, name: str = "") -> Iterator[Application]:
        """Yield applications, page by page; with a name, at least those with that name. Raises RequestFailed."""
        for number in range(self.max_pages):
            found, is_last = self.provider.ask(partial(self._page, number, name))
            yield from found
            if is_last:
                return

    def ours(self) -> set[str]:
        """The ids of applications with our name, and of all that send calls to this installation, such as another
        workspace's or a customer's own. Raises RequestFailed."""
        site, name = self.provider.site, self.answer_url_name
        return {
            found.id
            for found in self.scan()
            if site.is_ours(found.name) or found.settings[name].startswith(site.webhooks_url)
        }

    def numbers_linked_to(self, application_id: str) -> list[str]:
        """The numbers linked to this application, as E.164 digits; also those that we know nothing of."""
        with self.provider.reading():
            return self.look_up_linked(application_id)

    def make(self, urls: Urls, profile_id: str | None) -> Application:
        """Create an application with our name.

        If the outcome is unknown, the application is looked up by name; the create request is never repeated.

        Args:
            profile_id: see CarrierNumber.
        """
        try:
            return self._create(urls, profile_id)
        except Refused as failure:
            raise self.provider.change_failed(failure) from None
        except Unanswered as failure:
            found = self.find()
            if found is None:
                raise self.provider.change_failed(failure) from None
            return found

    def point(self, application: Application, urls: Urls) -> None:
        """Set the application's URLs to ours and read them back."""
        self.write(application, self.wanted(urls))

    def compare(self, application: Application, urls: Urls) -> list[Difference]:
        """List what prevents an application from sending calls to us."""
        return compare_settings(self.wanted(urls), application.settings) + self.other_faults(application)

    def other_faults(self, application: Application) -> list[Difference]:
        """List problems of our application other than its settings."""
        return []

    def restore(self, application_id: str, snapshot: Settings, urls: Urls) -> bool:
        """Restore a customer's application if its URLs are still ours. Returns whether they were; not if it no longer
        exists."""
        found, wanted = self.find(application_id), self.wanted(urls)
        if found is None or not all(is_ours(found.settings[name], value) for name, value in wanted.items()):
            return False
        self.write(found, snapshot)
        return True

    def write(self, application: Application, settings: Settings, profile_id: str = "") -> None:
        """Write the settings that differ, and the outbound profile if one is given, then read them back."""
        changes = {name: value for name, value in settings.items() if application.settings[name] != value}
        after = self.provider.write(lambda: self._update(application, changes, profile_id))
        if after is None:
            with self.provider.writing():
                after = self.read(application.id)
        if after is None or after.settings != settings:
            raise self.provider.not_changed("the application was not changed")

    def delete(self, application_id: str) -> bool:
        """Delete an application that we created (none if the id is empty) and everything we created along with it.

        It stays, with all of that, while any number is linked to it, even one that we know nothing of. Returns whether
        it is gone, also if it no longer existed.
        """
        # Asked first: a carrier may delete an application and leave its numbers without one.
        if application_id and self.numbers_linked_to(application_id):
            return False
        try:
            self._delete(application_id)
        except RequestFailed as failure:
            # A number may have been linked since. No document says with which error a carrier refuses it then.
            if isinstance(failure, Refused) and application_id and self.numbers_linked_to(application_id):
                return False
            raise self.provider.change_failed(failure) from None
        return True

    # -- facts --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def wanted(self, urls: Urls) -> Settings:
        """The settings that an application needs to send calls to us."""

    # -- requests -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def read(self, application_id: str) -> Application | None:
        """Return the application, or None if it does not exist. Raises RequestFailed."""

    @abstractmethod
    def look_up_linked(self, application_id: str) -> list[str]:
        """Like numbers_linked_to(), but raises RequestFailed."""

    @abstractmethod
    def _page(self, number: int, name: str) -> tuple[list[Application], bool]:
        """Called within ask(): a page (from 0) of the list, filtered by any `name`, and whether it is the last page."""

    @abstractmethod
    def _create(self, urls: Urls, profile_id: str | None) -> Application:
        """Create an application with our name, in a single attempt. Raises RequestFailed."""

    @abstractmethod
    def _update(self, application: Application, changes: Settings, profile_id: str) -> Application | None:
        """Called within ask(): change these settings. Returns its new state, or None if the carrier omits it."""

    @abstractmethod
    def _delete(self, application_id: str) -> None:
        """Delete the application, if the id is not empty, and what we created along with it. Raises RequestFailed."""


class ApplicationProvider(Provider):
    """A carrier that stores webhooks on an application, to which numbers are linked.

    The number's only setting is `application_id`.
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
        """Why calls to a number that is linked to something else do not reach us."""
        if not linked_id:
            return "not_linked"
        with self.reading():
            is_application = self.kind_of(linked_id).endswith("application")
        return "overridden_by_application" if is_application else "overridden_by_trunk"

    def restore(self, number_id: str, snapshot: Settings, urls: Urls, application_id: str) -> bool:
        before = snapshot["application_id"]
        if not self.routes_to_us(self.read(number_id), urls, application_id) or before == application_id:
            return False
        self.link(number_id, before)
        if self.routes_to_us(self.read(number_id), urls, application_id):
            raise self.not_changed("still linked to our application")
        return True

    def link(self, number_id: str, application_id: str) -> None:
        """Link the number to its previous application; unlink it if the id is empty or the application is gone."""
        try:
            self.ask(lambda: self._update(number_id, {"application_id": application_id}), is_change=True)
        except Refused as failure:
            if not application_id or failure.status in (401, 403) or self._is_there(application_id):
                raise self.change_failed(failure) from None
            self.link(number_id, "")
        except Unanswered:
            pass  # restore() reads back the result

    def _is_there(self, linked_id: str) -> bool:
        with self.reading():
            return bool(self.kind_of(linked_id))

    # -- requests -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def kind_of(self, linked_id: str) -> str:
        """The kind of thing a number is linked to: ends in "application" for an application, is another word for a
        trunk, and is empty if nothing is known to exist there. Raises RequestFailed."""

    # -- facts --------------------------------------------------------------------------------------------------------

    def wanted(self, urls: Urls, application_id: str) -> Settings:
        return {"application_id": application_id}

    def route_of(self, settings: Settings, application: Application | None) -> Route:
        """An application that the customer named is neither a conflict nor a leftover route of ours."""
        linked = settings["application_id"]
        if application and linked == application.id and not self.site.is_ours(application.name):
            return Route.NONE
        return route_to(linked, [application.id] if application else [])


def route_to(linked_id: str, ours: Container[str]) -> Route:
    """Where calls go for a number with this link, given the ids of our applications."""
    if not linked_id:
        return Route.NONE
    return Route.OURS if linked_id in ours else Route.ELSEWHERE
