"""Tokenisation of pairs into record batches: in this process, or in several worker processes, a chunk at a time.

    reader (here) → chunks of pairs → workers (`python -m zhuyi.data.tokenise`, over pipes) → in order → store

A worker is a plain child process that imports no code of the user's, so it does not matter what the caller's main
module is, or whether torch has threads or a GPU there. A worker exits when its pipe is closed, even if the caller was
killed. The record batch of a chunk is a function of the chunk, so the store does not depend on the number of workers.
"""

import hashlib
import json
import marshal
import os
import queue
import subprocess
import sys
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zhuyi.data.store import MAX_LINES, FilterReport
from zhuyi.errors import ZhuyiError
from zhuyi.text.segmentation import count_marks
from zhuyi.text.template import Template
from zhuyi.text.tokenizer import Tokenizer, Tokenizers

MAX_CHUNKS_ALONE = 10
"""Up to so many chunks are tokenised in this process: workers would not have started before they are done."""

Chunk = tuple[int, list[str], list[str]]
"""The line number of the first pair, the sources, and the targets."""


def digests(sources: Sequence[str], targets: Sequence[str]) -> npt.NDArray[np.uint64]:
    """A digest of 64 bits of each source, and of each pair: `pairs 2`."""
    found = bytearray()
    for source, target in zip(sources, targets, strict=True):
        one = hashlib.blake2b(source.encode(), digest_size=8).digest()
        found += one + hashlib.blake2b(one + target.encode(), digest_size=8).digest()
    return np.frombuffer(found, np.uint64).reshape(-1, 2)


def remarks(sources: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """What is counted in the text itself: `copies`, `not_nfc` and `marks`, as in `store.FilterReport`."""
    return {
        "copies": sum(source == target != "" for source, target in zip(sources, targets, strict=True)),
        "not_nfc": sum(not unicodedata.is_normalized("NFC", line) for line in chain(sources, targets)),
        "marks": count_marks(targets),
    }


def schema(tokenizers: Tokenizers) -> pa.Schema:
    """The columns of a record batch. Tokens have two bytes each if that is enough for the vocabularies."""
    token = pa.uint16() if max(len(tokenizers.source), len(tokenizers.target)) <= 1 << 16 else pa.int32()
    return pa.schema(
        [
            ("line", pa.int64()),
            ("source", pa.list_(token)),
            ("target", pa.list_(token)),
            ("source_digest", pa.uint64()),
            ("pair_digest", pa.uint64()),
        ]
    )


class ChunkTokenizer:
    """A function from a chunk to its record batch; the arguments are those of `build.build_store`."""

    def __init__(self, tokenizers: Tokenizers, max_length: int | None, long_lines: str, dropout: float) -> None:
        templates = [asdict(template) for template in tokenizers.templates]
        self.settings = (tokenizers.files(), templates, max_length, long_lines, dropout)
        self.schema = schema(tokenizers)
        self._most = None if max_length is None else max_length - 1
        self._long_lines = long_lines
        self._sides = [(side, side.with_dropout(dropout)) for side in (tokenizers.source, tokenizers.target)]

    def __call__(self, chunk: Chunk) -> tuple[FilterReport, bytes]:
        """The report on a chunk, and its record batch as an Arrow message, which is empty if no pair is kept."""
        _, *texts = chunk
        sides = [self._encode(lines, *side) for lines, side in zip(texts, self._sides, strict=True)]
        lengths = np.array([np.fromiter(map(len, side), np.int64, len(side)) for side in sides])
        if self._most is None:
            empty = long = np.zeros(lengths.shape[1], bool)
        else:
            empty = lengths.min(axis=0) == 0
            long = ~empty & (lengths.max(axis=0) > self._most)
        kept = np.flatnonzero(~empty if self._long_lines == "truncate" else ~(empty | long))
        return self._report(chunk, empty, long, len(kept)), self._message(chunk, sides, kept) if len(kept) else b""

    def _message(self, chunk: Chunk, sides: list[list[list[int]]], kept: npt.NDArray[np.int64]) -> bytes:
        """The record batch of the pairs `kept` of a chunk, counted from 0; `sides` are the tokens of its lines."""
        first, *texts = chunk
        tokens = [
            [side[i] if self._most is None else tokenizer.cut(side[i], self._most) for i in kept]
            for side, (tokenizer, _) in zip(sides, self._sides, strict=True)
        ]
        columns = [first + kept, *map(self._lists, tokens), *digests(*texts)[kept].T]
        arrays = [pa.array(column, type) for column, type in zip(columns, self.schema.types, strict=True)]
        message: bytes = pa.record_batch(arrays, schema=self.schema).serialize().to_pybytes()
        return message

    def _report(
        self, chunk: Chunk, empty: npt.NDArray[np.bool_], long: npt.NDArray[np.bool_], kept: int
    ) -> FilterReport:
        """The report on a chunk, of which these pairs are empty or too long: both `pairs`."""
        first, sources, targets = chunk
        returns = np.array(["\r" in source or "\r" in target for source, target in zip(sources, targets, strict=True)])
        spaced = np.zeros(len(sources), bool)
        for lines, (tokenizer, _) in zip((sources, targets), self._sides, strict=True):
            spaced |= not tokenizer.keeps_whitespace and np.array([_spaced(line) for line in lines])
        text = "".join(targets) if self._most is None else ""

        def numbers(which: npt.NDArray[np.bool_]) -> tuple[int, ...]:
            return tuple((first + np.flatnonzero(which)[:MAX_LINES]).tolist())

        return FilterReport(
            pairs=len(sources),
            kept=kept,
            empty=int(empty.sum()),
            empty_lines=numbers(empty),
            long=int(long.sum()),
            long_lines=numbers(long),
            long_policy=self._long_lines,
            returns=int(returns.sum()),
            return_lines=numbers(returns),
            spaced=int(spaced.sum()),
            spaced_lines=numbers(spaced),
            quoted=sum(len(line) > 1 and line[0] == line[-1] == '"' for line in chain(sources, targets)),
            characters=len(text),
            bytes=len(text.encode()),
            **remarks(sources, targets),
        )

    def _encode(self, lines: list[str], plain: Tokenizer, random: Tokenizer) -> list[list[int]]:
        tokens = random.encode(lines)
        if random is not plain and self._most is not None:
            long = [i for i, line in enumerate(tokens) if len(line) > self._most]
            for i, line in zip(long, plain.encode([lines[i] for i in long]), strict=True):
                tokens[i] = line
        return tokens

    def _lists(self, lines: list[list[int]]) -> pa.Array:
        type = self.schema.field("source").type
        offsets = np.cumsum([0, *map(len, lines)], dtype=np.int32)
        values = np.fromiter(chain.from_iterable(lines), type.value_type.to_pandas_dtype(), int(offsets[-1]))
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), type=type)


