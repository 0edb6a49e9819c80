"""The client's address."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

# Some proxies also write the client's port: https://www.rfc-editor.org/rfc/rfc7239#section-6 (read 2026-11-30)
WITH_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::[0-9]+)?|(?P<v4>[^:]*):[0-9]+")
# A provider assigns each customer at least a /64: https://www.rfc-editor.org/rfc/rfc6177 (read 2026-11-30)
OF_ONE_CLIENT = 64
LONGEST = 45  # characters of an address


def client_address(request: HttpRequest) -> str:
    """The client's address, without a port, as seen by the outermost of our own proxies.

    Each trusted proxy (TRUSTED_PROXY_COUNT) appends the address of its peer to X-Forwarded-For; the client can write
    anything further left, so that part is not trusted.
    """
    direct = str(request.META.get("REMOTE_ADDR", ""))
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    seen = [part.strip() for part in forwarded if part.strip()] + [direct]
    written = seen[-1 - min(settings.TRUSTED_PROXY_COUNT, len(seen) - 1)]
    address = read_address(written)
    return str(address) if address else written[:LONGEST]


def counted_address(request: HttpRequest) -> str:
    """The key for rate limits: the client's address, or its /64 for IPv6, because one client can use the whole /64."""
    text = client_address(request)
    address = read_address(text)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, OF_ONE_CLIENT), strict=False))
    return text


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address with or without a port. Returns None if it is not an address."""
    spelled = WITH_PORT.fullmatch(text)
    try:
        address = ip_address((spelled["v6"] or spelled["v4"]) if spelled else text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
