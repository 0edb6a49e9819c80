"""Carrier accounts and the applications that their numbers are linked to."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.secrets import CannotOpen, Secret
from integrations import CARRIERS, provider_class
from integrations.applications import Applications
from integrations.base import Provider
from integrations.errors import UnknownApplication, UnusedPublicKey, WrongPublicKey
from integrations.transport import Deadline
from integrations.types import Application, CarrierNumber
from phones.errors import AccountBeingSetUp
from phones.models import Account, Line, MadeApplication, token_digest
from phones.services import leases
from phones.services.carriers import connect, urls_for
from phones.services.rejected_webhooks import align_lines, refusal_reasons
from phones.services.routes import sealed, was_made_by_us

# What a check says of the account's public key (integrations/applications.py, checking.py).
KEY_REASONS = ("signature_key_missing", "signature_key_changed")


@dataclass
class Credentials:
    """The credentials that a workspace's client gave for its carrier account. `account_id` may be empty for Telnyx."""

    workspace_id: str | None
    integration: str
    account_id: str
    auth_token: str = field(repr=False)
    public_key: str = field(default="", repr=False)

    @property
    def digest(self) -> str:
        return token_digest(self.auth_token)

    def fit(self, account: Account) -> bool:
        """Whether they are for this account, as far as its id tells."""
        ours = (self.workspace_id, self.integration) == (account.workspace_id, account.integration)
        return ours and self.account_id in ("", account.account_id)

    @property
    def names_application(self) -> bool:
        """Whether the account id is the id of an application that belongs to the customer."""
        return CARRIERS[self.integration].account_id_is_application and bool(self.account_id)


def connect_with(credentials: Credentials, deadline: Deadline) -> Provider:
    """Return a provider that uses these credentials. Nothing is sent yet."""
    account_id, token = credentials.account_id, credentials.auth_token
    return connect(credentials.integration, account_id, token, deadline, credentials.workspace_id)


def accounts_at_carrier(credentials: Credentials) -> QuerySet[Account]:
    """The workspace's accounts at the carrier that the credentials are for."""
    return Account.objects.filter(workspace=credentials.workspace_id, integration=credentials.integration)


def known_account(credentials: Credentials) -> Account | None:
    """The workspace's row of this account, as far as we can find it before we ask the carrier."""
    accounts = accounts_at_carrier(credentials)
    if credentials.account_id:
        return accounts.filter(account_id=credentials.account_id).first()
    ours = accounts.filter(token_digest=credentials.digest, application_is_customers=False)
    return ours.exclude(account_id=provisional_account_id(credentials)).first() or ours.first()


def provisional_account_id(credentials: Credentials) -> str:
    """The account id of a Telnyx account before it has an application, so that two first adds share one row."""
    return f"new-{credentials.digest[:40]}"


def was_verified(account: Account | None, credentials: Credentials) -> bool:
    """Whether the same credentials were verified before, so that they are not a guess."""
    return account is not None and account.token_digest == credentials.digest


def keep_account(
    credentials: Credentials, found: CarrierNumber, provider: Provider, known: Account | None
) -> tuple[Account, bool]:
    """Find or insert the row of a verified account. Returns it and whether it was inserted now."""
    application = found.application
    # We identify a Telnyx account by its application.
    account_id = credentials.account_id or (application.id if application else provisional_account_id(credentials))
    same_id = accounts_at_carrier(credentials).filter(account_id=account_id)
    # Looked up again, by the credentials first: another add may have inserted it while we asked the carrier.
    while (row := known or known_account(credentials) or same_id.first()) is None:
        new = Account(
            workspace_id=credentials.workspace_id,
            integration=credentials.integration,
            account_id=account_id,
            auth_token=Secret.seal(credentials.auth_token),
            token_digest=credentials.digest,
            public_key=found.public_key or credentials.public_key,
            application_is_customers=is_customers(credentials, application, provider),
        )
        try:
            with transaction.atomic():
                new.save(force_insert=True)
        except IntegrityError:
            continue
        named = known_account(credentials)
        if named and named.pk != new.pk:
            # Between the two statements, the existing row got its application's id. Nothing uses the new row yet.
            new.delete()
            return named, False
        return new, True
    return row, False


def is_customers(credentials: Credentials, application: Application | None, provider: Provider) -> bool:
    """Whether the application belongs to the customer: the client named it, and it is not the one that we created."""
    ours = application is not None and provider.site.is_ours(application.name)
    return credentials.names_application and not ours


