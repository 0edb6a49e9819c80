"""Who owns a number's route at its carrier: we or the customer.

A line's snapshot is restored when the number is removed, so it must never contain our own route. An add may find:

- The number is routed nowhere, or anywhere not named below. The route is the customer's, and it is the snapshot.
- It is routed to our URLs, or linked to the account's application or to any application that we ever created. The route
  is ours, and the snapshot is blank if the route is unchanged under the line's lease.
- It is linked to the application that the customer named for this account. The route may be the customer's or ours, and
  the snapshot is what we read under the line's lease.

If we find our own route but have no line, either an add was rolled back since we asked the carrier, or an installation
has lost its database. docs/decisions/0002 says why the route is read again under the line's lease.
"""

import json

from core.secrets import Secret
from integrations.base import Provider
from integrations.types import CarrierNumber, Route, Settings
from phones.models import Account, Line, MadeApplication


def is_ours(account: Account, found: CarrierNumber) -> bool:
    """Whether the route is ours, or was ours while one of our adds was in progress."""
    linked = found.settings.get("application_id", "")
    if linked and account.application_is_customers and linked == account.application_id:
        return True  # by the customer or by us
    if found.route is Route.ELSEWHERE:
        return was_made_by_us(account.integration, linked)
    return found.route is Route.OURS


def was_made_by_us(integration: str, application_id: str) -> bool:
    """Whether we created this application, even if its account row has been deleted since."""
    made = MadeApplication.objects.filter(integration=integration, application_id=application_id)
    return bool(application_id) and made.exists()


def customers_settings(line: Line, provider: Provider, found: CarrierNumber) -> Settings:
    """Return the settings to restore later, for a number whose route was ours at the first read. Call this under the
    line's lease, so that no other operation changes the route. Raises IntegrationError."""
    settings = provider.read(line.carrier_id)
    still_ours = settings == found.settings and not line.account.application_is_customers
    return provider.blank if still_ours else settings


def sealed(settings: Settings) -> Secret:
    """Seal settings for storage, because the customer's URLs may contain the customer's secrets."""
    return Secret.seal(json.dumps(settings))
