"""The page's server: for one's own machine, one model, one sentence at a time.

    GET  /                          the page
    GET  /api/embedded              the model for a page that computes by itself; null, where the server computes
    GET  /api/weights               its weights; with ?checkpoint=NAME those of a checkpoint of its training, and with
                                    ?checkpoint=beside, here as everywhere, those of the other model
    GET  /api/model                 what is known before there is a sentence
    POST /api/look                  {text, target?, beam?, prefix?, checkpoint?, ...} → a trace without its tensors
    POST /api/peek                  the same; no tensor of it can be asked for
    POST /api/heads                 the same, with {position, reference?} → what each head does for that token
    POST /api/occlusion             the same → what each token of the source does for it
    GET  /api/tensor/TRACE/NAME     float32, little-endian; with ?as=roots a byte a weight, for pictures

A request whose Host is not this server is refused, so that no other site's script can ask through the browser.
"""

import re
import socket
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from itertools import count
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import ValidationError

from zhuyi.errors import CheckpointError, ConfigError, ZhuyiError
from zhuyi.loading import with_torch
from zhuyi.microscope import schema
from zhuyi.microscope.effects import head_effects, occlusion
from zhuyi.microscope.page import SERVED_POLICY, asset, look, served_html
from zhuyi.microscope.run import examples_of_dev_set
from zhuyi.microscope.trace import TextError, Trace, WhatIf
from zhuyi.microscope.wire import describe_model, describe_trace, embed_all, embedded_weights, floats, roots, tensors
from zhuyi.ports import address, open_port
from zhuyi.translator import Translator

MAX_TRACES = 8
"""Traces that are remembered, the latest ones."""
MAX_CHECKPOINTS = 3
"""Checkpoints that are held in memory, beside those of the traces."""
MAX_REQUEST_BYTES = 100_000
LENGTH = re.compile("[0-9]{1,9}")
"""Of the body of a request, in its header; more digits are too many bytes."""

Asked = TypeVar("Asked", bound=schema.Message)


