"""Connections to clients: uvicorn's, with bounds of the head of a request.

uvicorn waits for a head as long as the client likes, and httptools, which parses it, keeps as much of it as comes. So a
client could hold its connection with a byte now and then (Slowloris), and fill the memory.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536
"""Of a head, or of the fields behind a body in chunks, unless they come at once. More closes the connection."""
OPEN = "connections"
"""In the state of a request: how many connections are open, its own included."""


class Connection(HttpToolsProtocol):
    """A connection that is closed if the head of a request is too long, or not there in time.

    The time is uvicorn's setting `timeout_keep_alive`, from the opening of the connection, or the answer before, to the
    end of the head; in uvicorn's own connections the first byte of a further head ends it.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._size = 0  # bytes since the last head, or part of a body
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._late.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        self._size += len(data)
        super().data_received(data)
        if self._size > HEAD_BYTES:
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        self._size = 0
        self._late.cancel()
        self.scope["state"][OPEN] = len(self.connections)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body is there."""
        self._size = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """A request has its answer."""
        super().on_response_complete()
        if self.cycle.response_complete:  # or else the client has sent a further request before
            self._await_head()

    def _await_head(self) -> None:
        self._late = self.loop.call_later(self.timeout_keep_alive, self.transport.close)
