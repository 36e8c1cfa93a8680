"""Builds a store: a corpus and its tokenizers → a file in the cache, built once for the same inputs.

    <cache>/<key>.arrow               key: a digest of the inputs
            <key>.epoch-<N>.arrow     with BPE-dropout, where each epoch has its own segmentation
            <name>.tmp, <name>.log    during the build: the finished chunks, and a line on each of them
            <name>.lock               held by the process that builds the store

If a build is killed, the next one continues from its log.
"""

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import tokenizers as library

from zhuyi.data.cache import cache_directory, exclusive, key_of
from zhuyi.data.corpus import Corpus, Pair, Text
from zhuyi.data.store import FilterReport, Store, encode_index, read_columns
from zhuyi.data.tokenise import Chunk, ChunkTokenizer, tokenised_chunks
from zhuyi.errors import DataError
from zhuyi.text.tokenizer import Tokenizers

FORMAT = 5
"""Version of the file that `store.py` reads and of the code that fills it. When it changes, stores are built again."""
CHUNK_PAIRS = 10_000
"""Most pairs in a chunk, and so in a record batch."""
CHUNK_CHARACTERS = 1 << 23
"""A chunk with this many characters gets no further pairs, since lines may be long."""
ABANDONED_SECONDS = 7 * 86_400.0
"""Age at which the files of a build that was not continued are removed."""


def build_store(
    corpus: Corpus | Text,
    tokenizers: Tokenizers,
    max_length: int | None,
    long_lines: str,
    *,
    dropout: float = 0.0,
    epoch: int | None = None,
    oldest: int = 0,
    progress: Callable[[int], None] | None = None,
    processes: int | None = None,
) -> Store:
    """The store of these inputs, from the cache if it is there; otherwise it is built.

    If another process is building the same store, this one waits for it. If a build was killed, this one continues it.

    Args:
        corpus: the pairs or the running text.
        tokenizers: of both sides.
        max_length: most tokens of a side, including its BOS or EOS, so that a line has at most max_length - 1 tokens.
            None, for running text: no line is left out, however long, or empty.
        long_lines: what to do with longer pairs, as `data.long_lines`: error, skip or truncate.
        dropout: the probability with which BPE-dropout omits a merge. A line that becomes too long is segmented
            without dropout, so that every epoch has the same pairs.
        epoch: with dropout, the epoch that this segmentation is for. The same epoch always has the same file.
        oldest: with dropout, segmentations of earlier epochs than this are removed. A run that is resumed from its
            last checkpoint begins with this epoch.
        progress: called repeatedly with the number of pairs that are tokenised.
        processes: the number of workers. None: the number of CPU cores that this process may use.

    Raises:
        DataError: if the corpus cannot be read, if pairs are too long and `long_lines` is error, if no pair is left,
            or if the cache cannot be written.
        ZhuyiError: if a worker dies.
    """
    assert not dropout or epoch is not None
    folder = cache_directory()
    key = _key(corpus, tokenizers, max_length, long_lines, dropout)
    path = folder / (f"{key}.epoch-{epoch}.arrow" if dropout else f"{key}.arrow")
    if store := _whole(path):
        return store
    tokenize = ChunkTokenizer(tokenizers, max_length, long_lines, dropout)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        with _draft(path) as draft:
            if store := _whole(path):  # built by the process that this one has waited for
                return store
            draft.begin(tokenize.schema, _lengths_type(max_length), long_lines)
            chunks = islice(_chunks(corpus), draft.chunks, None)
            if progress:
                progress(draft.report.pairs)
            for report, message in tokenised_chunks(tokenize, chunks, processes):
                draft.add(report, message)
                if progress:
                    progress(draft.report.pairs)
            _check(draft.report, corpus, max_length)
            draft.finish()
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the tokenised corpus: {error.strerror or error}; "
            "free some space and give the same command again, which continues from there, or set ZHUYI_CACHE to a "
            "directory that can be written"
        ) from error
    if dropout and epoch is not None:
        for older in folder.glob(f"{key}.epoch-*.arrow"):
            number = older.stem.rpartition("-")[2]
            if number.isdecimal() and int(number) < oldest:
                with suppress(PermissionError):  # Windows cannot remove a mapped file: a later epoch removes it
                    older.unlink(missing_ok=True)
    return Store(path)


def _whole(path: Path) -> Store | None:
    """The store at `path`; None if it does not exist, cannot be read or is damaged."""
    try:
        return Store(path) if path.exists() else None
    except (OSError, ValueError):
        return None


def _key(corpus: Corpus | Text, tokenizers: Tokenizers, max_length: int | None, long_lines: str, dropout: float) -> str:
    return key_of(
        {
            "format": FORMAT,
            "library": library.__version__,
            "corpus": corpus.fingerprint(),
            "tokenizers": tokenizers.files(),
            "templates": [asdict(each) for each in tokenizers.templates],
            "max_length": max_length,
            "long_lines": long_lines,
            "dropout": dropout,
        }
    )


def _chunks(corpus: Corpus | Text) -> Iterator[Chunk]:
    chunk: list[Pair] = []
    characters = 0
    for pair in corpus:
        chunk.append(pair)
        characters += len(pair.source) + len(pair.target)
        if len(chunk) == CHUNK_PAIRS or characters >= CHUNK_CHARACTERS:
            yield _columns(chunk)
            chunk, characters = [], 0
    if chunk:
        yield _columns(chunk)


