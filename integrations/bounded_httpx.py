"""The httpx counterpart of CarrierAdapter. Separate from transport.py because httpx is slow to import."""

import ssl
from collections.abc import Iterator
from functools import cache
from typing import cast

import httpx
import requests

from integrations.transport import MAX_ANSWER_BYTES, POOL_SIZE, Deadline, no_cookies, read_environment


@cache
def shared_httpx_client(base_url: str) -> httpx.Client:
    """The client for all requests to Telnyx, shared by all tenants."""
    limits = httpx.Limits(max_connections=2 * POOL_SIZE, max_keepalive_connections=POOL_SIZE)
    environment = read_environment(base_url)
    bundle = environment["verify"]
    transport = BoundedTransport(
        limits=limits,
        proxy=requests.utils.select_proxy(base_url, environment["proxies"]),
        verify=ssl.create_default_context(cafile=bundle) if isinstance(bundle, str) else True,
    )
    return httpx.Client(transport=transport, cookies=no_cookies(), follow_redirects=False)


class BoundedTransport(httpx.HTTPTransport):
    """Limits the size of each response body and the time to read it."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = Deadline(request.extensions["timeout"]["read"])
        response = super().handle_request(request)
        response.stream = BoundedStream(cast(httpx.SyncByteStream, response.stream), deadline)
        return response


class BoundedStream(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, deadline: Deadline) -> None:
        self.stream, self.deadline = stream, deadline

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self.stream:
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise httpx.DecodingError("the answer is too large")
            if not self.deadline.remaining_s():
                raise httpx.ReadTimeout("the answer came too slowly")
            yield chunk

    def close(self) -> None:
        self.stream.close()
