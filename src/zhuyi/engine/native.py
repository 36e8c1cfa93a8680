"""The native engine, which computes on the CPU without torch: the C++ of `native/` turns tokens into hypotheses.

Its workers are threads that do not need Python's lock. Each takes the next sentence as soon as one of its own is done,
so nothing is padded, and no sentence waits for another. The result of a sentence depends neither on the sentences
beside it nor on the number of workers, to the last bit.
"""

import ctypes
import itertools
import math
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from zhuyi.config import DecodingConfig, StoppingRule
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.engine.packed import ERROR_BYTES, PackedModel, integers
from zhuyi.engine.protocol import Tokens
from zhuyi.text.template import ended
from zhuyi.text.tokenizer import EOS

STOPPING_RULES = get_args(StoppingRule)
"""In the order of the C++."""

STREAMED_TOKENS = 8
"""Tokens that a stream draws at a time; the text before them is read again each time."""

POLL_MILLISECONDS = 100
"""Between two checks whether Ctrl-C was pressed, or whether an engine is still in use."""


def _addresses(*names: str) -> list[tuple[str, type]]:
    return [(name, ctypes.c_void_p) for name in names]


class _Decoding(ctypes.Structure):
    """`ZhuyiDecoding` of native/search.h."""

    _fields_ = [
        *integers("sampling", "rows", "n_best", "top_k", "no_repeat_ngram", "max_repetition", "min_length"),
        *integers("every_token", "power", "stop", "end_at_limit", "no_unknown"),
        ("length_penalty", ctypes.c_float),
        ("temperature", ctypes.c_float),
        ("top_p", ctypes.c_float),
        ("seed", ctypes.c_uint32),
    ]


class _Request(ctypes.Structure):
    """`ZhuyiRequest` of native/decoder.cpp."""

    _fields_ = [
        ("decoding", ctypes.POINTER(_Decoding)),
        ("count", ctypes.c_int64),
        *_addresses("tokens", "first_token", "prefixes", "first_prefix", "limits", "lines"),
        ("ticket", ctypes.c_int64),
    ]


