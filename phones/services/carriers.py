"""From our rows and settings to a provider, and to the addresses that it sets."""

from django.conf import settings

from integrations import provider_class
from integrations.base import Provider
from integrations.transport import Deadline, Timeouts
from integrations.types import Site
from integrations.webhooks import Urls
from phones.models import Account

# 25 s for a whole request: to add, and then, if that failed, to put things back.
ADD_BUDGET_S = 20.0
UNDO_BUDGET_S = 5.0
# To roll back one operation when nobody waits for the reply.
ROLL_BACK_BUDGET_S = 30.0


def connect(integration: str, account_id: str, auth_token: str, deadline: Deadline) -> Provider:
    """A provider that speaks to one account of a carrier. Nothing is sent yet."""
    site = Site(
        public_url=settings.PUBLIC_URL,
        api_url=settings.CARRIER_API_URLS[integration],
        timeouts=Timeouts(settings.CARRIER_CONNECT_TIMEOUT_S, settings.CARRIER_READ_TIMEOUT_S),
    )
    return provider_class(integration)(account_id=account_id, auth_token=auth_token, site=site, deadline=deadline)


def urls_for(account: Account) -> Urls:
    """The addresses that the carrier shall call for this account."""
    base = f"{settings.PUBLIC_URL}/api/webhooks/{account.integration}/{account.webhook_token}"
    return Urls.under(base)
