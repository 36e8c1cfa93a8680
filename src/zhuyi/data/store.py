"""The tokenised corpus: an Arrow file that is built once and memory-mapped ever after.

    $ZHUYI_CACHE, or $XDG_CACHE_HOME/zhuyi, or ~/.cache/zhuyi
      └── <key>.arrow               key: a digest of all that made it
          <key>.epoch-<N>.arrow     with BPE-dropout, where each epoch has its own segmentation

Its columns are `line` (int64), `source` and `target` (lists of int32, without BOS and EOS), in record batches of
some thousand pairs; a last batch without rows carries the `Outcome`. After Arrow's end come four bytes: the
CRC-32 of all before them.
"""

import hashlib
import json
import os
import time
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tokenizers as library

from zhuyi.data.corpus import Corpus, Pair
from zhuyi.errors import DataError
from zhuyi.text.tokenizer import Tokenizer, Tokenizers

FORMAT = 1
CHUNK = 10_000
"""Pairs that are tokenised at once, and the most of a record batch."""
SHOWN = 10
"""Line numbers that an `Outcome` remembers of each kind."""
ABANDONED = 3600.0
"""Seconds after which a temporary file that nobody writes to is taken for the rest of a killed run."""

SEAL_BYTES = 4

Side = Literal["source", "target"]
Tokens = npt.NDArray[np.int32]

_SCHEMA = pa.schema(
    [("line", pa.int64()), ("source", pa.list_(pa.int32())), ("target", pa.list_(pa.int32()))],
)


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


class Store:
    """Tokenised pairs 0 to len - 1, in the order of the corpus. The tokens stay on disk until they are looked at.

    Attributes:
        lines: int64 [pairs], where each pair stands in the corpus, from 1.
        source_lengths, target_lengths: int32 [pairs], tokens without BOS and EOS.
        outcome: what was kept and what was not.
    """

    lines: npt.NDArray[np.int64]
    source_lengths: Tokens
    target_lengths: Tokens
    outcome: Outcome

    def __init__(self, path: Path) -> None:
        """Open a file that `build_store` wrote.

        Raises:
            ValueError: if it is damaged.
        """
        try:
            file = pa.memory_map(str(path)).read_buffer()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}: {error}") from error
        arrow, seal = file[:-SEAL_BYTES], file[-SEAL_BYTES:]
        if len(file) < SEAL_BYTES or _seal(arrow) != seal.to_pybytes():
            raise ValueError(f"{path}: damaged")
        reader = pa.ipc.open_file(arrow)
        *batches, last = [reader.get_batch_with_custom_metadata(i) for i in range(reader.num_record_batches)]
        outcome = json.loads(last.custom_metadata["outcome"])
        lines = {key: tuple(outcome[key]) for key in ("empty_lines", "long_lines")}
        self.outcome = Outcome(**{**outcome, **lines})
        columns = [_columns(batch.batch) for batch in batches]
        self._batches = columns
        self._starts = np.cumsum([0, *(len(column.line) for column in columns)]).tolist()
        self.lines = np.concatenate([column.line for column in columns])
        self.source_lengths = np.concatenate([np.diff(column.offsets["source"]) for column in columns])
        self.target_lengths = np.concatenate([np.diff(column.offsets["target"]) for column in columns])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def source(self, i: int) -> Tokens:
        """Source tokens of pair i: a read-only view into the file."""
        return self._tokens("source", i)

    def target(self, i: int) -> Tokens:
        """Target tokens of pair i: a read-only view into the file."""
        return self._tokens("target", i)

    def runs(self, side: Side) -> Iterator[Tokens]:
        """All tokens of a side, one pair after the other, some thousand pairs at a time."""
        return (column.values[side] for column in self._batches)

    def _tokens(self, side: Side, i: int) -> Tokens:
        batch = bisect_right(self._starts, i) - 1
        column, row = self._batches[batch], i - self._starts[batch]
        start, end = column.offsets[side][row : row + 2]
        return column.values[side][start:end]


def build_store(
    corpus: Corpus,
    tokenizers: Tokenizers,
    max_length: int,
    long_lines: str,
    *,
    dropout: float = 0.0,
    epoch: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Store:
    """The store of these inputs: read from the cache, or made and put there.

    Args:
        corpus: where the pairs come from.
        tokenizers: of both sides.
        max_length: most tokens of a side, its BOS or EOS counted: a side may have max_length - 1 of its own.
        long_lines: what to do with longer ones, as `data.long_lines`: error, skip or truncate.
        dropout: share of BPE merges left out at random. A line that gets too long by it keeps its plain
            segmentation, so that every epoch has the same pairs.
        epoch: with dropout, which epoch's segmentation this is: the same epoch again reads the same file.
            Those before the last one are removed.
        progress: told the number of pairs read so far, now and then.

    Raises:
        DataError: if the corpus cannot be read, if lines are too long and may not be, if nothing is left, or if
            the cache cannot be written.
    """
    assert not dropout or epoch is not None
    folder = cache_directory()
    key = _key(corpus, tokenizers, max_length, long_lines, dropout)
    path = folder / (f"{key}.epoch-{epoch}.arrow" if dropout else f"{key}.arrow")
    if path.exists():
        try:
            return Store(path)
        except ValueError:
            pass  # damaged: made again below
    chunks = _Chunks(corpus, tokenizers, max_length, long_lines, dropout, progress)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        _write(path, chunks)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the tokenised corpus: {error.strerror or error}; "
            "set ZHUYI_CACHE to a directory that can be written, with room"
        ) from error
    if dropout and epoch is not None:
        # The epoch before is kept: a run that is resumed from its last checkpoint may still be in it.
        for older in folder.glob(f"{key}.epoch-*.arrow"):
            number = older.stem.rpartition("-")[2]
            if number.isdecimal() and int(number) < epoch - 1:
                older.unlink(missing_ok=True)
    return Store(path)