class Microscope(ThreadingHTTPServer):
    """Serves the page of one model.

    Args:
        translator: of the model.
        host: to listen on; only this machine can reach 127.0.0.1.
        port: 0 for any that is free.
        checkpoints: of its training, by name, oldest first; each is loaded when it is asked for.
        beside: of another model, to be looked at on the same page.

    Raises:
        ConfigError: if the port cannot be opened, or an engine cannot be looked into.
    """

    daemon_threads = True

    def __init__(
        self,
        translator: Translator,
        host: str = "127.0.0.1",
        port: int = 0,
        checkpoints: Mapping[str, Callable[[], Translator]] | None = None,
        beside: Translator | None = None,
    ) -> None:
        self._translator, self._checkpoints = with_torch(translator), dict(checkpoints or {})
        other = with_torch(beside) if beside is not None else None
        described = describe_model(self._translator, list(self._checkpoints), other)
        if other is not None:
            self._checkpoints[schema.BESIDE] = lambda: other
        self._load = lru_cache(MAX_CHECKPOINTS)(lambda checkpoint: self._checkpoints[checkpoint]())
        self._traces: OrderedDict[str, tuple[schema.Request, Trace]] = OrderedDict()
        self._numbers, self._one_at_a_time = count(1), threading.Lock()
        shown = described.examples or examples_of_dev_set(translator.config)
        self.described = described.model_copy(update={"examples": shown})
        self._embedded = embed_all(self.described, self._translator, other)
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = open_port(host, port)
        self.server_address = self.socket.getsockname()

    @property
    def url(self) -> str:
        """Where the page is."""
        host = str(self.server_address[0])
        return f"{address({'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host), self.socket)}/"

    def answers_to(self, host: str) -> bool:
        """Whether a request may say this in its Host header: an address, or this machine's own name; any port.

        Another site can send a browser here under a name of its own (DNS rebinding), but not under these. The port is
        another one where the page is reached through a tunnel.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if _loopback(name) or _loopback(self.server_address[0]):
            return _loopback(name)
        return _is_address(name) or name == socket.gethostname().lower()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes the connection during an answer is no error; anything else is reported, as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def look(self, asked: bytes) -> schema.Trace:
        """Look, remember the trace, and describe it.

        Raises:
            ConfigError: if this is no `schema.Request`, or there is no such head or token.
            CheckpointError: if there is no such checkpoint; and as `zhuyi.look`.
            DataError: as `zhuyi.look`.
        """
        request = _read(schema.Request, asked)
        with self._one_at_a_time:
            trace = self._record(request)
            number = str(next(self._numbers))
            self._traces[number] = request, trace
            while len(self._traces) > MAX_TRACES:
                self._traces.popitem(last=False)
        return describe_trace(trace).model_copy(update={"id": number, "checkpoint": request.checkpoint})

    def peek(self, asked: bytes) -> schema.Trace:
        """Look and describe the trace, but do not remember it: it would take the place of one that is shown.

        Raises:
            ConfigError, DataError, CheckpointError: as `look`.
        """
        request = _read(schema.Request, asked)
        with self._one_at_a_time:
            trace = self._record(request)
        return describe_trace(trace).model_copy(update={"checkpoint": request.checkpoint})

    def weights(self, checkpoint: str) -> bytes:
        """Those of the model, or of a checkpoint, as the page computes with them.

        Raises:
            CheckpointError: if there is no such checkpoint, or it is damaged.
            ConfigError: if the page does not compute.
        """
        embedded = self.embedded(checkpoint)
        if embedded is None:
            raise ConfigError("the page does not compute with this model")
        with self._one_at_a_time:
            return embedded_weights(self._at(checkpoint), embedded.model.precision)

    def embedded(self, checkpoint: str) -> schema.Embedded | None:
        """The model that a page which computes by itself computes with; None, where the server does."""
        return self._embedded.get(schema.BESIDE if checkpoint == schema.BESIDE else "")

    def heads(self, asked: bytes) -> schema.HeadEffects:
        """What each head does for one token of the target.

        Raises:
            ConfigError: if this is no `schema.Place`, or there is no such position.
            DataError, CheckpointError: as `look`.
        """
        place = _read(schema.Place, asked)
        with self._one_at_a_time:
            found = head_effects(self._trace_of(place), place.position, reference=place.reference)
        return schema.HeadEffects(heads=[schema.HeadEffect(**vars(each)) for each in found])

    def occlusion(self, asked: bytes) -> schema.Occlusion:
        """What each token of the source does for one token of the target.

        Raises:
            ConfigError: as `heads`, or if no token can be hidden from the model.
            DataError, CheckpointError: as `look`.
        """
        place = _read(schema.Place, asked)
        with self._one_at_a_time:
            found = occlusion(self._trace_of(place), place.position, reference=place.reference)
        return schema.Occlusion(losses=found)

    def _trace_of(self, place: schema.Place) -> Trace:
        """The trace that a place is in: a remembered one, if there is one of the same request."""
        request = schema.Request(**place.model_dump(exclude={"position", "reference"}))
        for asked, trace in reversed(self._traces.values()):
            if asked == request:
                return trace
        return self._record(request)

    def _record(self, request: schema.Request) -> Trace:
        return look(
            self._at(request.checkpoint),
            request.text,
            target=request.target or None,
            beam=request.beam,
            length_penalty=request.length_penalty,
            what_if=WhatIf(request.heads_off, request.positions_off, request.mask_lifted, request.prefix),
        )

    def _at(self, checkpoint: str) -> Translator:
        if checkpoint and checkpoint not in self._checkpoints:
            raise CheckpointError(f"there is no checkpoint {checkpoint}")
        return self._load(checkpoint) if checkpoint else self._translator

    def tensor(self, number: str, name: str, as_roots: bool) -> bytes | None:
        """Bytes of one tensor of a remembered trace; None if there is none of this name."""
        _, trace = self._traces.get(number, (None, None))
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
        checkpoint = parse_qs(parts.query).get("checkpoint", [""])[0]
        if parts.path == "/":
            self._send("text/html; charset=utf-8", served_html().encode())
        elif parts.path in ("/page.js", "/model.js"):
            self._send("text/javascript; charset=utf-8", asset(parts.path[1:]).encode())
        elif parts.path == "/page.css":
            self._send("text/css; charset=utf-8", asset("page.css").encode())
        elif parts.path == "/api/model":
            self._send_json(self.server.described)
        elif parts.path == "/api/embedded":
            self._send_json(self.server.embedded(checkpoint))
        elif parts.path == "/api/weights":
            try:
                weights = self.server.weights(checkpoint)
            except ZhuyiError as error:
                self._fail(HTTPStatus.BAD_REQUEST, str(error))
            else:
                self._send("application/octet-stream", weights)
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
        answers: dict[str, Callable[[bytes], schema.Message]] = {
            "/api/look": self.server.look,
            "/api/peek": self.server.peek,
            "/api/heads": self.server.heads,
            "/api/occlusion": self.server.occlusion,
        }
        if self.path not in answers or self.headers.get_content_type() != "application/json":
            self._fail(HTTPStatus.NOT_FOUND, "no such page")
        elif not LENGTH.fullmatch(length) or int(length) > MAX_REQUEST_BYTES:
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {MAX_REQUEST_BYTES:,} bytes")
        else:
            try:
                found = answers[self.path](self.rfile.read(int(length)))
            except TextError as error:
                failure = schema.Failure(error=str(error), code=error.code, values=error.values)
                self._send_json(failure, HTTPStatus.BAD_REQUEST)
            except CheckpointError as error:
                self._send_json(schema.Failure(error=str(error), code="checkpoint"), HTTPStatus.BAD_REQUEST)
            except ZhuyiError as error:
                self._fail(HTTPStatus.BAD_REQUEST, str(error))
            except Exception as error:
                self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}; the terminal says more")
                raise
            else:
                self._send_json(found)

    def log_message(self, format: str, *args: Any) -> None:  # http.server's own
        """Nothing: the terminal is the user's."""

    def _is_ours(self) -> bool:
        if self.server.answers_to(self.headers.get("Host", "")):
            return True
        self._fail(HTTPStatus.FORBIDDEN, "this server answers to its own address only")
        return False

    def _send_json(self, message: schema.Message | None, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send("application/json", (message.model_dump_json() if message else "null").encode(), status)

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self._send_json(schema.Failure(error=message), status)

    def _send(self, kind: str, content: bytes, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": SERVED_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _read(kind: type[Asked], asked: bytes) -> Asked:
    try:
        return kind.model_validate_json(asked)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"not a request to look: {' '.join(map(str, first['loc']))}: {first['msg']}") from error


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _loopback(name: Any) -> bool:
    return str(name) == "localhost" or (_is_address(str(name)) and ip_address(str(name)).is_loopback)
