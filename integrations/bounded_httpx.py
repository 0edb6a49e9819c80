"""For httpx what CarrierAdapter is for requests. Apart from transport.py because importing httpx takes its time."""

from collections.abc import Iterator
from typing import cast

import httpx

from integrations.transport import MAX_ANSWER_BYTES, Deadline


class BoundedTransport(httpx.HTTPTransport):
    """Reads a bounded body in bounded time."""

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
