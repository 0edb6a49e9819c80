"""Removing a number: restore the line as it was before us, then delete the row. `reconcile` finishes what fails."""

import logging
from collections.abc import Iterator

from django.db.models import QuerySet

from core.fields import new_object_id
from core.secrets import CannotOpen
from integrations.errors import IntegrationError
from integrations.transport import Deadline
from phones.errors import LineBusy, NoSuchPhone
from phones.models import PhoneNumber
from phones.services import at_once, leases
from phones.services.carriers import ADD_BUDGET_S
from phones.services.completing import finish_move
from phones.services.history import note
from phones.services.restoring import Restoration, roll_back_or_release

log = logging.getLogger(__name__)

State = PhoneNumber.State


def remove_phone(phone: PhoneNumber) -> Restoration:
    """Remove an active or retired number.

    Unless another number needs the line, the carrier's settings are restored where they still have our values. What we
    made at the carrier is deleted when nothing uses it.

    A retired number is only deleted: it is in other hands at the carrier.

    Returns what became of the carrier's settings. If LATER, the number is no longer listed, and `reconcile` finishes
    the removal. Raises NoSuchPhone when another removal has begun, LineBusy while the number is being moved here. Takes
    at most 20 s.
    """
    if phone.is_retired:
        return remove_retired(phone)
    finish_move(phone)
    deadline, lease_id = Deadline(ADD_BUDGET_S), new_object_id()
    active = PhoneNumber.objects.filter(pk=phone.pk, state=State.ACTIVE)
    if not active.update(state=State.REMOVING, **leases.terms(lease_id)):
        raise NoSuchPhone
    phone.refresh_from_db()
    try:
        if phone.line:
            leases.wait(phone.line, lease_id, deadline)
        restoration = roll_back_or_release(phone, deadline, in_doubt=False)
    except (IntegrationError, LineBusy, CannotOpen) as error:
        log.warning("The removal of %s is not finished; reconcile will do it: %s", phone, error)
        note("phone.remove", phone, outcome="unfinished")
        return Restoration.LATER
    note("phone.remove", phone, detail="" if restoration is Restoration.DONE else restoration.value)
    return restoration


def remove_retired(phone: PhoneNumber) -> Restoration:
    """Delete a retired number. `reconcile` deletes its line and its account once nothing needs them."""
    if not PhoneNumber.objects.filter(pk=phone.pk, state=State.RETIRED).delete()[0]:
        raise NoSuchPhone
    note("phone.remove", phone, detail=Restoration.LEFT_ALONE.value)
    return Restoration.LEFT_ALONE


def remove_phones(phones: QuerySet[PhoneNumber]) -> Iterator[tuple[PhoneNumber, Restoration | None]]:
    """Remove many numbers, a few of each account at a time, and yield each with its result as it comes.

    A number that cannot be removed, which is logged, or that is being removed already comes with None.
    """

    def remove(phone: PhoneNumber) -> Restoration | None:
        try:
            return remove_phone(phone)
        except NoSuchPhone:
            return None
        except Exception as error:
            log.error("%s could not be removed", phone, exc_info=error)
            if not PhoneNumber.objects.filter(pk=phone.pk, state=State.REMOVING).exists():
                return None
            note("phone.remove", phone, outcome="unfinished")
            return Restoration.LATER

    found = phones.select_related("line__account", "user")
    yield from at_once.each(found, remove, account_of=lambda phone: phone.line.account_id if phone.line else "")