def check_public_key(
    credentials: Credentials, found: CarrierNumber, account: Account | None, provider: Provider
) -> None:
    """Raise WrongPublicKey or UnusedPublicKey if the key that the client gave is not the carrier's.

    If the carrier does not report its key, the key that verified a webhook of the account counts as the carrier's.
    """
    given = credentials.public_key
    if not given or not provider.signs_with_public_key:
        return
    if found.public_key and given != found.public_key:
        raise WrongPublicKey(provider.carrier)
    if not found.public_key and account and account.signed_at and given != account.public_key:
        raise UnusedPublicKey(provider.carrier)


def renew_public_key(account: Account, public_key: str, provider: Provider) -> None:
    """Store the account's webhook key as staff have read it in the carrier's console, because it was renewed there.

    If the carrier reports a key, it must be this one. Otherwise, it replaces a key that has verified webhooks only if
    webhooks are rejected now.

    Raises WrongPublicKey, UnusedPublicKey. Asks the carrier once.
    """
    reported = provider.read_public_key()
    if reported and public_key != reported:
        raise WrongPublicKey(provider.carrier)
    if not reported and account.signed_at and public_key != account.public_key and not refusal_reasons(account):
        raise UnusedPublicKey(provider.carrier)
    keep_public_key(account, reported=public_key)
    if not reported:  # as one that has verified webhooks, so that an add with the previous one does not replace it
        Account.objects.filter(pk=account.pk, signed_at=None).update(signed_at=timezone.now())


def check_named_application(credentials: Credentials, found: CarrierNumber, provider: Provider) -> None:
    """Raise UnknownApplication if the application that the client named does not exist."""
    if credentials.names_application and found.application is None:
        raise UnknownApplication(provider.carrier)


def ready_application(
    account: Account, found: CarrierNumber, provider: Provider, *, is_new: bool, lease_id: str, deadline: Deadline
) -> str:
    """Make sure that the account has an application whose webhook URLs are ours, under the account's lease.

    Args:
        account: the row object is refreshed.
        found: what the carrier reported before we held the lease.
        is_new: this operation inserted the row, so nobody can have changed the application since we asked the carrier.

    Returns the id of the application to link a number to; empty for a carrier without applications.
    Raises IntegrationError, LineBusy, Account.DoesNotExist.
    """
    applications = provider.applications
    if applications is None:
        return ""
    urls, asked_for = urls_for(account), account.application_id
    application = found.application
    account.refresh_from_db()
    if application and account.application_id == application.id and not applications.compare(application, urls):
        return application.id

    with leases.held(account, lease_id, deadline) as abandoned:
        if account.application_id and account.application_id != asked_for:
            return account.application_id  # created by another operation since we asked
        found_id = application.id if application else ""
        is_certain = bool(found_id) and found_id == account.application_id
        if not is_certain and (abandoned or not is_new or was_made_by_us(account.integration, found_id)):
            application = applications.find(account.account_id if account.application_is_customers else "")
        if application is None and account.application_is_customers:
            raise UnknownApplication(provider.carrier)
        if application is None:
            # Noted before the request: no application has our name now, so one that has it later is ours.
            account.application_is_made = True
            account.save(update_fields=["application_is_made"])
            application = applications.make(urls, found.profile_id)
        elif applications.compare(application, urls):
            if account.application_is_customers and account.application_snapshot is None:
                keep_application_snapshot(account, application, applications)
            applications.point(application, urls)
        if account.application_is_made:  # now, or by an add whose process died before it noted the id
            MadeApplication.objects.get_or_create(integration=account.integration, application_id=application.id)
        name_account(account, application, provider)
    return application.id


def keep_application_snapshot(account: Account, application: Application, applications: Applications) -> None:
    """Store the settings of a customer's application before we change them. If another account of ours has changed them
    already, what it has stored is the customer's: also one that has cleared its application's id and could not restore
    it yet. It was named by the account's id."""
    earlier = Account.objects.filter(integration=account.integration, account_id=application.id)
    earlier = earlier.exclude(pk=account.pk).exclude(application_snapshot=None)
    changed = (row.application_snapshot for row in earlier if not applications.compare(application, urls_for(row)))
    snapshot = next(changed, None) or sealed(application.settings)
    Account.objects.filter(pk=account.pk).update(application_snapshot=snapshot)


def name_account(account: Account, application: Application, provider: Provider) -> None:
    """Store the application's id, also as the account's id if the carrier identifies accounts by it."""
    account.application_id = application.id
    if CARRIERS[account.integration].account_id_is_application and not account.application_is_customers:
        account.account_id = application.id
    try:
        with transaction.atomic():
            account.save(update_fields=["application_id", "account_id"])
    except IntegrityError:
        # The same account under another API key: the next attempt finds the application by name, and so the account.
        raise AccountBeingSetUp(provider.carrier) from None