def _columns(chunk: list[Pair]) -> Chunk:
    return chunk[0].line, [pair.source for pair in chunk], [pair.target for pair in chunk]


def _lengths_type(max_length: int | None) -> str:
    return "uint16" if max_length is not None and max_length <= 1 << 16 else "int32"


def _check(report: FilterReport, corpus: Corpus | Text, max_length: int | None) -> None:
    """Raise DataError if pairs are too long and may not be, or if none is left."""
    limit = f"{max_length - 1} tokens (model.max_length = {max_length}, with BOS or EOS)" if max_length else ""
    empty_lines, long_lines = _listed(report.empty, report.empty_lines), _listed(report.long, report.long_lines)
    if report.long_policy == "error" and report.long:
        raise DataError(
            f"{corpus.source}: {report.long:,} of {report.pairs:,} pairs are longer than {limit} "
            f"(lines {long_lines}): raise it, or set data.long_lines to skip or truncate"
        )
    if not report.kept:
        raise DataError(
            f"{corpus.source}: nothing to train on: of {report.pairs:,} pairs {report.empty:,} have an empty side "
            f"(lines {empty_lines}) and {report.long:,} are longer than {limit} (lines {long_lines})"
        )


def _listed(count: int, first: tuple[int, ...]) -> str:
    """The line numbers of `count` pairs, of which `first` are known."""
    return (", ".join(map(str, first)) or "none") + (", …" if count > len(first) else "")


class _Draft:
    """An unfinished store: the finished chunks, and a log of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = open(_beside(path, "log"), "a+b")  # noqa: SIM115 – both are closed by `close`
        self._content = open(_beside(path, "tmp"), "a+b")  # noqa: SIM115
        self._batches: list[tuple[int, int, int]] = []
        self._lengths = (bytearray(), bytearray())
        self.report: FilterReport
        """On the finished chunks."""
        self.chunks = 0
        """The number of finished chunks."""

    def begin(self, schema: pa.Schema, lengths: str, long_policy: str) -> None:
        """Keep the undamaged chunks of an earlier draft, and discard the rest.

        Args:
            schema: of the record batches.
            lengths: the type of lengths, as numpy names it.
            long_policy: as `data.long_lines`.
        """
        self._schema, self._type = schema, lengths
        self.report = FilterReport(0, 0, 0, (), 0, (), long_policy)
        self._head = schema.serialize().to_pybytes()
        self._content.seek(0)
        good = len(self._head) if self._content.read(len(self._head)) == self._head else 0
        logged = 0
        self._log.seek(0)
        for line in self._log if good else ():
            try:
                values, size, crc = json.loads(line)
                report = FilterReport.from_dict(values)
            except (ValueError, TypeError):  # damaged; or the last line, cut off
                break
            message = self._content.read(size)
            if len(message) < size or zlib.crc32(message) != crc:
                break
            self._count(report, message, crc)
            good, logged = good + size, logged + len(line)
        self._content.truncate(good)
        self._log.truncate(logged)
        if not good:
            self._content.write(self._head)

    def add(self, report: FilterReport, message: bytes) -> None:
        """Add the next chunk. Its line in the log comes last, so that a kill in between costs only this chunk."""
        self._content.write(message)
        self._content.flush()
        crc = zlib.crc32(message)
        self._log.write(json.dumps([asdict(report), len(message), crc]).encode() + b"\n")
        self._log.flush()
        self._count(report, message, crc)

    def _count(self, report: FilterReport, message: bytes, crc: int) -> None:
        self.chunks += 1
        self.report += report
        if message:
            self._batches.append((len(message), report.kept, crc))
            columns = read_columns(message, self._schema)
            for lengths, offsets in zip(self._lengths, columns.offsets.values(), strict=True):
                lengths += np.diff(offsets).astype(self._type).tobytes()

    def finish(self) -> None:
        """Write the index, and move the file to its path, where it appears complete."""
        for content in encode_index(self._head, self._batches, self._type, self._lengths, self.report):
            self._content.write(content)
        self._content.flush()
        os.fsync(self._content.fileno())
        self._content.close()  # Windows renames no open file
        os.replace(self._content.name, self.path)

    def close(self) -> None:
        self._content.close()
        self._log.close()

    def remove(self) -> None:
        self.close()
        for ending in ("tmp", "log"):
            _beside(self.path, ending).unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


@contextmanager
def _draft(path: Path) -> Iterator[_Draft]:
    """The draft of the store at `path`, which one process at a time has; others wait.

    After a DataError, and when the store is finished, the draft is removed. If the process was killed or stopped by
    Ctrl-C, or the disk was full, the draft remains, and the next process continues it.
    """
    with exclusive(_beside(path, "lock"), wait=True), closing(_Draft(path)) as draft:
        try:
            yield draft
        except DataError:
            draft.remove()
            raise
        draft.remove()


def _remove_abandoned(folder: Path) -> None:
    for rest in (file for ending in ("tmp", "log", "lock") for file in folder.glob(f"*.arrow.{ending}")):
        with suppress(OSError):  # its process is running, or has just ended
            if time.time() - rest.stat().st_mtime > ABANDONED_SECONDS:
                with exclusive(rest.with_suffix(".lock"), wait=False):
                    rest.unlink()
