"""Adding a number: reserve, prove, snapshot, apply, read back, activate. All or nothing (docs/decisions/0002).

Correctness rests on unique indexes and on updates of one row that compare before they set. Each step leaves behind what
restoring.settle() needs to take the whole back, in this process or, after a crash, in another.
"""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import QuerySet

from core import clock
from core.fields import new_object_id
from core.secrets import Secret
from integrations.base import Provider
from integrations.errors import IntegrationError, InvalidCredentials, WebhookSetupFailed
from integrations.transport import Deadline
from integrations.types import CarrierNumber, Route, Settings
from phones.errors import PhoneExists, RoutedElsewhere
from phones.models import LEASE, Account, Line, PhoneNumber, lease_is_over
from phones.services import leases
from phones.services.accounts import (
    Credentials,
    adopt_credentials,
    check_named_application,
    check_public_key,
    end_rotation,
    keep_account,
    known_account,
    ready_application,
)
from phones.services.carriers import ADD_BUDGET_S, UNDO_BUDGET_S, connect, urls_for
from phones.services.checking import Check, as_check, key_reasons
from phones.services.forwarding import check_target
from phones.services.guesses import counted
from phones.services.history import note, refusal_noted
from phones.services.metrics import add_counted
from phones.services.refused import refusal_reasons
from phones.services.restoring import delete_line, settle_line, settle_or_leave, take_over
from phones.services.routes import customers_settings, is_ours, sealed
from phones.services.searching import index_phone
from users.models import User

log = logging.getLogger(__name__)

State = PhoneNumber.State


@dataclass
class Knowledge:
    """What a caller that adds many numbers of one account need not ask for each of them.

    `is_proved`: these credentials were good a moment ago, so that they are no guess. `found`: what the carrier's list
    of the account's numbers has just shown of this one.
    """

    is_proved: bool = False
    found: CarrierNumber | None = None


