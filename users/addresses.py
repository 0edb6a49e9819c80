"""Whose request it is."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

# Some proxies write the client's port as well: https://www.rfc-editor.org/rfc/rfc7239#section-6 (read 2026-11-30)
WITH_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::[0-9]+)?|(?P<v4>[^:]*):[0-9]+")
# What one customer of a provider has at least: https://www.rfc-editor.org/rfc/rfc6177 (read 2026-11-30)
OF_ONE_CLIENT = 64
LONGEST = 45  # of an address as text


def client_address(request: HttpRequest) -> str:
    """The client's address, without a port, as the outermost of our own proxies saw it.

    Each trusted proxy (TRUSTED_PROXY_COUNT) appends the address that it was called from to X-Forwarded-For; what stands
    further left was written by the client and is not believed.
    """
    direct = str(request.META.get("REMOTE_ADDR", ""))
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    seen = [part.strip() for part in forwarded if part.strip()] + [direct]
    written = seen[-1 - min(settings.TRUSTED_PROXY_COUNT, len(seen) - 1)]
    address = read_address(written)
    return str(address) if address else written[:LONGEST]


def counted_address(request: HttpRequest) -> str:
    """By what limits count a client: its address, of IPv6 the /64, since one client can use all of these addresses."""
    text = client_address(request)
    address = read_address(text)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, OF_ONE_CLIENT), strict=False))
    return text


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, spelled with or without a port; None for what is none."""
    spelled = WITH_PORT.fullmatch(text)
    try:
        address = ip_address((spelled["v6"] or spelled["v4"]) if spelled else text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
