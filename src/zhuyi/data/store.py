"""The tokenised corpus: a file that `build.py` writes once, and that is memory-mapped.

It is an Arrow stream: record batches of at most ten thousand pairs, with the columns of `tokenise.schema`. The stream
is followed by an index – the `FilterReport`; the length, rows and CRC-32 of every record batch; the lengths of all
lines – and by a tail with the size and CRC-32 of the index.

So opening the file reads four bytes per pair, however long the lines are. A record batch is checked when it is first
read, and does not stay in memory for long.
"""

import json
import mmap
import struct
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zhuyi.data.sequences import Integers
from zhuyi.errors import DataError

MAX_RESIDENT_BYTES = 1 << 26
"""Most bytes of the file that stay in the memory of this process after they were read."""
MAX_LINES = 10
"""Line numbers that a report lists of each kind of pair: the first ones."""

Side = Literal["source", "target"]

_END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream
_TAIL = struct.Struct("<QQI")  # bytes of the index's JSON; bytes of the whole index; CRC-32 of all but record batches


@dataclass(frozen=True)
class FilterReport:
    """What became of the pairs of a corpus, or of a part of it. No pair is left out without being counted here."""

    pairs: int
    """Pairs in the corpus."""
    kept: int
    """Pairs in the store."""
    empty: int
    """Pairs that are left out because one of their sides has no tokens."""
    empty_lines: tuple[int, ...]
    """The first `MAX_LINES` of them, as line numbers from 1."""
    long: int
    """Pairs longer than the limit on one side or both."""
    long_lines: tuple[int, ...]
    """The first `MAX_LINES` of them."""
    long_policy: str
    """What is done with them, as `data.long_lines`: error, skip or truncate."""
    returns: int = 0
    """Pairs with a carriage return within a side, where it is a character like any other."""
    return_lines: tuple[int, ...] = ()
    """The first `MAX_LINES` of them."""
    spaced: int = 0
    """Pairs with white space that is not kept: at the beginning of a side, tabs, or several spaces in a row."""
    spaced_lines: tuple[int, ...] = ()
    """The first `MAX_LINES` of them."""
    quoted: int = 0
    """Sides that begin and end with a quote, as in a table that is CSV."""
    copies: int = 0
    """Pairs whose target is the source."""
    not_nfc: int = 0
    """Lines of either side that are not in Unicode NFC."""
    marks: dict[str, int] = field(default_factory=dict)
    """Target lines with each mark of segmented text: see `text.segmentation`."""
    characters: int = 0
    """Of running text: its code points, line breaks counted."""
    bytes: int = 0
    """Of running text: its bytes in UTF-8, line breaks counted."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "FilterReport":
        """A report from its fields, which may have been JSON in between, where tuples are lists."""
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**fields)

    def __add__(self, later: "FilterReport") -> "FilterReport":
        """The report on the pairs of both, of which those of `later` come later in the corpus."""
        return FilterReport(**{key: _added(value, getattr(later, key)) for key, value in vars(self).items()})


def _added(value: Any, later: Any) -> Any:
    match value:
        case str():  # the policy
            return value
        case tuple():
            return (value + later)[:MAX_LINES]
        case dict():
            return dict(Counter(value) + Counter(later))
        case _:
            return value + later


class Store:
    """Tokenised pairs 0 to len - 1, in the order of the corpus. Tokens are read from the disk on access."""

    path: Path
    """The file."""
    source_lengths: Integers
    """Tokens of each source, without BOS and EOS: uint16 or int32 `pairs`, a view into the file."""
    target_lengths: Integers
    """The same of the targets."""
    outcome: FilterReport
    """Which pairs of the corpus were kept, and which were not."""

    def __init__(self, path: Path) -> None:
        """Open a file that `build_store` wrote.

        Raises:
            ValueError: if its index is damaged. (A damaged record batch is detected when it is read.)
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
        self.outcome = FilterReport.from_dict(index["outcome"])
        sizes, rows, self._crcs = zip(*index["batches"], strict=True)
        self._places = np.cumsum([head, *sizes]).tolist()
        self._starts = np.cumsum([0, *rows]).tolist()
        lengths = np.frombuffer(content[start + header_bytes : -_TAIL.size], index["lengths"])
        self.source_lengths, self.target_lengths = lengths.reshape(2, len(self))
        self._content = content
        self._schema = pa.ipc.read_schema(pa.py_buffer(content[:head]))
        self._sound = bytearray(len(sizes))
        self._open: dict[int, Columns] = {}
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
        """The number of pair i in the corpus, from 1."""
        columns, row = self._row(i)
        return int(columns.line[row])

    @cached_property
    def _text_starts(self) -> npt.NDArray[np.int64]:
        """The position of the first target token of each record batch in the text, and the end of the text."""
        ends = np.cumsum([self.target_lengths[a:b].sum(dtype=np.int64) for a, b in pairwise(self._starts)])
        return np.concatenate([[0], ends]).astype(np.int64)

    @property
    def text_tokens(self) -> int:
        """The number of tokens of all targets, which are the text if the store is of running text."""
        return int(self._text_starts[-1])

    def text(self, start: int, end: int) -> Integers:
        """Tokens `start` to `end` of the concatenation of all targets: a view, unless they span record batches.

        Raises:
            DataError: if that part of the file is damaged.
        """
        first, last = (int(np.searchsorted(self._text_starts, place, "right")) - 1 for place in (start, end - 1))
        found = []
        for part in range(first, last + 1):
            begins = self._text_starts[part]
            found.append(self._columns(part).values["target"][max(start - begins, 0) : end - begins])
        return found[0] if len(found) == 1 else np.concatenate(found)

    def line_of_text(self, token: int) -> int:
        """The number, from 1, of the line that contains this token of `text`."""
        part = int(np.searchsorted(self._text_starts, token, "right")) - 1
        columns = self._columns(part)
        row = np.searchsorted(columns.offsets["target"], token - self._text_starts[part], "right") - 1
        return int(columns.line[row])

    def parts(self) -> "Iterator[Columns]":
        """All record batches, in order."""
        return map(self._columns, range(len(self._crcs)))

    def _tokens(self, side: Side, i: int) -> Integers:
        columns, row = self._row(i)
        start, end = columns.offsets[side][row : row + 2]
        return columns.values[side][start:end]

    def _row(self, i: int) -> tuple["Columns", int]:
        part = bisect_right(self._starts, i) - 1
        return self._columns(part), i - self._starts[part]

    def _columns(self, part: int) -> "Columns":
        if columns := self._open.get(part):
            return columns
        start, end = self._places[part : part + 2]
        message = self._content[start:end]
        if not self._sound[part]:
            if zlib.crc32(message) != self._crcs[part]:
                raise DataError(f"{self.path}: damaged: remove it, and it will be made again")
            self._sound[part] = True
        if self._looked_at > MAX_RESIDENT_BYTES:
            self._forget()
        self._looked_at += end - start
        columns = self._open[part] = read_columns(message, self._schema)
        return columns

    def _forget(self) -> None:
        """Release the memory of what was read. Views stay valid, and the kernel may still have their pages cached."""
        self._open.clear()
        self._looked_at = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Columns:
    """A record batch as numpy views: nothing is copied."""

    line: npt.NDArray[np.int64]
    offsets: dict[Side, npt.NDArray[np.int32]]
    values: dict[Side, Integers]
    source_digest: npt.NDArray[np.uint64]
    pair_digest: npt.NDArray[np.uint64]


