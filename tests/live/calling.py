"""Places the one call, in a single request, and follows it by reading."""

import time
from collections.abc import Sequence
from contextlib import suppress

from integrations.errors import IntegrationError, NumberNotOwned, WebhookSetupFailed
from tests.live.account import Account
from tests.live.doors import DOORS
from tests.live.guard import Guard

# Seconds between looks at the call: two minutes in all.
PAUSES_S = (3.0,) * 40


class NoCallPossible(Exception):
    """The account cannot place the call. The message says why."""


def application_of(account: Account) -> str:
    """The application with which the number's carrier places calls; empty if it needs none.

    Raises NoCallPossible, IntegrationError.
    """
    try:
        settings = account.verified.settings
    except NumberNotOwned:
        raise NoCallPossible("The calling number is not one of this account.") from None
    if "{}" not in DOORS[account.carrier].path_end:
        return ""
    linked_id = settings["application_id"]
    if linked_id not in account.application_names:
        raise NoCallPossible(
            f"{account.label} places calls with a TeXML application, and the number is not assigned to one. "
            "Add the number to a workspace first, or assign it in the portal."
        )
    return linked_id


def place(account: Account, callee: str, guard: Guard) -> str:
    """Send the request, once, and return the call's id.

    Raises IntegrationError, whose detail says whether the carrier may still place the call.
    """
    door, application_id = DOORS[account.carrier], application_of(account)
    provider = account.provider()
    guard.permit_one("POST", door.path_end.format(application_id))
    try:
        with provider.writing():
            return provider.ask(
                lambda: door.place(provider, account.number, callee, application_id), attempts=1, is_change=True
            )
    except WebhookSetupFailed as error:
        error.detail = f"{error.detail}; {'it may still ring' if provider.in_doubt else 'no call was placed'}"
        raise
    finally:
        guard.withdraw()


def follow(account: Account, call_id: str, pauses_s: Sequence[float]) -> str:
    """Wait for the end of the call and return its final status; empty if it does not end or cannot be read."""
    for pause_s in pauses_s:
        time.sleep(pause_s)
        # A carrier may not have the call yet right after it was placed.
        with suppress(IntegrationError):
            if status := account.read(lambda provider: DOORS[account.carrier].status(provider, call_id)):
                return status
    return ""
