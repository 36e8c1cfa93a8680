"""The page's server: for one's own machine, one model, one sentence at a time.

    GET  /                          the page
    GET  /api/model                 what is known before there is a sentence
    POST /api/look                  {text, target?, beam?, length_penalty?, ...} → a trace without its tensors
    GET  /api/tensor/TRACE/NAME     float32, little-endian; with ?as=roots a byte a weight, for pictures

A request whose Host is not this server is refused, so that no other site's script can ask through the browser.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from zhuyi.checkpoint import Model
from zhuyi.errors import ConfigError, ZhuyiError
from zhuyi.microscope.page import SERVED, asset, served_html
from zhuyi.microscope.trace import Trace, WhatIf
from zhuyi.microscope.wire import describe_model, describe_trace, floats, roots, tensors

KEPT = 8
"""Traces that are remembered."""
LONGEST_REQUEST = 100_000
"""Bytes."""

Look = Callable[..., Trace]


class Microscope(ThreadingHTTPServer):
    """Serves the page of one model.

    Args:
        model: the model.
        name: what the page calls it.
        look: `Translator.look` of that model.
        host: to listen on; only this machine can reach 127.0.0.1.
        port: 0 for any that is free.
    """

    daemon_threads = True

    def __init__(self, model: Model, name: str, look: Look, host: str = "127.0.0.1", port: int = 0) -> None:
        self.model, self.name, self._look = model, name, look
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self._numbers, self._one_at_a_time = count(1), threading.Lock()
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self.server_address[:2]
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else str(host)}:{port}/"

    def hosts(self) -> set[str]:
        """What a request to this server may say in its Host header; any, where others may reach it."""
        port = self.server_address[1]
        return {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    def look(self, request: dict[str, Any]) -> dict[str, Any]:
        """Look, remember the trace, and describe it."""
        allowed = {"text", "target", "beam", "length_penalty", "heads_off", "positions_off", "mask_lifted"}
        if unknown := request.keys() - allowed:
            raise ConfigError(f"unknown in a request to look: {', '.join(sorted(unknown))}")
        try:
            what_if = WhatIf(
                frozenset((str(name), int(head)) for name, head in request.get("heads_off", [])),
                bool(request.get("positions_off", False)),
                bool(request.get("mask_lifted", False)),
            )
            target = request.get("target") or None
            settings = {key: request[key] for key in ("beam", "length_penalty") if request.get(key) is not None}
            text = str(request["text"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"not a request to look: {error}") from error
        with self._one_at_a_time:
            trace = self._look(text, target=target, what_if=what_if, **settings)
            number = str(next(self._numbers))
            self._traces[number] = trace
            while len(self._traces) > KEPT:
                self._traces.popitem(last=False)
        return {**describe_trace(trace), "id": number}

    def tensor(self, number: str, name: str, as_roots: bool) -> bytes | None:
        """Bytes of one tensor of a remembered trace; None if there is none of this name."""
        trace = self._traces.get(number)
        tensor = tensors(trace).get(name) if trace is not None else None
        if tensor is None or (as_roots and not name.endswith(".weights")):
            return None
        return roots(tensor) if as_roots else floats(tensor)


class _Handler(BaseHTTPRequestHandler):
    server: Microscope

    def do_GET(self) -> None:  # http.server's own
        if not self._is_ours():
            return
        parts = urlsplit(self.path)
        if parts.path == "/":
            self._send("text/html; charset=utf-8", served_html().encode())
        elif parts.path == "/page.js":
            self._send("text/javascript; charset=utf-8", asset("page.js").encode())
        elif parts.path == "/page.css":
            self._send("text/css; charset=utf-8", asset("page.css").encode())
        elif parts.path == "/api/model":
            self._send_json(describe_model(self.server.model, self.server.name))
        elif parts.path.startswith("/api/tensor/"):
            number, _, name = parts.path.removeprefix("/api/tensor/").partition("/")
            found = self.server.tensor(number, unquote(name), parse_qs(parts.query).get("as") == ["roots"])
            if found is None:
                self._fail(HTTPStatus.NOT_FOUND, "no such tensor")
            else:
                self._send("application/octet-stream", found)
        else:
            self._fail(HTTPStatus.NOT_FOUND, "no such page")

    def do_POST(self) -> None:  # http.server's own
        if not self._is_ours():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/api/look" or self.headers.get_content_type() != "application/json":
            self._fail(HTTPStatus.NOT_FOUND, "no such page")
        elif not length.isdigit() or int(length) > LONGEST_REQUEST:
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {LONGEST_REQUEST:,} bytes")
        else:
            try:
                request = json.loads(self.rfile.read(int(length)))
                if not isinstance(request, dict):
                    raise ConfigError("not a request to look")
                self._send_json(self.server.look(request))
            except (ZhuyiError, ValueError) as error:
                self._fail(HTTPStatus.BAD_REQUEST, str(error))

    def log_message(self, format: str, *args: Any) -> None:  # http.server's own
        """Nothing: the terminal is the user's."""

    def _is_ours(self) -> bool:
        if self.headers.get("Host") in self.server.hosts() or self.server.server_address[0] == "0.0.0.0":
            return True
        self._fail(HTTPStatus.FORBIDDEN, "this server answers to its own address only")
        return False

    def _send_json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send("application/json", json.dumps(value, ensure_ascii=False, allow_nan=False).encode(), status)

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self._send_json({"error": message}, status)

    def _send(self, kind: str, content: bytes, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": SERVED,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
