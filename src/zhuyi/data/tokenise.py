"""Pairs → record batches of tokens: in this process, or in several others that each do a chunk at a time.

    reader (here) → chunks of pairs → workers (`python -m zhuyi.data.tokenise`, over pipes) → in order → store

A worker is a plain child process and imports nothing of the user's, so it does not matter what the caller's main
module is, whether torch runs threads in it or holds a GPU. It ends when its pipe does, however the caller ended.
What is made of a chunk is a function of it alone, so the store is the same whoever made it.
"""

import hashlib
import json
import marshal
import os
import queue
import subprocess
import sys
import unicodedata
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zhuyi.errors import ZhuyiError
from zhuyi.text.segmentation import count_marks
from zhuyi.text.template import Template
from zhuyi.text.tokenizer import Tokenizer, Tokenizers

MAX_LINES = 10
"""Line numbers that are remembered of each kind of pair that was left out."""
MAX_CHUNKS_ALONE = 10
"""Chunks for which no other process is started: it would be done before they are at work."""

Chunk = tuple[int, list[str], list[str]]
"""The line number of the first pair; sources; targets."""


def digests(sources: Sequence[str], targets: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Eight bytes for each source and for each pair: `pairs 2`. Two different ones are equal once in 10¹⁹."""
    found = bytearray()
    for source, target in zip(sources, targets, strict=True):
        one = hashlib.blake2b(source.encode(), digest_size=8).digest()
        found += one + hashlib.blake2b(one + target.encode(), digest_size=8).digest()
    return np.frombuffer(found, np.uint64).reshape(-1, 2)


def remarks(sources: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """What the text shows before it is tokenised: `copies`, `not_nfc` and `marks`, as in `store.FilterReport`."""
    return {
        "copies": sum(source == target != "" for source, target in zip(sources, targets, strict=True)),
        "not_nfc": sum(not unicodedata.is_normalized("NFC", line) for line in chain(sources, targets)),
        "marks": count_marks(targets),
    }


def schema(tokenizers: Tokenizers) -> pa.Schema:
    """The columns of a record batch. Where two bytes are enough for a token, it has two."""
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


@dataclass(frozen=True)
class ChunkReport:
    """What became of a chunk."""

    pairs: int
    kept: int
    empty: int
    empty_lines: list[int]
    """The first ten of them."""
    long: int
    long_lines: list[int]
    returns: int
    return_lines: list[int]
    spaced: int
    spaced_lines: list[int]
    quoted: int
    copies: int
    not_nfc: int
    marks: dict[str, int]
    text_characters: int
    text_bytes: int
    bytes: int
    """Length of `message`."""
    crc: int
    """CRC-32 of `message`."""


class ChunkTokenizer:
    """How pairs become tokens; the arguments are those of `build.build_store`."""

    def __init__(self, tokenizers: Tokenizers, max_length: int | None, long_lines: str, dropout: float) -> None:
        templates = [asdict(template) for template in tokenizers.templates]
        self.settings = (tokenizers.files(), templates, max_length, long_lines, dropout)
        self.schema = schema(tokenizers)
        self._most = None if max_length is None else max_length - 1
        self._truncate = long_lines == "truncate"
        self._sides = [(side, side.with_dropout(dropout)) for side in (tokenizers.source, tokenizers.target)]

    def __call__(self, chunk: Chunk) -> tuple[ChunkReport, bytes]:
        """Its report, and its record batch as an Arrow message: empty where no pair of the chunk can be used."""
        first, *texts = chunk
        sides = [self._encode(lines, *side) for lines, side in zip(texts, self._sides, strict=True)]
        lengths = np.array([np.fromiter(map(len, side), np.int64, len(side)) for side in sides])
        if self._most is None:
            empty = long = np.zeros(lengths.shape[1], bool)
        else:
            empty = lengths.min(axis=0) == 0
            long = ~empty & (lengths.max(axis=0) > self._most)
        usable = np.flatnonzero(~empty if self._truncate else ~(empty | long))
        kept = [
            [side[i] if self._most is None else tokenizer.cut(side[i], self._most) for i in usable]
            for side, (tokenizer, _) in zip(sides, self._sides, strict=True)
        ]
        message = b""
        if len(usable):
            columns = [first + usable, *map(self._lists, kept), *digests(*texts)[usable].T]
            arrays = [pa.array(column, type) for column, type in zip(columns, self.schema.types, strict=True)]
            message = pa.record_batch(arrays, schema=self.schema).serialize().to_pybytes()
        returns = np.array(["\r" in source or "\r" in target for source, target in zip(*texts, strict=True)])
        quoted = sum(len(line) > 1 and line[0] == line[-1] == '"' for line in chain.from_iterable(texts))
        spaced = np.zeros(len(empty), bool)
        for lines, (tokenizer, _) in zip(texts, self._sides, strict=True):
            spaced |= not tokenizer.keeps_whitespace and np.array([_spaced(line) for line in lines])
        found = [(first + np.flatnonzero(which)).tolist() for which in (empty, long, returns, spaced)]
        empties, longs, with_returns, with_spaces = ((len(lines), lines[:MAX_LINES]) for lines in found)
        counts = *empties, *longs, *with_returns, *with_spaces, quoted
        text = "".join(texts[1]) if self._most is None else ""
        written: dict[str, Any] = {**remarks(*texts), "bytes": len(message), "crc": zlib.crc32(message)}
        written |= {"text_characters": len(text), "text_bytes": len(text.encode())}
        return ChunkReport(len(empty), len(usable), *counts, **written), message

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
    """Whether it has white space that tokenizers do not keep, except at its end."""
    line = line.rstrip()
    return line[:1].isspace() or "  " in line or "\t" in line


def tokenised_chunks(
    tokenize: ChunkTokenizer, chunks: Iterable[Chunk], processes: int | None = None
) -> Iterator[tuple[ChunkReport, bytes]]:
    """The reports and record batches of the chunks, in order.

    Args:
        tokenize: makes tokens of one.
        chunks: read no further ahead than the workers need.
        processes: how many work at it. Unset: as many as there are CPU cores for this one, once it is worth it.

    Raises:
        ZhuyiError: when a worker dies.
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
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Workers:
    """So many processes, and a thread for each that hands it chunks and waits."""

    def __init__(self, tokenize: ChunkTokenizer, processes: int) -> None:
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Each is one thread: the library's own threads would fight over the cores.
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
                process_group=0,  # Ctrl-C is for the one at this end; on Windows, the next line does that
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

    def map(self, chunks: Iterable[Chunk]) -> Iterator[tuple[ChunkReport, bytes]]:
        """In order; two chunks for each worker are on their way."""
        waiting: deque[Future[tuple[ChunkReport, bytes]]] = deque()
        for chunk in chunks:
            waiting.append(self._threads.submit(self._ask, marshal.dumps(chunk)))
            if len(waiting) > 2 * len(self._all):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _ask(self, chunk: bytes) -> tuple[ChunkReport, bytes]:
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
        return ChunkReport(**report), message


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
    """What a worker does."""
    with suppress(EOFError, BrokenPipeError):  # the end, which is the other one's
        files, templates, *rest = marshal.loads(_receive(chunks))
        tokenizers = Tokenizers.from_files(files).with_templates(*(Template(**template) for template in templates))
        tokenize = ChunkTokenizer(tokenizers, *rest)
        while True:
            report, message = tokenize(marshal.loads(_receive(chunks)))
            _send(answers, json.dumps(asdict(report)).encode())
            _send(answers, message)


if __name__ == "__main__":
    _work(sys.stdin.buffer, sys.stdout.buffer)