class _Workers:
    """The threads that decode, and their queue. They do not exist in a fork of the process, which starts its own."""

    def __init__(self, models: Sequence[PackedModel], count: int) -> None:
        self.models, self.process = models, os.getpid()
        self.functions, self.brief = models[0].functions, models[0].brief
        self._tickets = itertools.count(1)
        self._awaited: dict[int, tuple[int, Future[list[Hypothesis]]]] = {}
        self._lock = threading.Lock()  # of the two above
        self._waiter: threading.Thread | None = None
        error = ctypes.create_string_buffer(ERROR_BYTES)
        handles = (ctypes.c_void_p * len(models))(*(model.handle for model in models))
        self.handle = self.functions.zhuyi_engine(handles, len(models), count, error)
        if not self.handle:
            raise MemoryError(f"the engine cannot start {count} workers: {error.value.decode()}")

    def __del__(self) -> None:
        if getattr(self, "handle", None) and self.process == os.getpid():
            self.functions.zhuyi_free_engine(self.handle)

    def submit(
        self,
        sources: Sequence[Tokens],
        settings: _Decoding,
        limits: npt.NDArray[np.int32],
        lines: Iterable[int],
        prefixes: Sequence[Tokens],
        ticket: int = 0,
    ) -> int:
        """Put sentences into the queue, as one job."""
        tokens, first_token = _concatenated([ended(source) for source in sources])
        forced, first_prefix = _concatenated(prefixes)
        numbers = np.fromiter(lines, dtype=np.int64, count=len(sources))
        arrays = (tokens, first_token, forced, first_prefix, limits, numbers)
        request = _Request(ctypes.pointer(settings), len(sources), *(array.ctypes.data for array in arrays), ticket)
        error = ctypes.create_string_buffer(ERROR_BYTES)
        job = self.functions.zhuyi_submit(self.handle, ctypes.byref(request), error)
        if not job:
            raise ValueError(f"the engine does not take these sentences: {error.value.decode()}")
        return int(job)

    def result(self, job: int, sentences: int) -> list[list[Hypothesis]]:
        """Wait until a job is done, and return its hypotheses."""
        error = ctypes.create_string_buffer(ERROR_BYTES)
        state = self.brief.zhuyi_wait(self.handle, job, 0, error)
        while not state:
            state = self.functions.zhuyi_wait(self.handle, job, POLL_MILLISECONDS, error)
        if state < 0:
            raise MemoryError(f"the engine failed: {error.value.decode()}")
        return _read(self.brief, job, sentences)

    def free(self, job: int) -> None:
        """Free a job, and cancel it if it is not done."""
        self.brief.zhuyi_free_job(job)

    def future(
        self, source: Tokens, settings: _Decoding, limits: npt.NDArray[np.int32], line: int, prefix: Tokens
    ) -> "Future[list[Hypothesis]]":
        """Put one sentence into the queue, and return a future of its hypotheses."""
        future: Future[list[Hypothesis]] = Future()
        with self._lock:  # a job may be done before this is
            ticket = next(self._tickets)
            job = self.submit([source], settings, limits, [line], [prefix], ticket)
            self._awaited[ticket] = job, future
            if self._waiter is None:
                self._waiter = threading.Thread(target=_wait, args=(weakref.ref(self),), daemon=True)
                self._waiter.start()
        future.add_done_callback(lambda done: self._cancel(ticket) if done.cancelled() else None)
        return future

    def _taken(self, ticket: int) -> tuple[int, Future[list[Hypothesis]] | None]:
        with self._lock:
            return self._awaited.pop(ticket, (0, None))

    def _cancel(self, ticket: int) -> None:
        job, future = self._taken(ticket)
        if future is not None:
            future.set_running_or_notify_cancel()  # or `concurrent.futures.wait` would wait for it
            self.free(job)

    def wait_once(self) -> None:
        """Set the results of futures whose jobs are done, or are within `POLL_MILLISECONDS`."""
        ticket = self.functions.zhuyi_next(self.handle, POLL_MILLISECONDS)
        while ticket:
            self._deliver(ticket)
            ticket = self.brief.zhuyi_next(self.handle, 0)

    def _deliver(self, ticket: int) -> None:
        job, future = self._taken(ticket)
        if future is None:
            return
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(self.result(job, 1)[0])
        except MemoryError as error:
            future.set_exception(error)
        finally:
            self.free(job)


def _wait(workers: "weakref.ref[_Workers]") -> None:
    """Set the results of futures until nothing else refers to the workers: what their thread runs."""
    while (alive := workers()) is not None:
        alive.wait_once()
        del alive


