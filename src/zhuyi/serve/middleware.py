"""ASGI middleware: checks the host, limits connections and bodies, and ends a request whose client disconnects.

The body is read before the application is called, within a limit for each body and one for all bodies together. If the
client disconnects while the application runs, the application is cancelled, and with it the search. For an internal
error, the type and the place are logged, but no text of the request.
"""

import asyncio
import logging
import re
import time
import traceback
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zhuyi.serve.api import API
from zhuyi.serve.connection import OPEN
from zhuyi.serve.limits import Limits
from zhuyi.serve.metrics import Metrics
from zhuyi.serve.refusals import Refusal, malformed, too_large, unavailable

COME_AGAIN = {"Retry-After": "1", "Connection": "close"}
"""Headers of a refusal for lack of memory or connections, which other requests free soon."""

log = logging.getLogger("zhuyi.serve")

_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d*)?")
"""A Host header: a name or an address, and a port."""


class RequestMiddleware:
    """ASGI middleware around the application.

    Args:
        app: called with the whole body of a request in one message.
        limits: of the bodies, and of the time in which they must arrive.
        api_of: the API that a path belongs to.
        metrics: counts the requests.
        hosts: as for `app.application`.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, api_of: Callable[[str], API], metrics: Metrics, hosts: Sequence[str]
    ) -> None:
        self._app, self._limits, self._api_of, self._metrics = app, limits, api_of, metrics
        self._hosts = [host.lower() for host in hosts]
        self._bodies = _Budget(max(limits.all_bytes, limits.request_bytes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        api, begun = self._api_of(scope["path"]), time.monotonic()
        exchange = _Exchange(receive, send, self._bodies)
        try:
            await self._run(scope, exchange)
        except Refusal as refusal:
            await api.response(refusal)(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:  # the server stops now
            if not exchange.status:
                ended = api.response(unavailable("the server was stopped before the answer"))
                await ended(scope, exchange.receive, exchange.send)
        except Exception as error:
            log.error("%s", _without_values(error))
            if not exchange.ended:  # a part of the answer may have been sent: the connection must be closed
                raise RuntimeError("an answer broke off") from None
        finally:
            exchange.close()
        if not api.owns(scope["path"]):  # such as /health
            return
        if exchange.gone:
            self._metrics.gone(api.name)
        else:
            self._metrics.answered(api.name, exchange.status, time.monotonic() - begun)

    async def _run(self, scope: Scope, exchange: "_Exchange") -> None:
        """Check a request, read its body, and call the application.

        Raises:
            Refusal: if the request does not pass the checks.
        """
        headers = Headers(scope=scope)
        self._check_host(headers.get("host", ""))
        self._check_connections(scope)
        await exchange.read(int(headers.get("content-length", 0)), self._limits)
        # HEAD is handled as GET: the ASGI server leaves out the content.
        await exchange.run(self._app, {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope)

    def _check_host(self, host: str) -> None:
        """Check that a request is for this server.

        Raises:
            Refusal: if its Host header names another one.
        """
        found = _HOST.fullmatch(host.lower())
        if not any(_is_of(found[1] if found else "", each) for each in self._hosts):
            raise malformed("the name in the Host header is not one of this server's: --allow-host adds one")

    def _check_connections(self, scope: Scope) -> None:
        """Check the number of open connections, which is known if `Connection` is used.

        Raises:
            Refusal: if there are too many.
        """
        if scope.get("state", {}).get(OPEN, 0) > self._limits.connections:
            what = "the server has too many open connections: try again later"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, what, COME_AGAIN)


class _Budget:
    """The memory for the bodies of all requests together, in bytes."""

    def __init__(self, size: int) -> None:
        self._free = size

    def acquire(self, count: int) -> None:
        """Reserve memory.

        Raises:
            Refusal: if there is not enough.
        """
        if count > self._free:
            what = "the server has too many requests to read: try again later"
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, what, COME_AGAIN)
        self._free -= count

    def release(self, count: int) -> None:
        """Free memory that was reserved."""
        self._free += count


class _Exchange:
    """A request and its response, as the application sees them."""

    def __init__(self, receive: Receive, send: Send, bodies: _Budget) -> None:
        self._receive, self._send, self._bodies = receive, send, bodies
        self._size = 0
        self._body: bytes | None = None
        self._left = asyncio.Event()
        self.status, self.ended = 0, False

    @property
    def gone(self) -> bool:
        """Whether the client disconnected before its response."""
        return self._left.is_set()

    async def read(self, declared: int, limits: Limits) -> None:
        """Read the body.

        Raises:
            Refusal: if it is, or all bodies together are, too large, or it does not arrive in time.
        """
        refusal = too_large(f"a request has at most {limits.request_bytes:,} bytes")
        if declared > limits.request_bytes:
            raise refusal
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(limits.deadline):
                while more and not self.gone:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        self._left.set()
                    part = message.get("body", b"")
                    if len(body) + len(part) > limits.request_bytes:
                        raise refusal
                    self._bodies.acquire(len(part))
                    self._size += len(part)
                    body += part
                    more = message.get("more_body", False)
        except TimeoutError:
            what = f"the request did not arrive within {limits.deadline:g} seconds"
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, what, {"Connection": "close"}) from None
        self._body = bytes(body)

    def close(self) -> None:
        """Release the memory of the body."""
        self._bodies.release(self._size)

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Call the application, and cancel it if the client disconnects."""
        if self.gone:
            return
        task = asyncio.current_task()
        assert task is not None
        watch = asyncio.create_task(self._watch(task))
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self.gone:
                raise
            task.uncancel()
        finally:
            watch.cancel()

    async def _watch(self, task: "asyncio.Task[None]") -> None:
        """Cancel a task if the client disconnects before its response is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self.ended:
            self._left.set()
            task.cancel()

    async def receive(self) -> Message:
        """The whole body first; then a disconnect, once there is one."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)


def _is_of(name: str, allowed: str) -> bool:
    """Whether a host name is allowed: exactly, or by a pattern such as "*.example.org" or "*"."""
    return name.endswith(allowed[1:]) if allowed.startswith("*") else name == allowed


def _without_values(error: Exception) -> str:
    """The type of an error and the lines of code where it occurred, without its message, which may quote a text."""
    what = type(error).__name__
    if isinstance(error, ExceptionGroup):
        return f"{what}: {'; '.join(_without_values(each) for each in error.exceptions)}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{what} in {' < '.join(f'{Path(each.filename).name}:{each.lineno}' for each in reversed(frames))}"