def cache_directory() -> Path:
    """Where stores live: see the head of this file."""
    if chosen := os.environ.get("ZHUYI_CACHE"):
        return Path(chosen)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "zhuyi"
    return Path.home() / ".cache" / "zhuyi"


def _key(corpus: Corpus, tokenizers: Tokenizers, max_length: int, long_lines: str, dropout: float) -> str:
    made_of = {
        "format": FORMAT,
        "library": library.__version__,
        "corpus": corpus.fingerprint(),
        "tokenizers": tokenizers.files(),
        "max_length": max_length,
        "long_lines": long_lines,
        "dropout": dropout,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


@dataclass
class _Tally:
    """A count, and the first few lines that were counted."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(line)


class _Chunks:
    """The corpus, tokenised, as record batches; after the last one, `outcome`."""

    def __init__(
        self,
        corpus: Corpus,
        tokenizers: Tokenizers,
        max_length: int,
        long_lines: str,
        dropout: float,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.corpus, self.tokenizers, self.progress = corpus, tokenizers, progress
        self.max_length, self.long_lines = max_length, long_lines
        self.random = (tokenizers.source.with_dropout(dropout), tokenizers.target.with_dropout(dropout))
        self.pairs = self.kept = 0
        self.empty, self.long = _Tally(), _Tally()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        pairs = iter(self.corpus)
        while chunk := list(islice(pairs, CHUNK)):
            self.pairs += len(chunk)
            rows = list(self._usable(chunk))
            if rows:
                self.kept += len(rows)
                columns = zip(*rows, strict=True)
                yield pa.record_batch(
                    [pa.array(column, type) for column, type in zip(columns, _SCHEMA.types, strict=True)],
                    schema=_SCHEMA,
                )
            if self.progress:
                self.progress(self.pairs)

    def outcome(self) -> Outcome:
        """Raises DataError where the policy or an empty result asks for it."""
        limit = f"{self.max_length - 1} tokens (model.max_length = {self.max_length}, with BOS or EOS)"
        if self.long_lines == "error" and self.long.count:
            raise DataError(
                f"{self.corpus.source}: {self.long.count:,} of {self.pairs:,} pairs are longer than {limit} "
                f"(lines {_listed(self.long)}): raise it, or set data.long_lines to skip or truncate"
            )
        if not self.kept:
            raise DataError(
                f"{self.corpus.source}: nothing to train on: of {self.pairs:,} pairs {self.empty.count:,} have an "
                f"empty side (lines {_listed(self.empty)}) and {self.long.count:,} are longer than {limit} "
                f"(lines {_listed(self.long)})"
            )
        return Outcome(
            self.pairs,
            self.kept,
            self.empty.count,
            tuple(self.empty.first),
            self.long.count,
            tuple(self.long.first),
            self.long_lines,
        )

    def _usable(self, chunk: list[Pair]) -> Iterator[tuple[int, list[int], list[int]]]:
        most = self.max_length - 1
        sources = self._encode([pair.source for pair in chunk], self.tokenizers.source, self.random[0])
        targets = self._encode([pair.target for pair in chunk], self.tokenizers.target, self.random[1])
        for pair, source, target in zip(chunk, sources, targets, strict=True):
            if not source or not target:
                self.empty.add(pair.line)
                continue
            if max(len(source), len(target)) > most:
                self.long.add(pair.line)
                if self.long_lines != "truncate":
                    continue
            yield pair.line, source[:most], target[:most]

    def _encode(self, lines: list[str], plain: Tokenizer, random: Tokenizer) -> list[list[int]]:
        tokens = random.encode(lines)
        if random is not plain:
            long = [i for i, line in enumerate(tokens) if len(line) > self.max_length - 1]
            for i, line in zip(long, plain.encode([lines[i] for i in long]), strict=True):
                tokens[i] = line
        return tokens


def _listed(tally: _Tally) -> str:
    lines = ", ".join(map(str, tally.first)) or "none"
    return lines + ", …" if tally.count > len(tally.first) else lines


@dataclass(frozen=True)
class _Columns:
    """A record batch as numpy views: nothing is copied."""

    line: npt.NDArray[np.int64]
    offsets: dict[Side, Tokens]
    values: dict[Side, Tokens]


def _columns(batch: pa.RecordBatch) -> _Columns:
    sides: tuple[Side, Side] = ("source", "target")
    lists = {side: batch.column(side) for side in sides}
    return _Columns(
        batch.column("line").to_numpy(),
        {side: lists[side].offsets.to_numpy() for side in sides},
        {side: lists[side].values.to_numpy() for side in sides},
    )


def _seal(content: Any) -> bytes:
    """The checksum of a buffer, as it stands at the end of a file."""
    return zlib.crc32(content).to_bytes(SEAL_BYTES, "little")


def _write(path: Path, chunks: _Chunks) -> None:
    """Write beside `path`, then rename: whoever opens `path` finds all of it, or the old one, or nothing."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            with pa.ipc.new_file(file, _SCHEMA) as writer:
                for batch in chunks:
                    writer.write_batch(batch)
                outcome = json.dumps(asdict(chunks.outcome()))
                writer.write_batch(pa.RecordBatch.from_pylist([], _SCHEMA), custom_metadata={"outcome": outcome})
            file.flush()
            file.write(_seal(pa.memory_map(str(temporary)).read_buffer()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    for rest in folder.glob("*.tmp"):
        try:
            if time.time() - rest.stat().st_mtime > ABANDONED:
                rest.unlink()
        except FileNotFoundError:
            pass  # its owner has just renamed it