def _spaced(line: str) -> bool:
    """Whether a line has white space that collapsing changes, except at its end."""
    line = line.rstrip()
    return line[:1].isspace() or "  " in line or "\t" in line


def tokenised_chunks(
    tokenize: ChunkTokenizer, chunks: Iterable[Chunk], processes: int | None = None
) -> Iterator[tuple[FilterReport, bytes]]:
    """The reports and record batches of the chunks, in order.

    Args:
        tokenize: tokenises a chunk.
        chunks: are read no further ahead than the workers need.
        processes: the number of workers. None: the number of CPU cores that this process may use.

    Raises:
        ZhuyiError: if a worker dies.
    """
    chunks = iter(chunks)
    processes = processes or _cores()
    first = list(islice(chunks, MAX_CHUNKS_ALONE if processes > 1 else 0))
    if len(first) < MAX_CHUNKS_ALONE:
        yield from map(tokenize, chain(first, chunks))
        return
    with _Workers(tokenize, processes) as workers:
        yield from workers.map(chain(first, chunks))


def _cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Workers:
    """Worker processes, and a thread for each, which sends it chunks and waits for the results."""

    def __init__(self, tokenize: ChunkTokenizer, processes: int) -> None:
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        # A single thread in each: with threads of the library as well, there would be more threads than cores.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TOKENIZERS_PARALLELISM": "false"}
        command = [sys.executable, "-P", "-m", __name__]
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(processes)
        self._all = []
        for _ in range(processes):
            worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                process_group=0,  # Ctrl-C must not reach the workers; on Windows, the next line prevents that
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
            self._all.append(worker)
            self._idle.put(worker)
        self._settings = marshal.dumps(tokenize.settings)
        self._configured: set[int] = set()

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._all:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.communicate()

    def map(self, chunks: Iterable[Chunk]) -> Iterator[tuple[FilterReport, bytes]]:
        """The results in order; up to two chunks for each worker are in progress."""
        waiting: deque[Future[tuple[FilterReport, bytes]]] = deque()
        for chunk in chunks:
            waiting.append(self._threads.submit(self._ask, marshal.dumps(chunk)))
            if len(waiting) > 2 * len(self._all):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _ask(self, chunk: bytes) -> tuple[FilterReport, bytes]:
        worker = self._idle.get()
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            if worker.pid not in self._configured:
                self._configured.add(worker.pid)
                _send(worker.stdin, self._settings)
            _send(worker.stdin, chunk)
            report, message = json.loads(_receive(worker.stdout)), _receive(worker.stdout)
        except (OSError, EOFError) as error:
            worker.kill()
            raise ZhuyiError(
                f"a process that tokenises has ended (exit status {worker.wait()}; out of memory?): "
                "the same command again continues from what is finished"
            ) from error
        finally:
            self._idle.put(worker)
        return FilterReport.from_dict(report), message


def _send(stream: IO[bytes], content: bytes) -> None:
    stream.write(len(content).to_bytes(8, "little"))
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    head = stream.read(8)
    length = int.from_bytes(head, "little")
    content = stream.read(length)
    if len(head) < 8 or len(content) < length:
        raise EOFError
    return content


def _work(chunks: IO[bytes], answers: IO[bytes]) -> None:
    """The main loop of a worker."""
    with suppress(EOFError, BrokenPipeError):  # the parent has closed the pipe, or has died
        files, templates, *rest = marshal.loads(_receive(chunks))
        tokenizers = Tokenizers.from_files(files).with_templates(*(Template(**template) for template in templates))
        tokenize = ChunkTokenizer(tokenizers, *rest)
        while True:
            report, message = tokenize(marshal.loads(_receive(chunks)))
            _send(answers, json.dumps(asdict(report)).encode())
            _send(answers, message)


if __name__ == "__main__":
    _work(sys.stdin.buffer, sys.stdout.buffer)
