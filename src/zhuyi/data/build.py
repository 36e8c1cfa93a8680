"""Building a store: a corpus and its tokenizers → a file in the cache, made once for the same ingredients.

    <cache>/<key>.arrow               key: a digest of all that made it
            <key>.epoch-<N>.arrow     with BPE-dropout, where each epoch has its own segmentation
            <name>.tmp, <name>.log    while it is being made: the chunks that are finished, and a line on each
            <name>.lock               held by the process that makes it

A build that is killed continues from its log.
"""

import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import tokenizers as library

from zhuyi.data.cache import cache_directory, exclusive, key_of
from zhuyi.data.corpus import Corpus, Pair, Text
from zhuyi.data.store import FilterReport, Store, encode_index, read_columns
from zhuyi.data.tokenise import MAX_LINES, Chunk, ChunkReport, ChunkTokenizer, tokenised_chunks
from zhuyi.errors import DataError
from zhuyi.text.tokenizer import Tokenizers

FORMAT = 5
"""Version of the file that `store.py` reads and of the code that fills it. When it changes, stores are built again."""
CHUNK_PAIRS = 10_000
"""Pairs that are tokenised at once, and the most of a record batch."""
CHUNK_CHARACTERS = 1 << 23
"""Characters from which a chunk has no further pairs: lines may be long."""
ABANDONED_SECONDS = 7 * 86_400.0
"""Seconds after which the rest of a build that nobody went on with is removed."""


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
    """The store of these inputs: read from the cache, or made and put there.

    If another process is at the same one, this one waits for it. If one was killed at it, this one continues.

    Args:
        corpus: where the pairs come from.
        tokenizers: of both sides.
        max_length: most tokens of a side, its BOS or EOS counted: a side may have max_length - 1 of its own. None:
            nothing is left out, neither for its length nor for being empty, as running text wants it.
        long_lines: what to do with longer ones, as `data.long_lines`: error, skip or truncate.
        dropout: share of BPE merges left out at random. A line that gets too long by it keeps its plain
            segmentation, so that every epoch has the same pairs.
        epoch: with dropout, which epoch's segmentation this is: the same epoch again reads the same file.
            Those before `oldest` are removed: a run that is resumed from its last checkpoint begins in that one.
        oldest: see there.
        progress: called with the number of pairs read so far, now and then.
        processes: how many tokenise. Unset: as many as there are CPU cores for this one.

    Raises:
        DataError: if the corpus cannot be read, if lines are too long and may not be, if nothing is left, or if
            the cache cannot be written.
        ZhuyiError: if a process that tokenises dies.
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
            if store := _whole(path):  # made by the one that we waited for
                return store
            tally = draft.begin(tokenize.schema, _lengths_type(max_length))
            chunks = islice(_chunks(corpus), draft.chunks, None)
            if progress:
                progress(tally.pairs)
            for report, message in tokenised_chunks(tokenize, chunks, processes):
                draft.add(report, message)
                if progress:
                    progress(tally.pairs)
            draft.finish(tally.outcome(corpus, max_length, long_lines))
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
                with suppress(PermissionError):  # Windows removes no file that is mapped: then after a later epoch
                    older.unlink(missing_ok=True)
    return Store(path)


def _whole(path: Path) -> Store | None:
    """The store, if it is there, can be read and is not damaged."""
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


@dataclass
class _Count:
    """A count, and the first few lines that were counted."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, count: int, lines: list[int]) -> None:
        self.count += count
        self.first += lines[: MAX_LINES - len(self.first)]

    def __str__(self) -> str:
        lines = ", ".join(map(str, self.first)) or "none"
        return lines + ", …" if self.count > len(self.first) else lines


