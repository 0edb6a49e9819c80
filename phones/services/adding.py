"""Adding a number: reserve, verify, snapshot, apply, read back, activate. All or nothing (docs/decisions/0002).

Correctness rests on unique indexes and on updates of one row that compare before they set. Each step leaves behind what
restoring.roll_back() needs to undo the add, in this process or, after a crash, in another.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import QuerySet

from core.fields import new_object_id
from integrations.base import Provider
from integrations.errors import IntegrationError, InvalidCredentials, WebhookSetupFailed
from integrations.transport import Deadline
from integrations.types import CarrierNumber, Route, Settings
from phones.errors import LeaseLost, PhoneExists, RoutedElsewhere
from phones.models import Account, Line, PhoneNumber
from phones.services import leases
from phones.services.accounts import (
    Credentials,
    adopt_credentials,
    check_named_application,
    check_public_key,
    end_rotation,
    keep_account,
    known_account,
    mark_used,
    ready_application,
)
from phones.services.carriers import ADD_BUDGET_S, UNDO_BUDGET_S, connect, urls_for
from phones.services.checking import Check, as_check, key_reasons
from phones.services.forwarding import check_target
from phones.services.guesses import limit_credential_attempts
from phones.services.history import note, refusal_noted
from phones.services.keyring import sealed_operation
from phones.services.metrics import add_counted
from phones.services.rejected_webhooks import refusal_reasons
from phones.services.restoring import claim_abandoned, delete_line, roll_back_line, roll_back_or_release
from phones.services.routes import customers_settings, is_ours, sealed
from phones.services.searching import index_phone
from users.models import User

log = logging.getLogger(__name__)

State = PhoneNumber.State


@dataclass
class AccountHints:
    """What a caller that adds many numbers of an account knows already, so that we need not ask for each number.

    `is_verified`: the carrier accepted these credentials a moment ago, so they are not a guess. `found`: the number as
    the carrier has just listed it.
    """

    is_verified: bool = False
    found: CarrierNumber | None = None


@dataclass
class Addition:
    """The input of an add, and its reservation."""

    reservation: PhoneNumber
    credentials: Credentials
    refuse_conflict: bool
    deadline: Deadline
    hints: AccountHints = field(default_factory=AccountHints)

    @property
    def lease_id(self) -> str:
        return self.reservation.lease_id

    def owned(self) -> QuerySet[PhoneNumber]:
        """The reservation, for as long as its lease is ours."""
        return leases.owned(self.reservation, self.lease_id)


@dataclass
class Prepared:
    """The account and the line of an add, ready for the first change at the carrier."""

    account: Account
    account_is_new: bool
    line: Line
    found: CarrierNumber
    provider: Provider


def add_phone(
    *,
    user: User,
    number: str,
    integration: str,
    account_id: str,
    auth_token: str,
    public_key: str = "",
    on_conflict: str = "replace",
    settings: dict[str, Any] | None = None,
    hints: AccountHints | None = None,
    budget_s: float = ADD_BUDGET_S,
) -> PhoneNumber:
    """Bring a number that the user owns at a carrier into its workspace.

    Args:
        user: who will own it.
        number: E.164 digits (`phones.numbers.to_e164`).
        integration: a key of `integrations.PROVIDERS`.
        account_id: Twilio Account SID, Plivo Auth ID, Telnyx application id (may be empty).
        auth_token: Auth Token or API key.
        public_key: Telnyx webhook key in base64, if the client knows it.
        on_conflict: "replace" takes over a number that is routed elsewhere, "refuse" does not.
        settings: fields of the new row: `label`, `action`, `greeting`, `forward_to`, `record`.
        hints: what is known of the account already, when many of its numbers are added.
        budget_s: the longest that the add may take; with the 5 s to roll back, less than a lease.

    Returns:
        The active number.

    Raises:
        PhoneExists, ForwardLoop, RoutedElsewhere, LimitReached, LineBusy, LeaseLost and IntegrationError. Then
        everything is rolled back, in our database and at the carrier, at once or by `manage.py reconcile`.

    Effects:
        Reads and changes settings at the carrier; inserts PhoneNumber, Line and Account as needed. Takes at most the
        budget, and 5 s more to roll back. No database transaction is open while the carrier is asked.
    """
    credentials, deadline = Credentials(integration, account_id, auth_token, public_key), Deadline(budget_s)
    wanted = PhoneNumber(user=user, number=number, integration=integration, **(settings or {}))
    with add_counted(integration), refusal_noted("phone.add", wanted, detail=integration):
        addition = Addition(
            reservation=reserve(wanted, credentials, deadline),
            credentials=credentials,
            refuse_conflict=on_conflict == "refuse",
            deadline=deadline,
            hints=hints or AccountHints(),
        )
        try:
            check_target(wanted, wanted.forward_to)
            prepared = snapshot(addition, *verify_within_limits(addition))
            application_id, in_effect = apply(addition, prepared)
            read_back(prepared, application_id, in_effect)
            activate(addition, prepared)
        except BaseException:
            undo(addition)
            raise
    return addition.reservation


def rehearse_add(
    *,
    user: User,
    number: str,
    integration: str,
    account_id: str,
    auth_token: str,
    public_key: str = "",
    on_conflict: str = "replace",
    settings: dict[str, Any] | None = None,
    hints: AccountHints | None = None,
    budget_s: float = ADD_BUDGET_S,
) -> None:
    """Raise what add_phone() would raise before it changes anything. Writes nothing, except that refused credentials
    are counted and recorded in the audit trail."""
    if PhoneNumber.objects.filter(user=user, number=number, state=State.ACTIVE).exists():
        raise PhoneExists
    wanted = PhoneNumber(user=user, number=number, integration=integration, **(settings or {}))
    check_target(wanted, wanted.forward_to)
    addition = Addition(
        reservation=wanted,
        credentials=Credentials(integration, account_id, auth_token, public_key),
        refuse_conflict=on_conflict == "refuse",
        deadline=Deadline(budget_s),
        hints=hints or AccountHints(),
    )
    try:
        verify_within_limits(addition)
    except InvalidCredentials as refusal:
        note("phone.rehearse", wanted, outcome=refusal.code, detail=integration)
        raise


# -- steps ------------------------------------------------------------------------------------------------------------


def reserve(row: PhoneNumber, credentials: Credentials, deadline: Deadline) -> PhoneNumber:
    """Insert the row. If several adds of a number run at once, the unique index lets exactly one succeed. An earlier
    operation on the number that was abandoned is rolled back first."""
    for _ in range(2):
        lease = leases.terms(new_object_id())
        row.lease_id, row.lease_until = lease["lease_id"], lease["lease_until"]
        try:
            with transaction.atomic():
                row.save(force_insert=True)
            return row
        except IntegrityError:
            unfinished = PhoneNumber.objects.filter(leases.free()).exclude(state=State.ACTIVE)
            earlier = unfinished.filter(user=row.user, number=row.number).first()
            if earlier is None or not claim_abandoned(earlier):
                break
            roll_back_earlier(earlier, credentials, deadline)
    raise PhoneExists


def roll_back_earlier(row: PhoneNumber, credentials: Credentials, deadline: Deadline) -> None:
    """Roll back with the credentials that the operation began with. If the carrier refuses them, as after a rotation,
    use those of this add, once they are verified to be of the same account."""
    try:
        roll_back_or_release(row, deadline)
    except InvalidCredentials:
        line = row.line
        if not line or line.account.integration != credentials.integration:
            raise
        provider = connect(credentials.integration, credentials.account_id, credentials.auth_token, deadline)
        with limit_credential_attempts(credentials, row.user.workspace_id, known_account(credentials)):
            found = provider.verify(row.number, application_id="")
        if found.id != line.carrier_id or not claim_abandoned(row):
            raise
        roll_back_or_release(row, deadline, verified=credentials)


def verify_within_limits(addition: Addition) -> tuple[Account | None, Provider, CarrierNumber]:
    """Verify, and count credentials that the carrier refuses."""
    known = known_account(addition.credentials)
    if addition.hints.is_verified:
        return verify(addition, known, addition.hints.found)
    with limit_credential_attempts(addition.credentials, addition.reservation.user.workspace_id, known):
        return verify(addition, known, addition.hints.found)


def verify(
    addition: Addition, account: Account | None, found: CarrierNumber | None = None
) -> tuple[Account | None, Provider, CarrierNumber]:
    """Verify credentials, account, ownership and voice at the carrier, and read the current route. Writes nothing.

    Args:
        found: the number as the carrier has just listed it. It is used instead of asking again, unless the account
            has another application by now.
    """
    credentials = addition.credentials
    application_id = (account.application_id if account else "") or (
        credentials.account_id if credentials.names_application else ""
    )
    provider = connect(credentials.integration, credentials.account_id, credentials.auth_token, addition.deadline)
    if found is None or (found.application.id if found.application else "") != application_id:
        found = provider.verify(addition.reservation.number, application_id=application_id)
    check_named_application(credentials, found, provider)
    check_public_key(credentials, found, account, provider)
    if addition.refuse_conflict and found.route is Route.ELSEWHERE:
        raise RoutedElsewhere
    return account, provider, found


def snapshot(addition: Addition, known: Account | None, provider: Provider, found: CarrierNumber) -> Prepared:
    """Store the account and the line with the carrier's current settings, and set the number to applying."""
    while True:
        account, is_new = keep_account(addition.credentials, found, provider, known)
        if not is_new:  # perhaps only now found by its application
            check_public_key(addition.credentials, found, account, provider)
        was_ours = is_ours(account, found)
        line, line_is_new, has_begun = lock_line(addition, account, found, begin_new=not was_ours)
        if line and line_is_new and was_ours:
            snapshot = sealed(customers_settings(line, provider, found))
            leases.owned(line, addition.lease_id).update(snapshot=snapshot)
        if line and (has_begun or begin(addition, account, line)):
            return Prepared(account, is_new, line, found, provider)
        # The account was released in the meantime, and perhaps its application with it.
        if line and not delete_line(line, addition.lease_id):
            leases.release(line, addition.lease_id)
        leases.pause(addition.deadline)
        known, provider, found = verify(addition, known_account(addition.credentials))


