"""The tokenised corpus: an Arrow file that is built once and memory-mapped ever after.

    <cache>/<key>.arrow               key: a digest of all that made it
            <key>.epoch-<N>.arrow     with BPE-dropout, where each epoch has its own segmentation
            <name>.tmp, <name>.log    while it is being made: the pieces that are finished, and a line on each
            <name>.lock               held by the process that makes it

It is an Arrow stream: record batches of at most ten thousand pairs, with the columns of `tokenise.schema`. After
its end come an index – the `Outcome`; place, length, rows and CRC-32 of every record batch; the lengths of all
lines – and a tail with the index's own size and CRC-32.

So opening it reads four bytes a pair, however long the lines are; a record batch is checked when it is first looked
at; and what has been looked at does not stay in memory for long. A build that is killed goes on from its log.
"""

import json
import mmap
import os
import struct
import time
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tokenizers as library

from zhuyi.data.cache import cache_directory, exclusive, key_of
from zhuyi.data.corpus import Corpus
from zhuyi.data.tokenise import SHOWN, Chunk, Piece, Recipe, pieces
from zhuyi.errors import DataError
from zhuyi.text.tokenizer import Tokenizers

FORMAT = 4
CHUNK = 10_000
"""Pairs that are tokenised at once, and the most of a record batch."""
RESIDENT = 1 << 26
"""Most bytes of the file that are left in this process's memory after they were looked at."""
ABANDONED = 7 * 86_400.0
"""Seconds after which the rest of a build that nobody went on with is removed."""

Side = Literal["source", "target"]
Integers = npt.NDArray[np.integer[Any]]

_END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream
_TAIL = struct.Struct("<QQI")  # bytes of the index's JSON; bytes of the whole index; CRC-32 of all but record batches


@dataclass(frozen=True)
class Outcome:
    """What became of the pairs of the corpus. Nothing is left out without being counted here."""

    pairs: int
    """Pairs in the corpus."""
    kept: int
    """Pairs in the store."""
    empty: int
    """Pairs left out because a side of theirs has no tokens."""
    empty_lines: tuple[int, ...]
    """The first ten of them."""
    long: int
    """Pairs longer than the limit on one side or both."""
    long_lines: tuple[int, ...]
    """The first ten of them."""
    long_policy: str
    """What was done with them: `skip` or `truncate`."""
    returns: int = 0
    """Pairs with a carriage return within a side: it is a character like any other."""
    return_lines: tuple[int, ...] = ()
    """The first ten of them."""
    spaced: int = 0
    """Pairs with white space that is not kept: at the beginning of a side, tabs, or several spaces in a row."""
    spaced_lines: tuple[int, ...] = ()
    """The first ten of them."""
    quoted: int = 0
    """Sides that begin and end with a quote, as in a table that is CSV."""
    copies: int = 0
    """Pairs whose target is the source."""
    not_nfc: int = 0
    """Lines of either side that are not in Unicode NFC."""
    marks: dict[str, int] = field(default_factory=dict)
    """Target lines with each mark of segmented text: see `text.segmentation`."""


