"""Adding a number: reserve, verify, snapshot, apply, read back, activate. All or nothing (docs/decisions/0002).

Correctness rests on unique indexes and on updates of one row that compare before they set. Each step leaves behind what
restoring.roll_back() needs to undo the add, in this process or, after a crash, in another.
"""

import json
import logging
from typing import Any

from django.db import IntegrityError, transaction

from core.fields import new_object_id
from integrations.base import Provider
from integrations.errors import IntegrationError, InvalidCredentials, NumberNotOwned
from integrations.transport import Deadline
from integrations.types import CarrierNumber, Route, Settings
from phones.errors import ApplicationInUse, ImpossibleNumber, LeaseLost, PhoneExists, RoutedElsewhere
from phones.models import Account, Line, PhoneNumber
from phones.numbers import is_possible
from phones.services import leases
from phones.services.accounts import (
    Credentials,
    check_named_application,
    check_public_key,
    connect_with,
    is_customers,
    keep_account,
    known_account,
    ready_application,
)
from phones.services.additions import AccountHints, Addition, Prepared, begin
from phones.services.carriers import ADD_BUDGET_S, UNDO_BUDGET_S, urls_for
from phones.services.checking import Check, as_check, key_reasons
from phones.services.claiming import lock_line
from phones.services.completing import complete
from phones.services.guesses import limit_credential_attempts
from phones.services.handling import check_handling, check_loop
from phones.services.history import note, refusal_noted
from phones.services.metrics import add_counted
from phones.services.ownership import Verdict, ask_holder, is_in_use, line_of
from phones.services.rejected_webhooks import refusal_reasons
from phones.services.releasing import drop_retired_applications
from phones.services.restoring import claim_abandoned, delete_line, leave_unsettled, roll_back_or_release, unsettled
from phones.services.routes import customers_settings, leads_to_us, sealed, was_made_by_us
from phones.services.searching import index_phone
from phones.services.settling import settle_line
from users.models import User

log = logging.getLogger(__name__)