def adopt_credentials(account: Account, credentials: Credentials, found_public_key: str) -> None:
    """Make the token just verified the account's current one, and store the public key that the carrier reported. The
    previous token stays valid for webhooks."""
    is_new = account.token_digest != credentials.digest or not account.auth_token.is_readable() or account.is_retired
    while is_new and not adopt_token(account, credentials):
        pass  # meanwhile, a webhook or another add has changed what the update depends on
    if provider_class(account.integration).signs_with_public_key:
        keep_public_key(account, reported=found_public_key, given=credentials.public_key)
    if is_new:
        align_lines(account)


def adopt_token(account: Account, credentials: Credentials) -> bool:
    """Make this the account's current token. Returns False if the fields that this depends on changed meanwhile."""
    account.refresh_from_db(
        fields=[
            "auth_token",
            "previous_auth_token",
            "token_digest",
            "retired_digest",
            "signed_at",
            "public_key",
        ]
    )
    changes: dict[str, object] = {"retired_digest": ""} if account.is_retired else {}
    if account.token_digest != credentials.digest:
        changes |= {
            "previous_auth_token": token_before(account, credentials),
            "auth_token": Secret.seal(credentials.auth_token),
            "token_digest": credentials.digest,
            "rotated_at": timezone.now(),
            "refused_count": 0,
        }
        if not provider_class(account.integration).signs_with_public_key:
            changes["signed_at"] = signed_before(account, credentials)
    elif not account.auth_token.is_readable():  # its encryption key is lost, but the client has sent the token again
        changes["auth_token"] = Secret.seal(credentials.auth_token)
    as_seen = Account.objects.filter(pk=account.pk, token_digest=account.token_digest, signed_at=account.signed_at)
    return not changes or bool(as_seen.update(**changes))


def token_before(account: Account, credentials: Credentials) -> Secret:
    """The previous token to keep: the one that the carrier may still sign webhooks with.

    A token may work for the carrier's API but sign nothing, as Twilio's secondary token does. A token that has signed
    nothing does not replace the one before it.
    """
    before = account.previous_auth_token
    if account.signed_at or before is None or not before.is_readable() or is_previous(account, credentials):
        return account.auth_token
    return before


def signed_before(account: Account, credentials: Credentials) -> datetime | None:
    """When the new token first signed: now if it is the previous one, kept because the current one signed nothing."""
    return timezone.now() if account.signed_at is None and is_previous(account, credentials) else None


def is_previous(account: Account, credentials: Credentials) -> bool:
    """Whether these credentials are the previous ones, which are kept for webhooks."""
    before = account.previous_auth_token
    return bool(before and before.is_readable() and token_digest(before.open()) == credentials.digest)


def may_still_sign(account: Account) -> bool:
    """Whether webhooks may be signed with the previous token: until TOKEN_ROTATION_WINDOW_S seconds after the first
    webhook that the current one signed, because the carrier decides when it switches."""
    if account.previous_auth_token is None:
        return False
    window = timedelta(seconds=settings.TOKEN_ROTATION_WINDOW_S)
    return account.signed_at is None or account.signed_at > timezone.now() - window


def keep_public_key(account: Account, *, reported: str, given: str = "") -> None:
    """Store the account's webhook key.

    Args:
        reported: the key that the carrier reported, or empty.
        given: the key that the client gave, or empty. Stored only if the carrier reported none and no webhook has been
            verified with the current key.
    """
    key = reported or given
    if not key or key == account.public_key:
        return
    rows = Account.objects.filter(pk=account.pk).exclude(public_key=key)
    if not reported:
        rows = rows.filter(signed_at=None)
    if rows.update(public_key=key, signed_at=None, refused_count=0):
        forget_key_reasons(account)
        align_lines(account)


def forget_key_reasons(account: Account) -> None:
    """Take from the account's lines what their last checks said of its key, because it has another one now."""
    for line in Line.objects.filter(account_id=account.pk).exclude(reasons=None).only("reasons", "checked_at"):
        with suppress(CannotOpen):
            found = json.loads(line.reasons.open()) if line.reasons else []
            left = [one for one in found if one["reason"] not in KEY_REASONS]
            if left != found:
                reasons = Secret.seal(json.dumps(left)) if left else None
                Line.objects.filter(pk=line.pk, checked_at=line.checked_at).update(reasons=reasons)
