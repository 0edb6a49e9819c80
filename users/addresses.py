"""The client's address."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

# Some proxies also write the client's port: https://www.rfc-editor.org/rfc/rfc7239#section-6 (read 2026-11-30)
WITH_PORT = re.compile(r"\[(?P<v6>[^\]]+)\](?::[0-9]+)?|(?P<v4>[^:]*):[0-9]+")
# A provider assigns each customer at least a /64: https://www.rfc-editor.org/rfc/rfc6177 (read 2026-11-30)
OF_ONE_CLIENT = 64


def client_address(request: HttpRequest) -> str:
    """The client's address, without a port, as seen by the outermost of our own proxies.

    Each trusted proxy (TRUSTED_PROXY_COUNT) appends the address of its peer to X-Forwarded-For; the client can write
    anything further left, so that part is not trusted. Where a proxy wrote no address (nothing, `unknown`, `_hidden`),
    the client counts as that proxy. Empty if the proxy is connected through a UNIX socket, which has no address.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR")
    seen = [*(forwarded.split(",") if forwarded else []), str(request.META.get("REMOTE_ADDR", ""))]
    trusted = map(read_address, seen[-1 - settings.TRUSTED_PROXY_COUNT :])
    return next((str(address) for address in trusted if address), "")


def counted_address(request: HttpRequest) -> str:
    """The key for rate limits: the client's address, or its /64 for IPv6, because one client can use the whole /64."""
    text = client_address(request)
    address = read_address(text)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, OF_ONE_CLIENT), strict=False))
    return text


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address with or without a port and a zone. Returns None if it is not an address."""
    spelled = WITH_PORT.fullmatch(text.strip())
    bare = (spelled["v6"] or spelled["v4"]) if spelled else text.strip()
    try:
        # The zone names one of the proxy's own interfaces: https://www.rfc-editor.org/rfc/rfc4007#section-11
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
