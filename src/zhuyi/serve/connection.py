"""uvicorn's connections, with limits on the size and the duration of a request's headers.

uvicorn waits for the headers without a time limit, and httptools, which parses them, stores them without a size limit.
So a client could keep its connection open with a byte now and then (Slowloris), or fill the memory.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536
"""Most bytes of the headers, or of the trailers after a chunked body, unless they arrive at once. More close the
connection."""
OPEN = "connections"
"""The key in the state of a request for the number of open connections, its own included."""


class Connection(HttpToolsProtocol):
    """A connection that is closed if the headers of a request are too long, or do not arrive in time.

    The time limit is uvicorn's setting `timeout_keep_alive`. It starts when the connection is opened, or when the
    previous response is complete, and ends with the headers. In uvicorn's own connections their first byte ends it.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._size = 0  # bytes since the last headers, or the last part of a body
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._late.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Data have arrived."""
        self._size += len(data)
        super().data_received(data)
        if self._size > HEAD_BYTES:
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The headers of a request are complete."""
        self._size = 0
        self._late.cancel()
        self.scope["state"][OPEN] = len(self.connections)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body has arrived."""
        self._size = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """The response to a request is complete."""
        super().on_response_complete()
        if self.cycle.response_complete:  # otherwise another request is already being processed (pipelining)
            self._await_head()

    def _await_head(self) -> None:
        self._late = self.loop.call_later(self.timeout_keep_alive, self.transport.close)
