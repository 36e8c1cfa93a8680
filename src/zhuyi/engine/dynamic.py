"""Dynamic batching: sources that wait while a batch is decoded are decoded together as the next one."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeAlias

from zhuyi.config import DecodingConfig
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.engine.protocol import Tokens

MAX_SOURCES = 64
"""Most sources of a batch, so that one that arrives meanwhile does not wait for long."""

Decode: TypeAlias = Callable[
    [Sequence[Tokens], DecodingConfig, Sequence[int] | None, Sequence[int]], list[list[Hypothesis]]
]
"""`Engine.decode`."""


class _Source(NamedTuple):
    tokens: Tokens
    decoding: DecodingConfig
    line: int
    prefix: tuple[int, ...]
    found: "Future[list[Hypothesis]]"


class DynamicBatches:
    """`Engine.submit` for an engine that decodes batches: one thread, which takes what waits whenever it is free.

    The thread refers to the engine only while it has something to decode, and ends when this object is deleted.
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Source] = SimpleQueue()
        self._thread = ThreadPoolExecutor(1, "zhuyi-batches")

    def submit(
        self, decode: Decode, source: Tokens, decoding: DecodingConfig, line: int, prefix: Sequence[int]
    ) -> "Future[list[Hypothesis]]":
        """As `Engine.submit`; `decode` is that of the engine."""
        found: Future[list[Hypothesis]] = Future()
        self._waiting.put(_Source(source, decoding, line, tuple(prefix), found))
        self._thread.submit(_decode_some, decode, self._waiting)
        return found


def _decode_some(decode: Decode, waiting: "SimpleQueue[_Source]") -> None:
    """Decode what waits, at most a batch; nothing, if an earlier batch has already taken it."""
    together: dict[tuple[DecodingConfig, tuple[int, ...]], list[_Source]] = {}
    for _ in range(MAX_SOURCES):
        try:
            source = waiting.get_nowait()
        except Empty:
            break
        if source.found.set_running_or_notify_cancel():
            together.setdefault((source.decoding, source.prefix), []).append(source)
    for (decoding, prefix), sources in together.items():
        try:
            found = decode([each.tokens for each in sources], decoding, [each.line for each in sources], prefix)
        except Exception as error:
            for source in sources:
                source.found.set_exception(error)
        else:
            for source, hypotheses in zip(sources, found, strict=True):
                source.found.set_result(hypotheses)
