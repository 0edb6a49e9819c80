"""The row of a carrier account and the application that its numbers are linked to."""

import json
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.utils import timezone

from integrations.applications import ApplicationProvider
from integrations.base import Application, CarrierNumber, Provider
from integrations.errors import WebhookSetupFailed
from integrations.transport import Deadline
from phones.models import Account, MadeApplication, PhoneNumber, token_digest
from phones.services import leases
from phones.services.carriers import urls_for
from workspace.secrets import Secret


@dataclass
class Credentials:
    """What a client gave to reach its account at a carrier. `account_id` may be empty for Telnyx."""

    integration: str
    account_id: str
    auth_token: str = field(repr=False)
    public_key: str = field(default="", repr=False)

    @property
    def digest(self) -> str:
        return token_digest(self.auth_token)

    @property
    def names_application(self) -> bool:
        """At Telnyx the account id is that of an application of the customer's own."""
        return self.integration == "telnyx" and bool(self.account_id)


def known_account(credentials: Credentials) -> Account | None:
    """The row that we have of this account, as far as it can be told before the carrier is asked."""
    accounts = Account.objects.filter(integration=credentials.integration)
    if credentials.account_id:
        return accounts.filter(account_id=credentials.account_id).first()
    ours = accounts.filter(token_digest=credentials.digest, application_is_customers=False)
    return ours.exclude(account_id=stand_in(credentials)).first() or ours.first()


def stand_in(credentials: Credentials) -> str:
    """The account id of a Telnyx account before it has an application, so that two first adds meet in one row."""
    return f"new-{credentials.digest[:40]}"


def proved_before(account: Account | None, credentials: Credentials) -> bool:
    """Whether these very credentials were good before, so that they are no guess."""
    return account is not None and account.token_digest == credentials.digest


def keep_account(
    credentials: Credentials, found: CarrierNumber, provider: Provider, known: Account | None
) -> tuple[Account, bool]:
    """The row of a proved account, and whether it was made now."""
    application = found.application
    # Telnyx names an account by its application.
    account_id = credentials.account_id or (application.id if application else stand_in(credentials))
    same_id = Account.objects.filter(integration=credentials.integration, account_id=account_id)
    # Looked up again, and by the credentials first: another add may have kept it while the carrier was asked.
    while (row := known or known_account(credentials) or same_id.first()) is None:
        new = Account(
            integration=credentials.integration,
            account_id=account_id,
            auth_token=Secret.seal(credentials.auth_token),
            token_digest=credentials.digest,
            public_key=credentials.public_key or found.public_key,
            application_is_customers=is_customers(credentials, application, provider),
        )
        try:
            with transaction.atomic():
                new.save(force_insert=True)
        except IntegrityError:
            continue
        named = known_account(credentials)
        if named and named.pk != new.pk:
            # The first stand-in got its application's name between the two statements. Nobody uses the second.
            new.delete()
            return named, False
        return new, True
    return row, False


def is_customers(credentials: Credentials, application: Application | None, provider: Provider) -> bool:
    """An application that the client named is the customer's, unless it is the very one that we made."""
    ours = application is not None and application.name == provider.site.application_name
    return credentials.names_application and not ours


def check_named_application(credentials: Credentials, found: CarrierNumber, provider: Provider) -> None:
    """Raise UnknownApplication when the application that the client named does not exist."""
    if credentials.names_application and found.application is None and isinstance(provider, ApplicationProvider):
        raise provider.unknown_application()


def ready_application(
    account: Account, found: CarrierNumber, provider: Provider, *, is_new: bool, operation_id: str, deadline: Deadline
) -> str:
    """The id of the application to link a number to: found, pointed at us, or made, under the account's lease.

    Args:
        account: its row; refreshed here.
        found: what the carrier said before the row's lease was held.
        is_new: this operation made the row, so nobody can have changed the application since the carrier was asked.

    Returns an empty id for a carrier without applications. Raises IntegrationError, LineBusy, Account.DoesNotExist.
    """
    if not isinstance(provider, ApplicationProvider):
        return ""
    urls, asked_for = urls_for(account), account.application_id
    application = found.application
    account.refresh_from_db()
    if application and account.application_id == application.id and provider.is_ready(application, urls):
        return application.id

    with leases.held(account, operation_id, deadline) as abandoned:
        if account.application_id and account.application_id != asked_for:
            return account.application_id  # made by another operation since we asked
        is_certain = application is not None and application.id == account.application_id
        if not is_certain and (abandoned or not is_new or was_made_by_us(account.integration, application)):
            application = provider.find_application(account.account_id if account.application_is_customers else "")
        if application is None and account.application_is_customers:
            raise provider.unknown_application()
        if application is None:
            # Noted before: there is none with our name now, so whatever has it from now on is of our making.
            account.application_is_made = True
            account.save(update_fields=["application_is_made"])
            application = provider.make_application(urls, found.profile_id)
        elif not provider.is_ready(application, urls):
            if account.application_is_customers and account.application_snapshot is None:
                keep_application_snapshot(account, application)
            provider.point_application(application, urls)
        if account.application_is_made:  # now, or by an add that died before it could note it
            MadeApplication.objects.get_or_create(integration=account.integration, application_id=application.id)
        name_account(account, application)
    return application.id


