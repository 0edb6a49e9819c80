"""When no line uses an account any more: what we made for it at the carrier goes, then its secrets and its row.

An add takes the lease of its line, then calls mark_used(). release_account() reads `used_by`, then the lines, and
continues only while `used_by` is unchanged. Whatever the interleaving, one of the two sees the other: the release
stops, or the add finds the account gone and verifies again.
"""

import json
from copy import copy
from dataclasses import replace
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Q

from core import clock
from core.secrets import Secret
from integrations import CARRIERS
from integrations.applications import Applications
from integrations.base import Provider
from phones.models import Account, Line, PhoneNumber, new_webhook_token
from phones.services import leases
from phones.services.carriers import urls_for

# Instead of the digest of a token that is not kept any more.
ERASED = "erased"
# How often we look whether an application of ours that other numbers are linked to is free.
APPLICATION_PAUSE = timedelta(hours=1)


def mark_used(account: Account, lease_id: str) -> bool:
    """Stop a release of the account. Call this with the lease of the line. Returns False if the account is gone."""
    return bool(Account.objects.filter(pk=account.pk).update(used_by=lease_id, released_at=None))


def is_used(account: Account) -> bool:
    """Whether a line of the account sends us calls, or an operation works on one."""
    routed = PhoneNumber.objects.filter(line__account=account, state__in=PhoneNumber.ROUTED)
    return account.lines.exclude(lease_id="").exists() or routed.exists() or is_moved_to(account)


def is_moved_to(account: Account) -> bool:
    """Whether the last operation that relied on the account is not complete: the line of a number that is moved is not
    the account's yet."""
    under_way = PhoneNumber.objects.filter(state__in=PhoneNumber.ROUTED, lease_until__isnull=False)
    return bool(account.used_by) and under_way.filter(lease_id=account.used_by).exists()


def is_routed(line: Line) -> bool:
    """Whether a number on the line is routed to us, or may be."""
    return line.phone_numbers.filter(state__in=PhoneNumber.ROUTED).exists()


def release_account(account: Account, lease_id: str, provider: Provider) -> None:
    """If no line uses the account any more, undo what we set up at the carrier and delete the row, if nothing keeps it.

    Raises IntegrationError if the carrier cannot be asked, LineBusy if another operation holds the account's lease.
    Then `reconcile` tries again.
    """
    try:
        with leases.held(account, lease_id, provider.deadline):
            as_seen = Account.objects.filter(pk=account.pk, used_by=account.used_by)
            if is_used(account) or not as_seen.update(used_by=lease_id) or is_used(account):
                return
            if drop_application(account, lease_id, provider):
                drop_retired_applications(account, provider)
                end_account(account, used_by=lease_id)
    except Account.DoesNotExist:
        return


def drop_application(account: Account, lease_id: str, provider: Provider) -> bool:
    """Delete the application that we created, or restore a customer's. Returns False if the account is in use again.

    The id is cleared first, and only while `used_by` is unchanged: a later add finds no id, waits for the account's
    lease and then looks for the application itself. While a number that we do not have is linked to it, it stays.
    """
    application_id = account.application_id
    ours = Account.objects.filter(pk=account.pk, used_by=lease_id)
    if not ours.update(application_id=""):
        return False
    applications = provider.applications
    if applications is None:
        return True
    try:
        if account.application_is_customers and account.application_snapshot:
            snapshot = json.loads(account.application_snapshot.open())
            applications.restore(account.account_id, snapshot, urls_for(account))
        if account.application_is_made and not delete_application(applications, application_id):
            ours.update(application_id=application_id)
            return True
    except BaseException:
        ours.update(application_id=application_id)
        raise
    # While a request that creates one may still be carried out, the next look must search for it by its name.
    may_appear = account.application_is_made and account.lines.exclude(unsettled_until=None).exists()
    ours.update(application_is_made=may_appear, application_snapshot=None)
    return True


def delete_application(applications: Applications, application_id: str) -> bool:
    """Delete the application that we made. Returns False if a number is linked to it, so that it stays."""
    if not application_id:
        # If an add died after creating it but before storing its id, only its name identifies it.
        found = applications.find()
        application_id = found.id if found else ""
    return applications.delete(application_id)


def drop_retired_applications(account: Account, provider: Provider) -> None:
    """Delete the applications that accounts whose credentials are refused have left at the same real account, once no
    number is linked to them, and put back those of the customer that they had changed.

    Raises IntegrationError.
    """
    if provider.applications is None:
        return
    same = Q(account_id=account.account_id)
    if CARRIERS[account.integration].account_id_is_application:
        same = Q(public_key=account.public_key) & ~Q(public_key="")
    left = Account.objects.filter(same, integration=account.integration, retired_digest=F("token_digest"))
    for retired in left.exclude(retired_digest="").exclude(application_id=""):
        theirs = copy(provider)  # what belongs to an application has its workspace's name
        theirs.site = replace(provider.site, workspace_id=str(retired.workspace_id))
        applications = theirs.applications
        assert applications is not None  # noqa: S101  checked above
        is_gone = True
        if retired.application_is_made:
            is_gone = applications.delete(retired.application_id)
        elif retired.application_snapshot:
            snapshot = json.loads(retired.application_snapshot.open())
            applications.restore(retired.application_id, snapshot, urls_for(retired))
        if is_gone:
            Account.objects.filter(pk=retired.pk, application_id=retired.application_id).update(
                application_id="", application_is_made=False, application_snapshot=None
            )


def is_kept(account: Account) -> bool:
    """Whether something of ours at the carrier, or a row that refers to the account, keeps it."""
    if account.has_something_at_carrier:
        return True
    rows = (account.lines, account.events, account.calls, account.retired_numbers)
    return any(of_account.exists() for of_account in rows) or is_moved_to(account)


def end_account(account: Account, *, used_by: str) -> bool:
    """Delete the row of an account that no line uses, or note since when only its history or its application keeps it.
    Returns whether it was deleted."""
    account.refresh_from_db(fields=["application_is_made", "application_snapshot"])
    ours = Account.objects.filter(pk=account.pk, used_by=used_by)
    if not is_kept(account):
        return leases.delete_matching(ours)
    if not account.lines.exists() and (account.released_at is None or not account.is_retired):
        ours.update(released_at=clock.now())
    return False


def is_due(account: Account) -> bool:
    """Whether something can be done about an account without lines: nothing was tried yet, an application of ours may
    have become free, its history is gone, or its secrets are old enough to be erased."""
    if account.released_at is None:
        return True
    if account.has_something_at_carrier and not account.is_retired:
        return account.released_at < clock.now() - APPLICATION_PAUSE
    window = timedelta(seconds=settings.TOKEN_ROTATION_WINDOW_S)
    may_forget = account.token_digest != ERASED and account.released_at < clock.now() - window
    return may_forget or not is_kept(account)


def end_unused(account: Account) -> bool:
    """Delete the row of an account without lines that has nothing at the carrier, or that the carrier refuses. One that
    is kept for its calls loses its secrets some time after its last number, and its webhook address ends. Returns
    whether something was done."""
    released_at = account.released_at
    if released_at is None or not is_kept(account):
        return end_account(account, used_by=account.used_by)
    unused = Account.objects.filter(pk=account.pk, used_by=account.used_by, released_at=released_at)
    return bool(
        unused.update(
            auth_token=Secret.seal(""),
            token_digest=ERASED,
            retired_digest=ERASED if account.is_retired else "",
            previous_auth_token=None,
            public_key=account.public_key if account.has_something_at_carrier else "",
            signed_at=None,
            webhook_token=new_webhook_token(),
        )
    )
