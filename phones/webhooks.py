"""The carriers' door: they ask how to answer a call, and report what happened to it."""

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from core.quiet import Quiet
from core.secrets import CannotOpen
from integrations import PROVIDERS, provider_class
from integrations.errors import BadSignature
from integrations.webhooks import KINDS, Webhook, digest
from phones.models import Account
from phones.services.accounts import may_still_sign
from phones.services.answering import answer_call, go_on
from phones.services.calls import record_event
from phones.services.carriers import urls_for
from phones.services.metrics import count_webhook
from phones.services.rejected_webhooks import count_refused, note_accepted, note_refused
from users.limits import LimitReached

# The columns of an account that a webhook needs; the others are not read.
NEEDED = (
    "workspace", "integration", "webhook_token", "auth_token", "previous_auth_token", "token_digest", "public_key",
    "signed_at", "refused_at", "refused_webhooks", "refused_count",
)  # fmt: skip

log = logging.getLogger(__name__)

# Anybody can make up a URL.
quiet = Quiet(["unknown"])


class UnknownUrl(Exception):
    """A webhook at a URL that no account has."""


@csrf_exempt
def webhook(request: HttpRequest, integration: str, token: str, kind: str) -> HttpResponse:
    """Handle a carrier's request. Returns 200 once the event is stored, with a document if the carrier expects one.

    A request that the carrier did not sign gets an empty 403; the reason is only in the log. If the event cannot be
    stored, or the account has sent too many, the response is an empty 503: the carrier retries or calls the fallback
    URL, or `reconcile` asks the carrier for the call.
    """
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    try:
        response = receive(request, integration, token, kind)
        count_webhook(integration, "kept")
        return response
    except UnknownUrl as refusal:
        count_webhook(integration, "refused")
        if (unlogged := quiet.turn("unknown")) is not None:
            log.warning("Webhook refused: %s; %s more since the last such line", refusal, unlogged)
        return HttpResponse(status=403)
    except (BadSignature, UnreadablePostError) as refusal:
        count_webhook(integration, "refused")
        log.warning("Webhook refused: %s %s: %s", integration, kind, refusal)
        return HttpResponse(status=403)
    except LimitReached as refusal:
        count_webhook(integration, "throttled")
        log.warning("Webhook not stored: %s %s: the account has sent more than LIMIT_EVENTS", integration, kind)
        return HttpResponse(status=503, headers=refusal.headers)
    except Exception as error:  # the database, a lost key; if Django logged it, the secret in the URL would show
        count_webhook(integration, "failed")
        log.error("Webhook not stored: %s %s", integration, kind, exc_info=error)
        return HttpResponse(status=503)


def receive(request: HttpRequest, integration: str, token: str, kind: str) -> HttpResponse:
    if integration not in PROVIDERS or kind not in KINDS:
        raise UnknownUrl("no such URL")
    accounts = Account.objects.filter(webhook_token=token, integration=integration).only(*NEEDED)
    account = next(iter(accounts), None)
    if account is None:
        raise UnknownUrl(f"{integration} {kind}: no account has this token")
    try:
        return receive_for(account, kind, request)
    except BadSignature as refusal:
        note_refused(account, kind, refusal)
        raise


def receive_for(account: Account, kind: str, request: HttpRequest) -> HttpResponse:
    signed = Webhook(url_of(request, account, kind), request.headers, request.body)
    try:
        key, by_present = check_signature(account, signed)
    except BadSignature:
        count_refused(account)
        raise
    try:
        body = signed.body.decode()
        said = record_event(account, kind, body, digest(f"{account.pk} {key}".encode()))
    except ValueError:
        raise BadSignature("the body cannot be read") from None
    note_accepted(account, by_present=by_present)
    match kind:
        case "answer" | "fallback":
            return document(answer_call(account, said.call, is_second_try=kind == "fallback"))
        case "done":
            return document(go_on(account, said.call))
    return HttpResponse()


def url_of(request: HttpRequest, account: Account, kind: str) -> str:
    """The URL that we gave the carrier, whatever the request's Host header says, with the query as received."""
    query = request.META.get("QUERY_STRING", "")
    return getattr(urls_for(account), kind) + (f"?{query}" if query else "")


def check_signature(account: Account, signed: Webhook) -> tuple[str, bool]:
    """Verify the signature, if need be with the previous auth token.

    Returns a digest of what the carrier signed, and whether the account's current token or public key verified it.
    Raises BadSignature; CannotOpen if the encryption key of the token is missing.
    """
    provider: Any = provider_class(account.integration)
    if provider.signs_with_public_key:
        key = provider.check_signature(signed, auth_tokens=(), public_key=account.public_key)
        return key, bool(account.public_key)
    try:
        return provider.check_signature(signed, auth_tokens=[account.auth_token.open()], public_key=""), True
    except BadSignature as refusal:
        if not may_still_sign(account):
            raise
        try:
            before = account.previous_auth_token.open()  # type: ignore[union-attr]
        except CannotOpen:
            raise refusal from None
    return provider.check_signature(signed, auth_tokens=[before], public_key=""), False


def document(xml: str) -> HttpResponse:
    return HttpResponse(xml, content_type="text/xml; charset=utf-8")