def keep_application_snapshot(account: Account, application: Application) -> None:
    """Remember what a customer's application is like before we change it."""
    snapshot = Secret.seal(json.dumps(application.settings))
    Account.objects.filter(pk=account.pk).update(application_snapshot=snapshot)


def was_made_by_us(integration: str, application: Application | None) -> bool:
    """Whether an application is one that we made, perhaps for an account row that is gone by now."""
    made = MadeApplication.objects.filter(integration=integration)
    return application is not None and made.filter(application_id=application.id).exists()


def name_account(account: Account, application: Application) -> None:
    """Note the application, and for Telnyx that its id is the account's, too."""
    account.application_id = application.id
    if account.integration == "telnyx" and not account.application_is_customers:
        account.account_id = application.id
    try:
        with transaction.atomic():
            account.save(update_fields=["application_id", "account_id"])
    except IntegrityError:
        # The same Telnyx account under another API key: the next try finds the application, and its account, by name.
        raise WebhookSetupFailed("The webhooks of this account are being set up right now. Try again.") from None


def adopt_credentials(account: Account, credentials: Credentials, found_public_key: str) -> None:
    """After a successful add: the token just proved is the current one; the one before stays for its webhooks."""
    changes: dict[str, object] = {}
    if account.token_digest != credentials.digest:
        changes |= {
            "previous_auth_token": account.auth_token,
            "auth_token": Secret.seal(credentials.auth_token),
            "token_digest": credentials.digest,
            "rotated_at": timezone.now(),
        }
    elif not account.auth_token.is_readable():  # its key is lost, and here it is again
        changes["auth_token"] = Secret.seal(credentials.auth_token)
    public_key = credentials.public_key or (found_public_key if not account.public_key else "")
    if public_key and public_key != account.public_key:
        changes["public_key"] = public_key
    if changes:
        Account.objects.filter(pk=account.pk, token_digest=account.token_digest).update(**changes)


def end_rotation(phone: PhoneNumber) -> None:
    """The account has the token that this number was added with; the number need not keep it any more."""
    PhoneNumber.objects.filter(pk=phone.pk, state=PhoneNumber.State.ACTIVE).update(operation=None, lease_until=None)


def release_account(account: Account, operation_id: str, provider: Provider) -> None:
    """When no line uses an account any more: undo what we made there and delete the row.

    An add that begins meanwhile inserts its line first and then writes `used_by`; here `used_by` is read first and then
    the lines. One of the two therefore sees the other, whatever the order.

    Raises IntegrationError when the carrier cannot be asked, LineBusy when somebody else has the account's lease; the
    row stays and `reconcile` tries again.
    """
    try:
        with leases.held(account, operation_id, provider.deadline):
            mine = Account.objects.filter(pk=account.pk, used_by=account.used_by)
            if account.lines.exists() or not mine.update(used_by=operation_id) or account.lines.exists():
                return
            if not drop_application(account, operation_id, provider) or has_history(account):
                return
            leases.delete_as_described(Account.objects.filter(pk=account.pk, used_by=operation_id))
    except Account.DoesNotExist:
        return


def drop_application(account: Account, operation_id: str, provider: Provider) -> bool:
    """Delete the application that we made, or put a customer's back as it was. Says no if the account is in use again.

    The id is cleared first, and only while nobody else has written `used_by`: whoever comes later finds none, and waits
    for the account's lease to look for itself.
    """
    application_id = account.application_id
    if not Account.objects.filter(pk=account.pk, used_by=operation_id).update(application_id=""):
        return False
    if not isinstance(provider, ApplicationProvider):
        return True
    if account.application_is_customers and account.application_snapshot:
        snapshot = json.loads(account.application_snapshot.open())
        provider.restore_application(account.account_id, snapshot, urls_for(account))
    if account.application_is_made:
        if not application_id:
            # An add that died between making it and noting its id left one that only its name tells.
            found = provider.find_application()
            application_id = found.id if found else ""
        same = Account.objects.filter(integration=account.integration, application_id=application_id or None)
        if not same.exclude(pk=account.pk).exists():
            provider.delete_application(application_id)
    nothing_left = {"application_is_made": False, "application_snapshot": None}
    Account.objects.filter(pk=account.pk, used_by=operation_id).update(**nothing_left)
    return True


def is_released(account: Account) -> bool:
    """Whether an account without lines is kept for its calls alone, with nothing of ours left at the carrier."""
    at_carrier = account.application_is_made or account.application_snapshot
    return not at_carrier and has_history(account)


def has_history(account: Account) -> bool:
    """Whether there are calls for which the row must stay."""
    return account.events.exists() or account.calls.exists()
