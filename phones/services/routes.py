"""Who owns a number's route at its carrier: we or the customer.

A line's snapshot is restored when the number is removed, so it must never contain our own route. An add may find:

- The number is routed nowhere, or anywhere not named below. The route is the customer's, and it is the snapshot.
- It is routed to our URLs, or linked to the account's application or to any application that we ever created. The route
  is ours, and the snapshot is blank if the route is unchanged under the line's lease.
- It is linked to an application that a customer named, for this account or another one. The route may be the customer's
  or ours, and the snapshot is what we read under the line's lease.

If we find our own route but have no line, either an add was rolled back since we asked the carrier, or an installation
has lost its database. docs/decisions/0002 says why the route is read again under the line's lease.
"""

import json

from core.secrets import Secret
from integrations.base import Provider
from integrations.types import CarrierNumber, Route, Settings
from integrations.webhooks import WEBHOOKS_PATH
from phones.models import Account, Line, MadeApplication


def is_ours(account: Account, found: CarrierNumber) -> bool:
    """Whether the route is ours, or was ours while one of our adds was in progress."""
    linked = found.settings.get("application_id", "")
    if linked and account.application_is_customers and linked == account.application_id:
        return True  # by the customer or by us
    return found.route is Route.OURS or leads_to_us(account.integration, found)


def leads_to_us(integration: str, found: CarrierNumber) -> bool:
    """Whether the number is linked to an application whose calls come to us, whichever workspace's."""
    linked = found.settings.get("application_id", "")
    if not linked:
        return False
    accounts = Account.objects.filter(integration=integration, application_id=linked)
    return was_made_by_us(integration, linked) or accounts.exists()


def was_made_by_us(integration: str, application_id: str) -> bool:
    """Whether we created this application, even if its account row has been deleted since."""
    made = MadeApplication.objects.filter(integration=integration, application_id=application_id)
    return bool(application_id) and made.exists()


def account_routed_to(integration: str, settings: Settings) -> Account | None:
    """The account of ours, whichever workspace's, to which a number with these settings is routed."""
    accounts = Account.objects.filter(integration=integration)
    linked = settings.get("application_id", "")
    if linked:
        return accounts.filter(application_id=linked).first()
    _, mark, path = settings.get("voice_url", "").partition(f"{WEBHOOKS_PATH}{integration}/")
    return accounts.filter(webhook_token=path.partition("/")[0]).first() if mark else None


def is_customers_application(integration: str, application_id: str) -> bool:
    """Whether some workspace named this application as its own."""
    named = Account.objects.filter(
        integration=integration, application_id=application_id, application_is_customers=True
    )
    return bool(application_id) and named.exists()


def customers_settings(line: Line, account: Account, provider: Provider, found: CarrierNumber) -> Settings:
    """Return the settings to restore later, for a number whose route was ours at the first read. Call this under the
    line's lease, so that no other operation changes the route. Raises IntegrationError."""
    settings = provider.read(line.carrier_id)
    is_customers = is_customers_application(account.integration, settings.get("application_id", ""))
    still_ours = settings == found.settings and not is_customers
    return provider.blank if still_ours and not account.application_is_customers else settings


def sealed(settings: Settings) -> Secret:
    """Seal settings for storage, because the customer's URLs may contain the customer's secrets."""
    return Secret.seal(json.dumps(settings))
