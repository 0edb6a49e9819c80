"""Whose route a number has at its carrier: ours, or the customer's.

A line's snapshot is what the customer gets back one day, so it must never hold a route of ours. What an add may see:

- The number is routed nowhere, or to anything that is not named below: the customer's. That is the snapshot.
- It is routed to addresses of ours, or linked to the account's application, or to an application that we made once for
  any account: ours. The snapshot is blank if that is still so under the line's lease.
- It is linked to the application that the customer named for this account: the customer's or ours. The snapshot is what
  is there under the line's lease.

A route of ours without a line of ours was left by an add that was rolled back since the carrier was asked, or by an
installation whose database is lost. docs/decisions/0002 says why the line's lease is held when it is read again.
"""

import json

from core.secrets import Secret
from integrations.base import Provider
from integrations.types import CarrierNumber, Route, Settings
from phones.models import Account, Line, MadeApplication


def is_ours(account: Account, found: CarrierNumber) -> bool:
    """Whether the route that was seen is ours, or was while an add of ours was under way."""
    linked = found.settings.get("application_id", "")
    if linked and account.application_is_customers and linked == account.application_id:
        return True  # linked by the customer or by us
    if found.route is Route.ELSEWHERE:
        return was_made_by_us(account.integration, linked)
    return found.route is Route.OURS


def was_made_by_us(integration: str, application_id: str) -> bool:
    """Whether an application is one that we made, perhaps for an account row that is gone by now."""
    made = MadeApplication.objects.filter(integration=integration, application_id=application_id)
    return bool(application_id) and made.exists()


def customers_settings(line: Line, provider: Provider, found: CarrierNumber) -> Settings:
    """What the customer gets back of a number whose route was ours when it was seen. The line's lease is held, so what
    is there at this moment is what stays. Raises IntegrationError."""
    settings = provider.read(line.carrier_id)
    still_ours = settings == found.settings and not line.account.application_is_customers
    return provider.blank if still_ours else settings


def sealed(settings: Settings) -> Secret:
    """Settings as they are stored: a customer's addresses may hold secrets of the customer's."""
    return Secret.seal(json.dumps(settings))
