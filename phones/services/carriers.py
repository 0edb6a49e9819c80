"""Build a provider, and the webhook URLs that it sets, from our rows and settings."""

from django.conf import settings

from integrations import provider_class
from integrations.base import Provider
from integrations.transport import Deadline, Timeouts
from integrations.types import Site
from integrations.webhooks import Urls
from phones.models import Account

# 25 s for a whole request: to add and, if that fails, to roll back.
ADD_BUDGET_S = 20.0
UNDO_BUDGET_S = 5.0
# To roll back an operation while no client waits for the response.
ROLL_BACK_BUDGET_S = 30.0


def connect(integration: str, account_id: str, auth_token: str, deadline: Deadline) -> Provider:
    """Return a provider for a carrier account. Nothing is sent yet."""
    site = Site(
        public_url=settings.PUBLIC_URL,
        api_url=settings.CARRIER_API_URLS[integration],
        timeouts=Timeouts(settings.CARRIER_CONNECT_TIMEOUT_S, settings.CARRIER_READ_TIMEOUT_S),
    )
    return provider_class(integration)(account_id=account_id, auth_token=auth_token, site=site, deadline=deadline)


def urls_for(account: Account) -> Urls:
    """The webhook URLs that the carrier calls for this account."""
    base = f"{settings.PUBLIC_URL}/api/webhooks/{account.integration}/{account.webhook_token}"
    return Urls.under(base)
