"""Looking again at a line where the carrier may still carry out a change of ours that it has not confirmed."""

from contextlib import suppress

from core import clock
from core.fields import new_object_id
from integrations.base import Provider
from integrations.errors import NumberNotOwned
from integrations.transport import Deadline
from phones.models import Line
from phones.services import leases
from phones.services.carriers import ROLL_BACK_BUDGET_S, urls_for
from phones.services.keyring import Keyring
from phones.services.restoring import Restoration, release_line, restore_carrier_settings


def settle_line(line: Line, deadline: Deadline | None = None) -> bool:
    """Look at an unsettled line: if a number is active on it, its calls must reach us, if not, the customer. Once its
    time is over and nothing is found, the line is settled.

    Returns whether something was put right or the line is settled; False if it only waits, or is in use. Raises
    IntegrationError, CannotOpen.
    """
    lease_id, began_at = new_object_id(), clock.now()
    if not leases.acquire(line, lease_id):
        return False
    try:
        line.refresh_from_db()
        deadline = deadline or Deadline(ROLL_BACK_BUDGET_S)
        keyring = Keyring(line.account, left_by=line.unsettled_token)
        restoration = Restoration.NUMBER_GONE
        with suppress(NumberNotOwned):
            restoration = restore_carrier_settings(line, keyring, deadline)
            if restoration is Restoration.STILL_NEEDED:
                restoration = route_to_us(line, keyring, deadline)
        found_ours = restoration is Restoration.DONE
        is_over = not found_ours and line.unsettled_until is not None and line.unsettled_until <= began_at
        if is_over:
            leases.owned(line, lease_id).update(unsettled_until=None, unsettled_token=None)
        release_line(line, lease_id, keyring, deadline, is_restored=is_over)
        return found_ours or is_over
    except BaseException:
        leases.expire(leases.owned(line, lease_id))
        raise


def route_to_us(line: Line, keyring: Keyring, deadline: Deadline) -> Restoration:
    """Route an active number to us again if it is not. DONE: it was not."""
    account = line.account

    def repair(provider: Provider) -> bool:
        settings = provider.read(line.carrier_id)
        if provider.routes_to_us(settings, urls_for(account), account.application_id):
            return False
        provider.repair(line.carrier_id, urls_for(account), account.application_id)
        return True

    return Restoration.DONE if keyring.try_each(repair, deadline) else Restoration.UNCHANGED
