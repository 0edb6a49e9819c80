"""Whose request it is."""

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The client's address as the outermost of our own proxies saw it.

    Each trusted proxy (TRUSTED_PROXY_COUNT) appends the address that it was called from to X-Forwarded-For; what stands
    further left was written by the client and is not believed.
    """
    direct = str(request.META.get("REMOTE_ADDR", ""))
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    seen = [part.strip() for part in forwarded if part.strip()] + [direct]
    return seen[-1 - min(settings.TRUSTED_PROXY_COUNT, len(seen) - 1)]