State = PhoneNumber.State


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
    moved: PhoneNumber | None = None,
    budget_s: float = ADD_BUDGET_S,
) -> PhoneNumber:
    """Bring a number that the user owns at a carrier into its workspace.

    Args:
        user: who will own it.
        number: E.164 digits (`phones.numbers.digits_of`), even if no numbering plan makes them possible.
        integration: a key of `integrations.PROVIDERS`.
        account_id: Twilio Account SID, Plivo Auth ID, Telnyx application id (may be empty).
        auth_token: Auth Token or API key.
        public_key: Telnyx webhook key in base64, if the client knows it.
        on_conflict: "replace" takes over a number that is routed elsewhere, "refuse" does not.
        settings: fields of the new row, as for change_phone().
        hints: what is known of the account already, when many of its numbers are added.
        moved: the number of another workspace that the new one replaces (services/moving.py).
        budget_s: the longest that the add may take; with the 5 s to roll back, less than a lease.

    Returns:
        The active number.

    Raises:
        PhoneExists, ForwardLoop, what check_handling() raises, ImpossibleNumber, RoutedElsewhere,
        NumberInAnotherWorkspace, ApplicationInUse, LimitReached, LineBusy, LeaseLost and IntegrationError.
        Then everything is rolled back, in our database and at
        the carrier, at once or by `manage.py reconcile`.

    Effects:
        Reads and changes settings at the carrier; inserts PhoneNumber, Line and Account as needed. Takes at most the
        budget, and 5 s more to roll back. No database transaction is open while the carrier is asked.
    """
    credentials = Credentials(user.workspace_id, integration, account_id, auth_token, public_key)
    deadline = Deadline(budget_s)
    wanted = PhoneNumber(user=user, number=number, integration=integration, **(settings or {}))
    action = "phone.move" if moved else "phone.add"
    with add_counted(integration), refusal_noted(action, wanted, detail=integration):
        check_handling(wanted)
        addition = Addition(
            reservation=reserve(wanted, credentials, deadline),
            credentials=credentials,
            refuse_conflict=on_conflict == "refuse",
            deadline=deadline,
            hints=hints or AccountHints(),
            moved=moved,
        )
        try:
            check_loop(wanted, wanted.forward_to, wanted.connect_to)
            prepared = addition.prepared = snapshot(addition, *verify_within_limits(addition))
            application_id, in_effect = apply(addition, prepared)
            read_back(prepared, application_id, in_effect)
            activate(addition, prepared)
        except BaseException:
            undo(addition)
            raise
        if addition.taken_from:
            tidy_up(prepared)
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
    if PhoneNumber.objects.filter(user=user, number=number, state__in=PhoneNumber.SHOWN).exists():
        raise PhoneExists
    wanted = PhoneNumber(user=user, number=number, integration=integration, **(settings or {}))
    check_handling(wanted)
    check_loop(wanted, wanted.forward_to, wanted.connect_to)
    addition = Addition(
        reservation=wanted,
        credentials=Credentials(user.workspace_id, integration, account_id, auth_token, public_key),
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
            unfinished = PhoneNumber.objects.filter(leases.free(), state__in=PhoneNumber.UNFINISHED)
            earlier = unfinished.filter(user=row.user, number=row.number).first()
            in_doubt = earlier is not None and earlier.lease_until is not None
            if earlier is None or not claim_abandoned(earlier):
                break
            roll_back_earlier(earlier, credentials, deadline, in_doubt=in_doubt)
    raise PhoneExists


def roll_back_earlier(row: PhoneNumber, credentials: Credentials, deadline: Deadline, *, in_doubt: bool) -> None:
    """Roll back with the credentials that the operation began with. If the carrier refuses them, as after a rotation,
    use those of this add, once they are verified to be of the same account."""
    try:
        roll_back_or_release(row, deadline, in_doubt=in_doubt)
    except InvalidCredentials:
        line = row.line
        if not line or line.account.workspace_id != credentials.workspace_id or line.integration != row.integration:
            raise
        provider = connect_with(credentials, deadline)
        with limit_credential_attempts(credentials, known_account(credentials)):
            found = provider.verify(row.number, application_id="")
        if found.id != line.carrier_id or not claim_abandoned(row):
            raise
        roll_back_or_release(row, deadline, verified=credentials, in_doubt=in_doubt)


def verify_within_limits(addition: Addition) -> tuple[Account | None, Provider, CarrierNumber]:
    """Verify, and count credentials that the carrier refuses."""
    known = known_account(addition.credentials)
    if addition.hints.is_verified:
        return verify(addition, known, addition.hints.found)
    with limit_credential_attempts(addition.credentials, known):
        return verify(addition, known, addition.hints.found)


def verify(
    addition: Addition, account: Account | None, found: CarrierNumber | None = None
) -> tuple[Account | None, Provider, CarrierNumber]:
    """Verify credentials, account, ownership and voice at the carrier, and read the current route. Writes nothing.

    Args:
        found: the number as the carrier has just listed it. It is used instead of asking again, unless the account
            has another application by now or the client named one.
    """
    credentials = addition.credentials
    names_application = credentials.names_application
    application_id = (account.application_id if account else "") or (
        credentials.account_id if names_application else ""
    )
    provider = connect_with(credentials, addition.deadline)
    listed_application = found.application.id if found and found.application else ""
    if found is None or names_application or listed_application != application_id:
        found = ask_for_number(addition, provider, application_id)
    check_named_application(credentials, found, provider)
    check_public_key(credentials, found, account, provider)
    if has_other_holder(addition, account):
        return verify(addition, known_account(addition.credentials))
    check_named_use(addition, found, provider)
    if addition.refuse_conflict and found.route is Route.ELSEWHERE and not leads_to_us(credentials.integration, found):
        raise RoutedElsewhere
    return account, provider, found


def ask_for_number(addition: Addition, provider: Provider, application_id: str) -> CarrierNumber:
    """Ask the carrier for the number. A number that no plan makes possible was mistyped, unless the account has it."""
    number = addition.reservation.number
    names_application = addition.credentials.names_application
    try:
        return provider.verify(number, application_id=application_id, names_application=names_application)
    except NumberNotOwned:
        if addition.moved or is_possible(number):
            raise
        raise ImpossibleNumber from None


def has_other_holder(addition: Addition, account: Account | None) -> bool:
    """Ask the account that has the number's line, if it is another one, whether it still has the number.

    Returns whether it does and is the workspace's own, so that the add must go on with that account. If it does not,
    there is nothing to move, and the line is taken over as in any other add. Raises NumberInAnotherWorkspace,
    CarrierUnavailable.
    """
    line = line_of(addition.credentials.integration, addition.reservation.number)
    if line is None or (account and line.account_id == account.pk) or not is_in_use(line):
        return False
    addition.holder = ask_holder(line, addition.deadline)
    if addition.holder.verdict is not Verdict.HAS_IT:
        addition.moved = None
    if addition.moves(line) or addition.holder.verdict is not Verdict.HAS_IT:
        return False
    addition.follow(addition.holder)
    return True


def check_named_use(addition: Addition, found: CarrierNumber, provider: Provider) -> None:
    """Raise ApplicationInUse if the application that the client named is another workspace's, or routes other numbers,
    unless they are all the workspace's and the client wants them replaced."""
    application = found.application
    if application is None or not is_customers(addition.credentials, application, provider):
        return
    if was_made_by_us(addition.credentials.integration, application.id):
        raise ApplicationInUse
    others = set(found.also_linked)
    if not others:
        return
    own = PhoneNumber.objects.filter(
        user__workspace=addition.credentials.workspace_id,
        integration=addition.credentials.integration,
        number__in=others,
        state__in=PhoneNumber.ROUTED,
    )
    if addition.refuse_conflict or others - set(own.values_list("number", flat=True)):
        raise ApplicationInUse


def snapshot(addition: Addition, known: Account | None, provider: Provider, found: CarrierNumber) -> Prepared:
    """Store the account and the line with the carrier's current settings, and set the number to applying."""
    while True:
        account, is_new = keep_account(addition.credentials, found, provider, known)
        if not is_new:  # perhaps only now found by its application
            check_public_key(addition.credentials, found, account, provider)
        line, has_begun = lock_line(addition, account, found)
        if line and line.snapshot is None:
            line.snapshot = sealed(customers_settings(line, account, provider, found))
            leases.owned(line, addition.lease_id).update(snapshot=line.snapshot)
        if line and (has_begun or begin(addition, account, line)):
            return Prepared(account, is_new, line, found, provider)
        # The account was released in the meantime, and perhaps its application with it.
        if line and not delete_line(line, addition.lease_id):
            leases.release(line, addition.lease_id)
        leases.pause(addition.deadline)
        known, provider, found = verify(addition, known_account(addition.credentials))


def apply(addition: Addition, prepared: Prepared) -> tuple[str, Settings | None]:
    """Write our values at the carrier. Returns the application's id and what the carrier says is in effect. Raises
    LeaseLost if another process has rolled the add back and deleted the account."""
    account, provider = prepared.account, prepared.provider
    try:
        application_id = ready_application(
            account, prepared.found, provider,
            is_new=prepared.account_is_new, lease_id=addition.lease_id, deadline=addition.deadline,
        )  # fmt: skip
    except Account.DoesNotExist:
        raise LeaseLost from None
    return application_id, provider.apply(prepared.line.carrier_id, urls_for(account), application_id)


def read_back(prepared: Prepared, application_id: str, settings: Settings | None) -> None:
    """Check that the effective route is ours. Asks the carrier only if the reply to the write did not say."""
    provider = prepared.provider
    if settings is None:
        try:
            settings = provider.read(prepared.line.carrier_id)
        except IntegrationError as error:
            raise provider.not_changed(f"could not be read back: {error.detail}") from None
    if not provider.routes_to_us(settings, urls_for(prepared.account), application_id):
        raise provider.not_changed("the route read back is not ours")


def activate(addition: Addition, prepared: Prepared) -> None:
    """Make the number active, and complete what follows from it.

    Once the number is active, nothing fails the add any more: `reconcile` completes what is left. Raises LeaseLost if
    the lease is lost.
    """
    phone = addition.reservation
    checked = just_checked(addition, prepared).as_fields(prepared.line)
    if prepared.provider.in_doubt:  # a change was repeated, and the first request may be carried out later
        checked |= unsettled()
    with transaction.atomic():  # one disk flush instead of several; each statement is enough alone
        index_phone(phone)
        if not addition.owned().update(state=State.ACTIVE):
            raise LeaseLost
        phone.state = State.ACTIVE
        try:
            with transaction.atomic():
                leases.release(prepared.line, addition.lease_id, **checked)
                complete(
                    phone, prepared.account, addition.credentials,
                    public_key=prepared.found.public_key, is_move=addition.moved is not None,
                )  # fmt: skip
        except Exception as error:
            log.error("%s is active; reconcile will complete what is not stored yet", phone, exc_info=error)


def just_checked(addition: Addition, prepared: Prepared) -> Check:
    """The result of the read-back, and whether the account's webhooks are refused."""
    keys = prepared.account.public_key, addition.credentials.public_key, prepared.found.public_key
    reasons = key_reasons(prepared.provider, has_key=any(keys))
    return as_check(reasons + refusal_reasons(prepared.account))


def tidy_up(prepared: Prepared) -> None:
    """Delete what the account that the line was taken from has left at the carrier. It harms nobody if it stays."""
    try:
        drop_retired_applications(prepared.account, prepared.provider)
    except Exception as error:
        log.warning("An application that nothing uses is still at the carrier: %s", error)


def undo(addition: Addition) -> None:
    """Roll back an add that failed. If that fails, too, `reconcile` will do it."""
    prepared = addition.prepared
    try:
        row = addition.owned().filter(state__in=PhoneNumber.UNFINISHED).first()
        if row:
            roll_back_or_release(
                row,
                Deadline(UNDO_BUDGET_S),
                verified=addition.credentials,
                number_seen=True,
                in_doubt=addition.moved is not None or (prepared is not None and prepared.provider.in_doubt),
            )
        elif prepared:
            leave_unsettled(prepared.line, addition.reservation)
        if prepared and (row is None or addition.moved):
            settle(addition, prepared)
    except Exception as error:
        log.error("Add %s could not be rolled back; reconcile will try again", addition.reservation.pk, exc_info=error)


def settle(addition: Addition, prepared: Prepared) -> None:
    """Put back what we wrote after another process had taken the add for dead, or while the number was another's."""
    line, deadline = Line.objects.filter(pk=prepared.line.pk).first(), Deadline(UNDO_BUDGET_S)
    if line:
        settle_line(line, deadline)
        return
    account, before = prepared.account, prepared.line.snapshot
    if before and line_of(account.integration, addition.reservation.number) is None:
        provider = connect_with(addition.credentials, deadline)
        provider.restore(prepared.line.carrier_id, json.loads(before.open()), urls_for(account), account.application_id)