def apply(addition: Addition, prepared: Prepared) -> tuple[str, Settings | None]:
    """Write our values at the carrier. Returns the application's id and what the carrier says is in effect."""
    account, provider = prepared.account, prepared.provider
    application_id = ready_application(
        account, prepared.found, provider,
        is_new=prepared.account_is_new, lease_id=addition.lease_id, deadline=addition.deadline,
    )  # fmt: skip
    return application_id, provider.apply(prepared.line.carrier_id, urls_for(account), application_id)


def read_back(prepared: Prepared, application_id: str, settings: Settings | None) -> None:
    """Check that the effective route is ours. Asks the carrier only if the reply to the write did not say."""
    provider = prepared.provider
    if settings is None:
        try:
            settings = provider.read(prepared.line.carrier_id)
        except IntegrationError as error:
            raise WebhookSetupFailed(provider.carrier, f"could not be read back: {error.detail}") from None
    if not provider.routes_to_us(settings, urls_for(prepared.account), application_id):
        raise WebhookSetupFailed(provider.carrier, "the route read back is not ours")


def activate(addition: Addition, prepared: Prepared) -> None:
    """Make the number active and release the line. Raises LeaseLost if the lease is lost."""
    account, credentials = prepared.account, addition.credentials
    is_rotation = account.token_digest != credentials.digest
    done: dict[str, object] = {"state": State.ACTIVE, "lease_id": ""}
    if not is_rotation:  # else `reconcile` gives the account the token in `operation` if we die before end_rotation()
        done |= {"operation": None, "lease_until": None}
    checked = just_checked(addition, prepared).as_fields(prepared.line)
    with transaction.atomic():  # one disk flush instead of two; each statement is enough alone
        index_phone(addition.reservation)
        if not addition.owned().update(**done):
            raise LeaseLost
        leases.release(prepared.line, addition.lease_id, **checked)
        note("phone.add", addition.reservation, detail=credentials.integration)
    addition.reservation.state = State.ACTIVE
    try:
        adopt_credentials(account, credentials, prepared.found.public_key)
        if is_rotation:
            end_rotation(addition.reservation)
    except DatabaseError as error:
        # The number is active, so the add has succeeded; `operation` still has the token for `reconcile`.
        log.error("The new credentials of %s are not stored yet; reconcile will do it", account, exc_info=error)


