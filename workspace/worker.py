"""What of gunicorn is ours: a worker in which no client keeps a thread by sending slowly, and our log format."""

import time
from errno import ECONNRESET

from django.conf import settings
from gunicorn import glogging
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers import gthread

# Until then a client that has sent nothing has a thread; afterwards it waits in the poller, which costs nothing.
FIRST_BYTE_S = 0.1
# What has come gives more time: a large file over a slow line is in order, a byte a second is not.
LEAST_BYTES_PER_S = 4096


class TimedUnreader(SocketUnreader):
    """What the parser reads requests from. A client that is too slow counts as one that is gone."""

    def begin_request(self) -> None:
        self.until = time.monotonic() + settings.REQUEST_READ_TIMEOUT_S

    def chunk(self, size_hint: int | None = None) -> bytes:
        left_s, given_s = max(0.001, self.until - time.monotonic()), self.sock.gettimeout()
        self.sock.settimeout(left_s if given_s is None else min(left_s, given_s))
        try:
            data = super().chunk(size_hint)
        except TimeoutError:
            # Not an end of the data: where the next request begins would be unknown, and it would be read as one.
            raise ConnectionResetError(ECONNRESET, "the request came too slowly") from None
        finally:
            self.sock.settimeout(given_s)
        self.until += len(data) / LEAST_BYTES_PER_S
        return data


class Worker(gthread.ThreadWorker):
    def handle(self, conn: gthread.TConn) -> object:
        """In a thread: read and answer one request. Returns whether the connection stays open."""
        if not conn.initialized:
            if not conn.wait_for_data(FIRST_BYTE_S):
                return gthread._DEFER
            conn.init()
            conn.parser.unreader = TimedUnreader(conn.sock)
        conn.parser.unreader.begin_request()
        return super().handle(conn)


class Logger(glogging.Logger):
    """gunicorn's own lines go where all others go: through our formats, redacted."""

    def setup(self, cfg: object) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