@dataclass
class _Tally:
    """What became of the pairs so far."""

    pairs: int = 0
    kept: int = 0
    empty: _Count = field(default_factory=_Count)
    long: _Count = field(default_factory=_Count)
    returns: _Count = field(default_factory=_Count)
    spaced: _Count = field(default_factory=_Count)
    quoted: int = 0
    copies: int = 0
    not_nfc: int = 0
    marks: Counter[str] = field(default_factory=Counter)
    characters: int = 0
    bytes: int = 0

    def add(self, report: ChunkReport) -> None:
        self.pairs += report.pairs
        self.kept += report.kept
        self.empty.add(report.empty, report.empty_lines)
        self.long.add(report.long, report.long_lines)
        self.returns.add(report.returns, report.return_lines)
        self.spaced.add(report.spaced, report.spaced_lines)
        self.quoted += report.quoted
        self.copies += report.copies
        self.not_nfc += report.not_nfc
        self.marks.update(report.marks)
        self.characters += report.text_characters
        self.bytes += report.text_bytes

    def outcome(self, corpus: Corpus | Text, max_length: int | None, long_lines: str) -> FilterReport:
        """Raises DataError where the policy or an empty result asks for it."""
        limit = f"{max_length - 1} tokens (model.max_length = {max_length}, with BOS or EOS)" if max_length else ""
        if long_lines == "error" and self.long.count:
            raise DataError(
                f"{corpus.source}: {self.long.count:,} of {self.pairs:,} pairs are longer than {limit} "
                f"(lines {self.long}): raise it, or set data.long_lines to skip or truncate"
            )
        if not self.kept:
            raise DataError(
                f"{corpus.source}: nothing to train on: of {self.pairs:,} pairs {self.empty.count:,} have an "
                f"empty side (lines {self.empty}) and {self.long.count:,} are longer than {limit} "
                f"(lines {self.long})"
            )
        empty, long, returns, spaced = (
            (each.count, tuple(each.first)) for each in (self.empty, self.long, self.returns, self.spaced)
        )
        counts = self.pairs, self.kept, *empty, *long
        more = *returns, *spaced, self.quoted
        sizes = self.characters, self.bytes
        return FilterReport(*counts, long_lines, *more, self.copies, self.not_nfc, dict(self.marks), *sizes)


class _Draft:
    """A store in the making: what is finished of it, and a log that says how far that is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = open(_beside(path, "log"), "a+b")  # noqa: SIM115 – both are closed by `close`
        self._content = open(_beside(path, "tmp"), "a+b")  # noqa: SIM115
        self._batches: list[tuple[int, int, int]] = []
        self._lengths = (bytearray(), bytearray())
        self._tally = _Tally()
        self.chunks = 0
        """Chunks of the corpus that are finished."""

    def begin(self, schema: pa.Schema, lengths: str) -> _Tally:
        """Take what is whole of an earlier one, and forget the rest. Gives the tally of it, which continues with it."""
        self._schema, self._type = schema, lengths
        self._head = schema.serialize().to_pybytes()
        self._content.seek(0)
        good = len(self._head) if self._content.read(len(self._head)) == self._head else 0
        logged = 0
        self._log.seek(0)
        for line in self._log if good else ():
            try:
                report = ChunkReport(**json.loads(line))
            except (ValueError, TypeError):  # the last line, cut off
                break
            message = self._content.read(report.bytes)
            if len(message) < report.bytes or zlib.crc32(message) != report.crc:
                break
            self._count(report, message)
            good, logged = good + report.bytes, logged + len(line)
        self._content.truncate(good)
        self._log.truncate(logged)
        if not good:
            self._content.write(self._head)
        return self._tally

    def add(self, report: ChunkReport, message: bytes) -> None:
        """The next chunk. The log follows what it speaks of, so that a kill between them costs only this chunk."""
        self._content.write(message)
        self._content.flush()
        self._log.write(json.dumps(asdict(report)).encode() + b"\n")
        self._log.flush()
        self._count(report, message)

    def _count(self, report: ChunkReport, message: bytes) -> None:
        self.chunks += 1
        self._tally.add(report)
        if message:
            self._batches.append((report.bytes, report.kept, report.crc))
            columns = read_columns(message, self._schema)
            for lengths, offsets in zip(self._lengths, columns.offsets.values(), strict=True):
                lengths += np.diff(offsets).astype(self._type).tobytes()

    def finish(self, outcome: FilterReport) -> None:
        """Write the index, and put the file where it belongs: whoever opens it there finds all of it, or nothing."""
        for content in encode_index(self._head, self._batches, self._type, self._lengths, outcome):
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
    """The draft of the store at `path`, for this process alone: another one waits here.

    A draft that can come to nothing is removed. One whose process was killed or stopped by Ctrl-C, or whose disk was
    full, is left, and the next one continues with it.
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
        with suppress(OSError):  # its owner is at work, or has just ended
            if time.time() - rest.stat().st_mtime > ABANDONED_SECONDS:
                with exclusive(rest.with_suffix(".lock"), wait=False):
                    rest.unlink()