def just_checked(addition: Addition, prepared: Prepared) -> Check:
    """The result of the read-back, and whether the account's webhooks are refused."""
    keys = prepared.account.public_key, addition.credentials.public_key, prepared.found.public_key
    reasons = key_reasons(prepared.provider, has_key=any(keys))
    return as_check(reasons + refusal_reasons(prepared.account))


def undo(addition: Addition) -> None:
    """Roll back an add that failed. If that fails, too, `reconcile` will do it."""
    row = addition.owned().first()
    if row is None:
        return  # active, or rolled back by another process
    try:
        roll_back_or_release(row, Deadline(UNDO_BUDGET_S), verified=addition.credentials, number_seen=True)
    except Exception as error:
        log.error("Add %s could not be rolled back; reconcile will try again", row.pk, exc_info=error)


# -- parts of the snapshot --------------------------------------------------------------------------------------------


def lock_line(
    addition: Addition, account: Account, found: CarrierNumber, *, begin_new: bool
) -> tuple[Line | None, bool, bool]:
    """Insert the line with our lease, or wait for the lease of the line that exists.

    Args:
        begin_new: if the line is inserted, begin() in the same transaction.

    Returns the line, whether it is new, and whether begin() was called and succeeded; no line if the account is gone.
    Raises LineBusy when out of time.
    """
    number = addition.reservation.number
    while True:
        line = Line(
            account=account,
            number=number,
            carrier_id=found.id,
            snapshot=sealed(found.settings),
            **leases.terms(addition.lease_id),
        )
        try:
            with transaction.atomic():  # one disk flush instead of two
                line.save(force_insert=True)
                return line, True, begin_new and begin(addition, account, line)
        except IntegrityError:
            earlier = Line.objects.filter(account_id=account.pk, number=number).first()
        if earlier is None:
            if not Account.objects.filter(pk=account.pk).exists():
                return None, False, False
            continue
        if leases.acquire(earlier, addition.lease_id):
            if earlier.lease_id:
                # Its holder died: first roll back what it left at the carrier. This may outlast our lease.
                roll_back_line(earlier, addition.deadline, verified=addition.credentials)
                # Without a number, the line's snapshot is only what its holder read first: perhaps our own route.
                delete_line(earlier, addition.lease_id)
            if earlier.carrier_id != found.id:
                leases.owned(earlier, addition.lease_id).update(carrier_id=found.id)
                earlier.carrier_id = found.id
            if leases.owned(earlier, addition.lease_id).exists():
                return earlier, False, False
        leases.pause(addition.deadline)


def begin(addition: Addition, account: Account, line: Line) -> bool:
    """Mark the account as used and set the number to applying, after which the carrier may be changed. Returns False if
    the account is gone. Raises LeaseLost if the lease is lost."""
    operation = sealed_operation(addition.credentials)
    with transaction.atomic():  # one disk flush instead of two; each statement is enough alone
        if not mark_used(account, addition.lease_id):
            return False
        if not addition.owned().update(state=State.APPLYING, line=line, operation=operation):
            raise LeaseLost
    addition.reservation.state, addition.reservation.line = State.APPLYING, line
    return True