@dataclass
class Addition:
    """What one add carries from step to step."""

    reservation: PhoneNumber
    credentials: Credentials
    refuse_conflict: bool
    deadline: Deadline
    knowledge: Knowledge = field(default_factory=Knowledge)

    @property
    def id(self) -> str:
        return self.reservation.operation_id

    def mine(self) -> QuerySet[PhoneNumber]:
        """The reservation while it is still ours to change."""
        return PhoneNumber.objects.filter(pk=self.reservation.pk, operation_id=self.id)


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
    knowledge: Knowledge | None = None,
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
        knowledge: what is known of the account already, when many of its numbers are added.
        budget_s: the longest that it may take; with the 5 s to put things back less than a lease.

    Returns:
        The active number.

    Raises:
        PhoneExists, ForwardLoop, RoutedElsewhere, LimitReached, LineBusy and IntegrationError. Then nothing is kept and
        the carrier is as before, at once or after `manage.py reconcile`.

    Effects:
        Reads and changes settings at the carrier; inserts PhoneNumber, Line and Account as needed. Takes at most
        the budget, and 5 s more to put things back. No database transaction is open while the carrier is asked.
    """
    credentials, deadline = Credentials(integration, account_id, auth_token, public_key), Deadline(budget_s)
    wanted = PhoneNumber(user=user, number=number, integration=integration, **(settings or {}))
    with add_counted(integration), refusal_noted("phone.add", wanted, detail=integration):
        addition = Addition(
            reservation=reserve(wanted, credentials, deadline),
            credentials=credentials,
            refuse_conflict=on_conflict == "refuse",
            deadline=deadline,
            knowledge=knowledge or Knowledge(),
        )
        try:
            check_target(wanted, wanted.forward_to)
            prepared = snapshot(addition, *prove_within_limits(addition))
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
    knowledge: Knowledge | None = None,
    budget_s: float = ADD_BUDGET_S,
) -> None:
    """Raise what add_phone() would before it changes anything. Nothing is written, but that credentials were refused:
    this is counted, and in the audit trail."""
    if PhoneNumber.objects.filter(user=user, number=number, state=State.ACTIVE).exists():
        raise PhoneExists
    wanted = PhoneNumber(user=user, number=number, integration=integration, **(settings or {}))
    check_target(wanted, wanted.forward_to)
    addition = Addition(
        reservation=wanted,
        credentials=Credentials(integration, account_id, auth_token, public_key),
        refuse_conflict=on_conflict == "refuse",
        deadline=Deadline(budget_s),
        knowledge=knowledge or Knowledge(),
    )
    try:
        prove_within_limits(addition)
    except InvalidCredentials as refusal:
        note("phone.rehearse", wanted, outcome=refusal.code, detail=integration)
        raise


# -- steps ------------------------------------------------------------------------------------------------------------


def reserve(row: PhoneNumber, credentials: Credentials, deadline: Deadline) -> PhoneNumber:
    """Insert the row; the unique index lets one add of a number win. What is unfinished is settled first."""
    for _ in range(2):
        row.operation_id, row.lease_until = new_object_id(), clock.now() + LEASE
        try:
            with transaction.atomic():
                row.save(force_insert=True)
            return row
        except IntegrityError:
            unfinished = PhoneNumber.objects.filter(lease_is_over()).exclude(state=State.ACTIVE)
            earlier = unfinished.filter(user=row.user, number=row.number).first()
            if earlier is None or not take_over(earlier):
                break
            settle_earlier(earlier, credentials, deadline)
    raise PhoneExists


def settle_earlier(row: PhoneNumber, credentials: Credentials, deadline: Deadline) -> None:
    """Settle with the credentials that it began with. If they are good no more, as after a rotation, with those of this
    add, once these have proved to be of the same account."""
    try:
        settle_or_leave(row, deadline)
    except InvalidCredentials:
        line = row.line
        if not line or line.account.integration != credentials.integration:
            raise
        provider = connect(credentials.integration, credentials.account_id, credentials.auth_token, deadline)
        with counted(credentials, row.user.workspace_id, known_account(credentials)):
            found = provider.prove(row.number, application_id="")
        if found.id != line.carrier_id or not take_over(row):
            raise
        settle_or_leave(row, deadline, proved_token=credentials.auth_token)


def prove_within_limits(addition: Addition) -> tuple[Account | None, Provider, CarrierNumber]:
    """Prove, while counting credentials that the carrier refuses."""
    known = known_account(addition.credentials)
    if addition.knowledge.is_proved:
        return prove(addition, known, addition.knowledge.found)
    with counted(addition.credentials, addition.reservation.user.workspace_id, known):
        return prove(addition, known, addition.knowledge.found)


def prove(
    addition: Addition, account: Account | None, found: CarrierNumber | None = None
) -> tuple[Account | None, Provider, CarrierNumber]:
    """Ask the carrier: credentials, account, ownership, voice, present route. Reads only; nothing is written.

    What its list has just shown of the number is not asked for again, unless the account's application is another now.
    """
    credentials = addition.credentials
    application_id = (account.application_id if account else "") or (
        credentials.account_id if credentials.names_application else ""
    )
    provider = connect(credentials.integration, credentials.account_id, credentials.auth_token, addition.deadline)
    if found is None or (found.application.id if found.application else "") != application_id:
        found = provider.prove(addition.reservation.number, application_id=application_id)
    check_named_application(credentials, found, provider)
    check_public_key(credentials, found, account, provider)
    if addition.refuse_conflict and found.route is Route.ELSEWHERE:
        raise RoutedElsewhere
    return account, provider, found


def snapshot(addition: Addition, known: Account | None, provider: Provider, found: CarrierNumber) -> Prepared:
    """Keep the account and the line with the carrier's present settings, and mark the number as being applied."""
    while True:
        account, is_new = keep_account(addition.credentials, found, provider, known)
        if not is_new:  # it may be known only now, by its application
            check_public_key(addition.credentials, found, account, provider)
        was_ours = is_ours(account, found)
        line, line_is_new, has_begun = hold_line(addition, account, found, begin_new=not was_ours)
        if line and line_is_new and was_ours:
            snapshot = sealed(customers_settings(line, provider, found))
            Line.objects.filter(pk=line.pk).update(snapshot=snapshot)
        if line and (has_begun or begin(addition, account, line)):
            return Prepared(account, is_new, line, found, provider)
        # The account was released just now, and perhaps its application with it.
        if line and not delete_line(line, addition.id):
            leases.give_back(line, addition.id)
        leases.pause(addition.deadline)
        known, provider, found = prove(addition, known_account(addition.credentials))


def apply(addition: Addition, prepared: Prepared) -> tuple[str, Settings | None]:
    """Write our values at the carrier. Returns the application's id and what the carrier says is in effect."""
    account, provider = prepared.account, prepared.provider
    application_id = ready_application(
        account, prepared.found, provider,
        is_new=prepared.account_is_new, operation_id=addition.id, deadline=addition.deadline,
    )  # fmt: skip
    return application_id, provider.apply(prepared.line.carrier_id, urls_for(account), application_id)