class Store:
    """Tokenised pairs 0 to len - 1, in the order of the corpus. The tokens stay on disk until they are looked at.

    Attributes:
        path: the file.
        source_lengths, target_lengths: uint16 (or int32) [pairs], tokens without BOS and EOS: views into the file.
        outcome: what was kept and what was not.
    """

    source_lengths: Integers
    target_lengths: Integers
    outcome: Outcome

    def __init__(self, path: Path) -> None:
        """Open a file that `build_store` wrote.

        Raises:
            ValueError: if its index is damaged. (A damaged record batch is noticed when it is looked at.)
        """
        self.path = path
        try:
            with open(path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            header_bytes, index_bytes, crc = _TAIL.unpack(self._map[-_TAIL.size :])
        except (OSError, ValueError, struct.error) as error:
            raise ValueError(f"{path}: {error}") from error
        content = memoryview(self._map)
        start = len(content) - _TAIL.size - index_bytes
        if header_bytes > index_bytes or start < len(_END):
            raise ValueError(f"{path}: damaged")
        try:
            index = json.loads(bytes(content[start : start + header_bytes]))
            head, end = index["head"], index["head"] + sum(size for size, _, _ in index["batches"])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: damaged") from error
        if end + len(_END) != start or zlib.crc32(content[end : -_TAIL.size], zlib.crc32(content[:head])) != crc:
            raise ValueError(f"{path}: damaged")
        lines = {key: tuple(value) for key, value in index["outcome"].items() if key.endswith("_lines")}
        self.outcome = Outcome(**{**index["outcome"], **lines})
        sizes, rows, self._crcs = zip(*index["batches"], strict=True)
        self._places = np.cumsum([head, *sizes]).tolist()
        self._starts = np.cumsum([0, *rows]).tolist()
        lengths = np.frombuffer(content[start + header_bytes : -_TAIL.size], index["lengths"])
        self.source_lengths, self.target_lengths = lengths.reshape(2, len(self))
        self._content = content
        self._schema = pa.ipc.read_schema(pa.py_buffer(content[:head]))
        self._sound = bytearray(len(sizes))
        self._open: dict[int, _Columns] = {}
        self._looked_at = 0

    def __len__(self) -> int:
        return int(self._starts[-1])

    def source(self, i: int) -> Integers:
        """Source tokens of pair i: a read-only view into the file.

        Raises:
            DataError: if that part of the file is damaged.
        """
        return self._tokens("source", i)

    def target(self, i: int) -> Integers:
        """Target tokens of pair i, as `source`."""
        return self._tokens("target", i)

    def line(self, i: int) -> int:
        """Where pair i stands in the corpus, from 1."""
        columns, row = self._row(i)
        return int(columns.line[row])

    def parts(self) -> "Iterator[_Columns]":
        """All of it, in order, some thousand pairs at a time."""
        return map(self._columns, range(len(self._crcs)))

    def _tokens(self, side: Side, i: int) -> Integers:
        columns, row = self._row(i)
        start, end = columns.offsets[side][row : row + 2]
        return columns.values[side][start:end]

    def _row(self, i: int) -> tuple["_Columns", int]:
        part = bisect_right(self._starts, i) - 1
        return self._columns(part), i - self._starts[part]

    def _columns(self, part: int) -> "_Columns":
        if columns := self._open.get(part):
            return columns
        start, end = self._places[part : part + 2]
        message = self._content[start:end]
        if not self._sound[part]:
            if zlib.crc32(message) != self._crcs[part]:
                raise DataError(f"{self.path}: damaged: remove it, and it will be made again")
            self._sound[part] = True
        if self._looked_at > RESIDENT:
            self._forget()
        self._looked_at += end - start
        columns = self._open[part] = _columns(message, self._schema)
        return columns

    def _forget(self) -> None:
        """Give back the memory of what was looked at; views stay valid, and the kernel may still have it cached."""
        self._open.clear()
        self._looked_at = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class _Columns:
    """A record batch as numpy views: nothing is copied."""

    line: npt.NDArray[np.int64]
    offsets: dict[Side, npt.NDArray[np.int32]]
    values: dict[Side, Integers]
    source_digest: npt.NDArray[np.uint64]
    pair_digest: npt.NDArray[np.uint64]


def _columns(message: Any, schema: pa.Schema) -> _Columns:
    batch = pa.ipc.read_record_batch(pa.py_buffer(message), schema)
    sides: tuple[Side, Side] = ("source", "target")
    return _Columns(
        batch.column("line").to_numpy(),
        {side: batch.column(side).offsets.to_numpy() for side in sides},
        {side: batch.column(side).values.to_numpy() for side in sides},
        batch.column("source_digest").to_numpy(),
        batch.column("pair_digest").to_numpy(),
    )


def build_store(
    corpus: Corpus,
    tokenizers: Tokenizers,
    max_length: int,
    long_lines: str,
    *,
    dropout: float = 0.0,
    epoch: int | None = None,
    oldest: int = 0,
    progress: Callable[[int], None] | None = None,
    processes: int | None = None,
) -> Store:
    """The store of these inputs: read from the cache, or made and put there.

    If another process is at the same one, this one waits for it. If one was killed at it, this one goes on.

    Args:
        corpus: where the pairs come from.
        tokenizers: of both sides.
        max_length: most tokens of a side, its BOS or EOS counted: a side may have max_length - 1 of its own.
        long_lines: what to do with longer ones, as `data.long_lines`: error, skip or truncate.
        dropout: share of BPE merges left out at random. A line that gets too long by it keeps its plain
            segmentation, so that every epoch has the same pairs.
        epoch: with dropout, which epoch's segmentation this is: the same epoch again reads the same file.
            Those before `oldest` are removed: a run that is resumed from its last checkpoint begins in that one.
        oldest: see there.
        progress: told the number of pairs read so far, now and then.
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
    recipe = Recipe(tokenizers, max_length, long_lines, dropout)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        with _draft(path) as draft:
            if store := _whole(path):  # made by the one that we waited for
                return store
            tally = draft.begin(recipe.schema, _lengths_type(max_length))
            chunks = islice(_chunks(corpus), draft.chunks, None)
            if progress:
                progress(tally.pairs)
            for piece, message in pieces(recipe, chunks, processes):
                draft.add(piece, message)
                if progress:
                    progress(tally.pairs)
            draft.finish(tally.outcome(corpus, max_length, long_lines))
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the tokenised corpus: {error.strerror or error}; "
            "free some space and give the same command again, which goes on from there, or set ZHUYI_CACHE to a "
            "directory that can be written"
        ) from error
    if dropout and epoch is not None:
        for older in folder.glob(f"{key}.epoch-*.arrow"):
            number = older.stem.rpartition("-")[2]
            if number.isdecimal() and int(number) < oldest:
                older.unlink(missing_ok=True)
    return Store(path)


def _whole(path: Path) -> Store | None:
    """The store, if it is there, can be read and is not damaged."""
    try:
        return Store(path) if path.exists() else None
    except (OSError, ValueError):
        return None


def _key(corpus: Corpus, tokenizers: Tokenizers, max_length: int, long_lines: str, dropout: float) -> str:
    return key_of(
        {
            "format": FORMAT,
            "library": library.__version__,
            "corpus": corpus.fingerprint(),
            "tokenizers": tokenizers.files(),
            "max_length": max_length,
            "long_lines": long_lines,
            "dropout": dropout,
        }
    )


def _chunks(corpus: Corpus) -> Iterator[Chunk]:
    pairs = iter(corpus)
    while chunk := list(islice(pairs, CHUNK)):
        yield chunk[0].line, [pair.source for pair in chunk], [pair.target for pair in chunk]


def _lengths_type(max_length: int) -> str:
    return "uint16" if max_length <= 1 << 16 else "int32"


@dataclass
class _Count:
    """A count, and the first few lines that were counted."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, count: int, lines: list[int]) -> None:
        self.count += count
        self.first += lines[: SHOWN - len(self.first)]

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

    def add(self, piece: Piece) -> None:
        self.pairs += piece.pairs
        self.kept += piece.kept
        self.empty.add(piece.empty, piece.empty_lines)
        self.long.add(piece.long, piece.long_lines)
        self.returns.add(piece.returns, piece.return_lines)
        self.spaced.add(piece.spaced, piece.spaced_lines)
        self.quoted += piece.quoted
        self.copies += piece.copies
        self.not_nfc += piece.not_nfc
        self.marks.update(piece.marks)

    def outcome(self, corpus: Corpus, max_length: int, long_lines: str) -> Outcome:
        """Raises DataError where the policy or an empty result asks for it."""
        limit = f"{max_length - 1} tokens (model.max_length = {max_length}, with BOS or EOS)"
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
        return Outcome(*counts, long_lines, *more, copies=self.copies, not_nfc=self.not_nfc, marks=dict(self.marks))


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
        """Take what is whole of an earlier one, and forget the rest. Gives the tally of it, which goes on with it."""
        self._schema, self._type = schema, lengths
        self._head = schema.serialize().to_pybytes()
        self._content.seek(0)
        good = len(self._head) if self._content.read(len(self._head)) == self._head else 0
        logged = 0
        self._log.seek(0)
        for line in self._log if good else ():
            try:
                piece = Piece(**json.loads(line))
            except (ValueError, TypeError):  # the last line, cut off
                break
            message = self._content.read(piece.bytes)
            if len(message) < piece.bytes or zlib.crc32(message) != piece.crc:
                break
            self._count(piece, message)
            good, logged = good + piece.bytes, logged + len(line)
        self._content.truncate(good)
        self._log.truncate(logged)
        if not good:
            self._content.write(self._head)
        return self._tally

    def add(self, piece: Piece, message: bytes) -> None:
        """The next piece. The log follows what it speaks of, so that a kill between them costs only this piece."""
        self._content.write(message)
        self._content.flush()
        self._log.write(json.dumps(asdict(piece)).encode() + b"\n")
        self._log.flush()
        self._count(piece, message)

    def _count(self, piece: Piece, message: bytes) -> None:
        self.chunks += 1
        self._tally.add(piece)
        if message:
            self._batches.append((piece.bytes, piece.kept, piece.crc))
            columns = _columns(message, self._schema)
            for lengths, offsets in zip(self._lengths, columns.offsets.values(), strict=True):
                lengths += np.diff(offsets).astype(self._type).tobytes()

    def finish(self, outcome: Outcome) -> None:
        """Write the index, and put the file where it belongs: whoever opens it there finds all of it, or nothing."""
        index = {"head": len(self._head), "batches": self._batches, "lengths": self._type, "outcome": asdict(outcome)}
        header = json.dumps(index).encode()
        header += b" " * (-len(header) % 8)  # what follows is aligned
        crc = zlib.crc32(self._head)
        for content in (_END, header, *self._lengths):
            self._content.write(content)
            crc = zlib.crc32(content, crc)
        self._content.write(_TAIL.pack(len(header), len(header) + sum(map(len, self._lengths)), crc))
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
    full, is left, and the next one goes on with it.
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
            if time.time() - rest.stat().st_mtime > ABANDONED:
                with exclusive(rest.with_suffix(".lock"), wait=False):
                    rest.unlink()
