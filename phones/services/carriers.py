"""Build a provider, and the webhook URLs that it sets, from our rows and settings."""

from django.conf import settings

from core.waiting import give_back_connection
from integrations import CARRIERS, provider_class
from integrations.base import Provider
from integrations.errors import InvalidCredentials
from integrations.transport import Deadline, Timeouts
from integrations.types import Site
from integrations.webhooks import Urls
from phones.models import Account

# 25 s for a whole request: to add and, if that fails, to roll back.
ADD_BUDGET_S = 20.0
UNDO_BUDGET_S = 5.0
# To roll back an operation while no client waits for the response.
ROLL_BACK_BUDGET_S = 30.0


def connect(
    integration: str, account_id: str, auth_token: str, deadline: Deadline, workspace_id: str | None
) -> Provider:
    """Return a provider for a workspace's account at a carrier. Nothing is sent yet."""
    site = Site(
        public_url=settings.PUBLIC_URL,
        workspace_id=workspace_id or "",
        api_url=settings.CARRIER_API_URLS[integration],
        timeouts=Timeouts(settings.CARRIER_CONNECT_TIMEOUT_S, settings.CARRIER_READ_TIMEOUT_S),
        before_waiting=give_back_connection,
    )
    return provider_class(integration)(account_id=account_id, auth_token=auth_token, site=site, deadline=deadline)


def connect_as(account: Account, auth_token: str, deadline: Deadline) -> Provider:
    """Return a provider for the account with this token. Nothing is sent yet."""
    return connect(account.integration, account.account_id, auth_token, deadline, account.workspace_id)


def connect_stored(account: Account, deadline: Deadline) -> Provider:
    """Return a provider for the account with its stored token. Nothing is sent yet.

    Raises CannotOpen, and InvalidCredentials if the carrier is known to refuse the token.
    """
    if account.is_retired:
        raise InvalidCredentials(CARRIERS[account.integration], "refused before")
    return connect_as(account, account.auth_token.open(), deadline)


def urls_for(account: Account) -> Urls:
    """The webhook URLs that the carrier calls for this account."""
    base = f"{settings.PUBLIC_URL}/api/webhooks/{account.integration}/{account.webhook_token}"
    return Urls.under(base)