def read_back(prepared: Prepared, application_id: str, settings: Settings | None) -> None:
    """Make sure that the effective route is ours. Asks again only where the write's reply did not tell."""
    provider = prepared.provider
    if settings is None:
        try:
            settings = provider.read(prepared.line.carrier_id)
        except IntegrationError as error:
            raise provider.setup_failed(f"could not be read back: {error.detail}") from None
    if not provider.routes_to_us(settings, urls_for(prepared.account), application_id):
        raise provider.setup_failed("the route read back is not ours")


def activate(addition: Addition, prepared: Prepared) -> None:
    """Make the number active, unless somebody has settled it meanwhile, and let go of the line."""
    account, credentials = prepared.account, addition.credentials
    is_rotation = account.token_digest != credentials.digest
    done: dict[str, object] = {"state": State.ACTIVE, "operation_id": ""}
    if not is_rotation:  # else the lease and the token in `operation` stay until the account has the token, too
        done |= {"operation": None, "lease_until": None}
    checked = just_checked(addition, prepared).as_fields(prepared.line)
    with transaction.atomic():  # one disk flush instead of two; each statement is enough alone
        index_phone(addition.reservation)
        if not addition.mine().update(**done):
            raise overtaken()
        leases.give_back(prepared.line, addition.id, **checked)
        note("phone.add", addition.reservation, detail=credentials.integration)
    addition.reservation.state = State.ACTIVE
    try:
        adopt_credentials(account, credentials, prepared.found.public_key)
        if is_rotation:
            end_rotation(addition.reservation)
    except DatabaseError as error:
        # The number is active, so the add has succeeded; its `operation` still holds the token for `reconcile`.
        log.error("The new credentials of %s are not kept yet; reconcile will do it", account, exc_info=error)


def just_checked(addition: Addition, prepared: Prepared) -> Check:
    """What the read-back has shown, and whether the account's webhooks are refused."""
    keys = prepared.account.public_key, addition.credentials.public_key, prepared.found.public_key
    reasons = key_reasons(prepared.provider, has_key=any(keys))
    return as_check(reasons + refusal_reasons(prepared.account))


def undo(addition: Addition) -> None:
    """Take back what an add that failed has done. What cannot be taken back now is left to `reconcile`."""
    row = addition.mine().first()
    if row is None:
        return  # active, or settled by somebody else
    try:
        settle_or_leave(row, Deadline(UNDO_BUDGET_S), proved_token=addition.credentials.auth_token, just_proved=True)
    except Exception as error:
        log.error("Add %s could not be undone; reconcile will try again", row.pk, exc_info=error)


# -- parts of the snapshot --------------------------------------------------------------------------------------------


def hold_line(
    addition: Addition, account: Account, found: CarrierNumber, *, begin_new: bool
) -> tuple[Line | None, bool, bool]:
    """Insert the line, and then begin if `begin_new`; or wait for the lease of the one that is there.

    Returns the line, whether it is new, and whether the add has begun on it; no line when the account is gone. Raises
    LineBusy when out of time.
    """
    number = addition.reservation.number
    while True:
        line = Line(
            account=account,
            number=number,
            carrier_id=found.id,
            snapshot=sealed(found.settings),
            lease_id=addition.id,
            lease_until=clock.now() + LEASE,
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
        if leases.take(earlier, addition.id):
            if earlier.lease_id:
                # Its holder died: what that left at the carrier comes first. It may take longer than our lease.
                settle_line(earlier, addition.deadline, proved_token=addition.credentials.auth_token)
                # Without a number it knows no more than its holder saw at first: perhaps a route of ours.
                delete_line(earlier, addition.id)
            if earlier.carrier_id != found.id:
                Line.objects.filter(pk=earlier.pk).update(carrier_id=found.id)
                earlier.carrier_id = found.id
            if Line.objects.filter(pk=earlier.pk, lease_id=addition.id).exists():
                return earlier, False, False
        leases.pause(addition.deadline)


def begin(addition: Addition, account: Account, line: Line) -> bool:
    """Mark the account as relied upon and the number as being applied. Says no if the account is gone."""
    operation = Secret.seal(json.dumps({"auth_token": addition.credentials.auth_token}))
    with transaction.atomic():  # one disk flush instead of two; each statement is enough alone
        # After the line was inserted: release_account() reads in the other order.
        if not Account.objects.filter(pk=account.pk).update(used_by=addition.id):
            return False
        if not addition.mine().update(state=State.APPLYING, line=line, operation=operation):
            raise overtaken()
    addition.reservation.state, addition.reservation.line = State.APPLYING, line
    return True


def overtaken() -> IntegrationError:
    """Somebody else has settled this add, since its lease ran out."""
    return WebhookSetupFailed("The webhook set-up took too long and was taken back. Try again.", "lease taken over")