def read_columns(message: Any, schema: pa.Schema) -> Columns:
    """The columns of an Arrow message with a record batch of `schema`."""
    batch = pa.ipc.read_record_batch(pa.py_buffer(message), schema)
    sides: tuple[Side, Side] = ("source", "target")
    return Columns(
        batch.column("line").to_numpy(),
        {side: batch.column(side).offsets.to_numpy() for side in sides},
        {side: batch.column(side).values.to_numpy() for side in sides},
        batch.column("source_digest").to_numpy(),
        batch.column("pair_digest").to_numpy(),
    )


def encode_index(
    head: bytes,
    batches: Sequence[tuple[int, int, int]],
    lengths_type: str,
    lengths: Sequence[bytes | bytearray],
    outcome: FilterReport,
) -> list[bytes | bytearray]:
    """The parts of the file after the record batches.

    Args:
        head: the part before the record batches: the schema as an Arrow message.
        batches: the length in bytes, the rows and the CRC-32 of each record batch.
        lengths_type: the type of lengths, as numpy names it.
        lengths: of all sources, and of all targets, as bytes of that type.
        outcome: the report on the pairs.
    """
    index = {"head": len(head), "batches": batches, "lengths": lengths_type, "outcome": asdict(outcome)}
    header = json.dumps(index).encode()
    header += b" " * (-len(header) % 8)  # what follows is aligned
    content: list[bytes | bytearray] = [_END, header, *lengths]
    crc = zlib.crc32(head)
    for part in content:
        crc = zlib.crc32(part, crc)
    return [*content, _TAIL.pack(len(header), len(header) + sum(map(len, lengths)), crc)]