class NativeEngine:
    """An `Engine` on the CPU, without torch.

    Args:
        models: one, or those of an ensemble, in one precision: the mean of their probabilities is searched.
        workers: threads. Unset: one for each core that this process may use.
    """

    def __init__(self, models: Sequence[PackedModel], workers: int | None = None) -> None:
        self.precision, self.max_length = models[0].precision, min(model.max_length for model in models)
        self.worker_count = workers or cores()
        self._models = models
        self._lock = threading.Lock()
        self._running: _Workers | None = None

    def decode(
        self,
        sources: Sequence[Tokens],
        decoding: DecodingConfig,
        lines: Sequence[int] | None = None,
        prefix: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        """As `Engine.decode`."""
        numbers = range(len(sources)) if lines is None else lines
        limits = self._limits(sources, decoding)
        return self._run(sources, _settings(decoding), limits, numbers, [prefix] * len(sources))

    def submit(
        self, source: Tokens, decoding: DecodingConfig, line: int = 0, prefix: Sequence[int] = ()
    ) -> "Future[list[Hypothesis]]":
        """As `Engine.submit`: it joins the sentences that are being decoded between two of their steps."""
        return self._workers().future(source, _settings(decoding), self._limits([source], decoding), line, prefix)

    def stream(self, text: Tokens, decoding: DecodingConfig, line: int = 0) -> Iterator[int]:
        """As `Engine.stream`: a few tokens at a time, since a search returns tokens only when it is done."""
        text = list(text)
        plain = {"strategy": "sampling", "n_best": 1, "max_ratio": 0.0, "max_repetition": 0, "no_repeat_ngram": 0}
        plain |= {"min_length": 0, "end_at_limit": False, "allow_unknown": True}
        how = decoding.model_copy(update=plain)
        while len(text) < self.max_length - 1:
            limit = min(len(text) + STREAMED_TOKENS, self.max_length - 1)
            (found,) = self.decode([[]], how.model_copy(update={"max_extra": limit}), [line], text)
            yield from found[0].tokens[len(text) :]
            if found[0].finished or len(found[0].tokens) < limit:  # EOS, or the model gave NaN
                return
            text = found[0].tokens

    def loss(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> float:
        """As `Engine.loss`: the log-probabilities of an output whose every token is forced."""
        settings = _Decoding(rows=1, n_best=1, every_token=1, temperature=1, top_p=1)
        forced = [[*target, EOS] for target in targets]
        limits = np.array([len(target) for target in forced], dtype=np.int32)
        found = self._run(sources, settings, limits, range(len(sources)), forced)
        total = 0.0
        for (best,), target in zip(found, forced, strict=True):
            # An output ends before a token for which the model gives NaN.
            total += sum(best.token_logprobs) if len(best.token_logprobs) == len(target) else math.nan
        return -total / sum(map(len, forced))

    def _run(
        self,
        sources: Sequence[Tokens],
        settings: _Decoding,
        limits: npt.NDArray[np.int32],
        lines: Iterable[int],
        prefixes: Sequence[Tokens],
    ) -> list[list[Hypothesis]]:
        workers = self._workers()
        job = workers.submit(sources, settings, limits, lines, prefixes)
        try:
            return workers.result(job, len(sources))
        finally:
            workers.free(job)

    def _workers(self) -> _Workers:
        with self._lock:
            if self._running is None or self._running.process != os.getpid():
                self._running = _Workers(self._models, self.worker_count)
            return self._running

    def _limits(self, sources: Sequence[Tokens], decoding: DecodingConfig) -> npt.NDArray[np.int32]:
        lengths = np.array([len(ended(source)) for source in sources], dtype=np.int64)
        return decoding.limits(lengths, self.max_length).astype(np.int32)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settings(decoding: DecodingConfig) -> _Decoding:
    return _Decoding(
        sampling=decoding.strategy == "sampling",
        rows=decoding.rows,
        n_best=decoding.n_best,
        top_k=decoding.top_k,
        no_repeat_ngram=decoding.no_repeat_ngram,
        max_repetition=decoding.max_repetition,
        min_length=decoding.min_length,
        power=decoding.penalty == "power",
        stop=STOPPING_RULES.index(decoding.stop),
        end_at_limit=decoding.end_at_limit,
        no_unknown=not decoding.allow_unknown,
        length_penalty=decoding.length_penalty,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        seed=decoding.seed,
    )


def _concatenated(sentences: Sequence[Tokens]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The tokens of all sentences, and the place where each sentence begins, followed by the end."""
    first = np.zeros(len(sentences) + 1, dtype=np.int64)
    np.cumsum([len(sentence) for sentence in sentences], out=first[1:])
    tokens = np.fromiter(itertools.chain.from_iterable(sentences), dtype=np.int32, count=int(first[-1]))
    return tokens, first


def _read(functions: Any, job: int, sentences: int) -> list[list[Hypothesis]]:
    """The hypotheses of the sentences of a job that is done."""
    count, total = ctypes.c_int64(), ctypes.c_int64()
    functions.zhuyi_sizes(job, ctypes.byref(count), ctypes.byref(total))
    counts, lengths = np.empty(sentences, np.int32), np.empty(count.value, np.int32)
    scores, finished = np.empty(count.value, np.float32), np.empty(count.value, np.uint8)
    tokens, log_probs = np.empty(total.value, np.int32), np.empty(total.value, np.float32)
    arrays = (counts, scores, finished, lengths, tokens, log_probs)
    functions.zhuyi_read(job, *(array.ctypes.data for array in arrays))
    each = zip(scores.tolist(), finished.tolist(), lengths.tolist(), strict=True)
    all_tokens, all_log_probs = tokens.tolist(), log_probs.tolist()
    found, first = [], 0
    for alternatives in counts.tolist():
        hypotheses = []
        for score, is_ended, length in itertools.islice(each, alternatives):
            last = first + length
            hypotheses.append(
                Hypothesis(all_tokens[first : last - is_ended], score, all_log_probs[first:last], bool(is_ended))
            )
            first = last
        found.append(hypotheses)
    return found
