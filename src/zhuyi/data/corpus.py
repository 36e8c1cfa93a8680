"""Where pairs come from. A side of a corpus is named by a spec:

    FILE                                a text file, one sentence a line
    FILE.tsv#COLUMN                     a column: its number from 1, or its name in the header line
    FILE.csv#COLUMN                     the same of a table whose fields may stand in quotes
    FILE.jsonl#FIELD                    a field of the object on each line
    FILE.parquet#COLUMN                 a column of a Parquet file
    hub:DATASET[/CONFIG]/SPLIT#FIELD    a data set of the Hugging Face hub (extra `hub`)

Text, .tsv, .csv and .jsonl may be compressed (.gz, .xz, .zst): whether they are is seen in the file, not in its name.
FIELD may be dotted (`translation.en`). A string that
names an existing file is that file, whatever is in its name. In `hub:` the last part is the split; of the parts
before it, the first two are the data set where there is more than one: `hub:bentrevett/multi30k/train#en`,
`hub:wmt/wmt14/de-en/train#translation.de`.

The last part of a path may be a pattern, with `*`, `?` or `[...]`: `shards/*.en.zst`, `shards/*.parquet#en`. The files
that it matches are read one after the other as if they were one, in the order of what its wildcards matched. Files of
both sides belong together where the wildcards matched the same: `part-*.en` and `part-??.de` pair `part-07.en` with
`part-07.de`, line by line. A file without such a partner is an error.

A line ends at "\\n" or "\\r\\n" and nowhere else, so that both sides count the same lines as every other tool. Text is
UTF-8. In .tsv a quote is a letter like any other, a line is a row, and none has more columns than the first. In .csv
(RFC 4180) a field in quotes may hold line breaks and separators; these are commas, or what the first line has instead:
tabs, or semicolons and no comma.

Running text is one side alone, read as lines that end with their line break: see `Text`.
"""

import csv
import gzip
import hashlib
import io
import json
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import partial
from itertools import chain, islice, starmap, zip_longest
from pathlib import Path
from typing import Any

from zhuyi.data.cache import file_digest
from zhuyi.encoding import decoded
from zhuyi.errors import DataError, MissingExtra

MAX_LINE_CHARACTERS = 1 << 16
"""Of running text; longer lines are several."""


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation."""

    line: int
    """Which pair of the corpus it is, from 1; a header line is not counted."""
    source: str
    target: str


class Corpus:
    """The pairs of two specs: iterate as often as you like, one pair at a time is in memory.

    Raises:
        DataError: at once for a spec that cannot be; while iterating for a line that cannot be read, a file that
            is empty, or files of different length.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        self._sources, self._targets = _parse(source), _parse(target)
        _match(self._sources, self._targets)

    def __iter__(self) -> Iterator[Pair]:
        shards = zip(self._sources, self._targets, strict=True)
        for line, (source, target) in enumerate(chain.from_iterable(starmap(_together, shards)), start=1):
            yield Pair(line, source, target)

    def fingerprint(self) -> str:
        """A digest of all that the pairs depend on: the files' content, not their names or dates."""
        return hashlib.sha256("\n".join(map(_fingerprint, (*self._sources, *self._targets))).encode()).hexdigest()


class Text:
    """Running text: the lines of one spec, or some of them, each the target of a pair whose source is empty.

    Every line ends with "\\n", whether the file has "\\r\\n" or, at its end, nothing. A field of a table is a document:
    its lines are split at "\\n" alone, and the last one ends with "\\n" too. A line of more than `MAX_LINE_CHARACTERS`
    is several, of which only the last has a line break, so that tokenising it takes no more memory than others.

    Args:
        spec: of a file or several, as for a side of a corpus.
        first: the number of the first line, from 0.
        end: the number of the line after the last one; None: all lines that there are.

    Raises:
        DataError: as `Corpus`.
    """

    def __init__(self, spec: str, first: int = 0, end: int | None = None) -> None:
        self.target, self._first, self._end = spec, first, end
        self._shards = _parse(spec)

    @property
    def source(self) -> str:
        """The spec, by which errors name this corpus."""
        return self.target

    def __iter__(self) -> Iterator[Pair]:
        lines = chain.from_iterable(map(_broken, chain.from_iterable(map(_lines_of, self._shards))))
        for line, text in islice(enumerate(lines, start=1), self._first, self._end):
            yield Pair(line, "", text)

    def split_at(self, share: float) -> int:
        """The number of the first line that begins in the last `share` of the characters, line breaks counted.

        Raises:
            DataError: also if no line begins there.
        """
        start = (1 - share) * sum(len(pair.target) for pair in self)
        begins = 0
        for pair in self:
            if begins >= start:
                return pair.line - 1
            begins += len(pair.target)
        raise DataError(
            f"{self.target}: no line begins in the last {share:.3g} of its characters (data.dev_share): name "
            "data.dev_text, or set data.dev_share = 0 to train without validation"
        )

    def fingerprint(self) -> str:
        """A digest of all that the lines depend on, as `Corpus.fingerprint`."""
        which = f"lines {self._first} to {self._end}"
        return hashlib.sha256("\n".join([which, *map(_fingerprint, self._shards)]).encode()).hexdigest()


def _broken(document: str) -> Iterator[str]:
    """The lines of a document, each with its line break."""
    for line in document.split("\n"):
        line += "\n"
        for start in range(0, len(line), MAX_LINE_CHARACTERS):
            yield line[start : start + MAX_LINE_CHARACTERS]


def read_lines(spec: str) -> Iterator[str]:
    """One side alone, a line at a time.

    Raises:
        DataError: naming the file, the line and what is wrong with it.
    """
    return chain.from_iterable(map(_lines_of, _parse(spec)))


@dataclass(frozen=True)
class _Shard:
    """One file of a spec, taken apart."""

    format: str
    """A key of `_READERS`."""
    place: str
    """A path, or DATASET[/CONFIG]/SPLIT."""
    field: str
    """Empty for text."""
    matched: tuple[str, ...] = ()
    """What the wildcards of the pattern that found it matched."""

    def __str__(self) -> str:
        return "hub:" * (self.format == "hub") + self.place + f"#{self.field}" * bool(self.field)


def _parse(spec: str) -> tuple[_Shard, ...]:
    if spec.startswith("hub:"):
        place, _, field = spec.removeprefix("hub:").partition("#")
        if not field or "/" not in place:
            raise DataError(f"{spec}: write it as hub:DATASET[/CONFIG]/SPLIT#FIELD")
        return (_Shard("hub", place, field),)
    place, _, field = (spec, "", "") if "#" not in spec or Path(spec).exists() else spec.rpartition("#")
    path = Path(place)
    if path.is_dir():
        raise DataError(f"{place}: is a directory, not a file; for files in it, write a pattern: {path / '*.en'}")
    if path.exists() or not _WILDCARD.search(path.name):
        return (_parse_file(place, field),)
    pattern = _compile(path.name)
    files = [file for file in path.parent.iterdir() if not file.is_dir()] if path.parent.is_dir() else []
    found = sorted((match.groups(), str(file)) for file in files if (match := pattern.fullmatch(file.name)))
    if not found:
        raise DataError(f"{place}: no such file, and no file that matches")
    return tuple(_parse_file(file, field, matched) for matched, file in found)


def _compile(pattern: str) -> re.Pattern[str]:
    """A pattern as `fnmatch` understands it, with a group for what each run of wildcards matches."""
    parts = re.split(f"((?:{_WILDCARD.pattern})+)", pattern)
    # Of `translate`, only what stands before the end of the string, which it writes as \Z or \z.
    return re.compile(
        "".join(f"({translate(part)[:-2]})" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    )


def _match(sources: tuple[_Shard, ...], targets: tuple[_Shard, ...]) -> None:
    """Raises DataError at the first file that has no partner on the other side."""
    for source, target in zip_longest(sources, targets):
        if source is None or target is None:
            raise DataError(
                f"{source or target}: no file is left to pair it with (source files: {len(sources):,}, target files: "
                f"{len(targets):,})"
            )
        if source.matched and target.matched and source.matched != target.matched:
            one, other = (" and ".join(map(repr, shard.matched)) for shard in (source, target))
            raise DataError(
                f"{source} and {target} do not belong together: the wildcards matched {one} in the first and {other} "
                "in the second, and must match the same on both sides"
            )


def _parse_file(place: str, field: str, matched: tuple[str, ...] = ()) -> _Shard:
    path = Path(place)
    if not path.exists():
        raise DataError(f"{place}: no such file")
    if not path.is_file():
        raise DataError(f"{place}: is not a regular file (it is read more than once): save it to a file first")
    packing = _packing(place)
    ending = Path(path.stem if packing else path).suffix.lower()
    format = ending[1:] if ending in (".tsv", ".csv", ".jsonl", ".parquet") else "text"
    if format == "parquet" and packing:
        raise DataError(f"{place}: Parquet is compressed inside; unpack the file around it")
    if ending in _NOT_READ:
        raise DataError(f"{place}: {_NOT_READ[ending]}")
    if format == "text" and field:
        raise DataError(
            f"{place}#{field}: #{field} names a field, but only .tsv, .csv, .jsonl and .parquet files have fields: "
            "if it is one of these, give it that ending"
        )
    if format in _TABLES and not field:
        header = next(_TABLES[format](place), (1, [""]))[1]
        raise DataError(
            f"{place}: say which column of it: {place}#COLUMN, by its number (1 to {len(header)}) or, "
            f"if the first line is a header, by name ({', '.join(map(repr, header))})"
        )
    if format != "text" and not field:
        kind = "field" if format == "jsonl" else "column"
        raise DataError(f"{place}: say which {kind} of it: {place}#{kind.upper()}")
    return _Shard(format, place, field, matched)


def _fingerprint(shard: _Shard) -> str:
    if shard.format == "hub":
        return f"hub {shard.place} {shard.field} {_load_hub(shard.place)._fingerprint}"
    try:
        content = file_digest(shard.place)
    except OSError as error:
        raise DataError(f"{shard.place}: cannot read it: {error.strerror}") from error
    return f"{shard.format} {Path(shard.place).suffix} {shard.field} {content}"


def _together(source: _Shard, target: _Shard) -> Iterator[tuple[str, ...]]:
    """The lines of two files, aligned. Two fields of one table are read at once."""
    if source.place == target.place:
        return _rows(source.format, source.place, (source.field, target.field))
    return _aligned(source, target)


def _aligned(source: _Shard, target: _Shard) -> Iterator[tuple[str, str]]:
    sources, targets = _lines_of(source), _lines_of(target)
    for both, (one, other) in enumerate(zip_longest(sources, targets)):
        if one is None or other is None:
            shorter, longer = both, both + 1 + sum(1 for _ in (targets if one is None else sources))
            counts = (shorter, longer) if one is None else (longer, shorter)
            raise DataError(
                f"{source} has {counts[0]:,} lines, {target} has {counts[1]:,}: "
                "line n of one must be the translation of line n of the other"
            )
        yield one, other


def _lines_of(shard: _Shard) -> Iterator[str]:
    return (row[0] for row in _rows(shard.format, shard.place, (shard.field,)))


def _rows(format: str, place: str, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    empty = True
    for row in _READERS[format](place, fields):
        empty = False
        yield row
    if empty:
        raise DataError(f"{place}: is empty")


def _text(path: str, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return ((line,) * len(fields) for line in _lines(path))


def _table(format: str, path: str, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    rows = _TABLES[format](path)
    if all(field.isdecimal() for field in fields):
        columns = [int(field) - 1 for field in fields]
        if min(columns) < 0:
            raise DataError(f"{path}: there is no column 0: columns count from 1")
    else:
        _, header = next(rows, (1, [""]))
        for field in fields:
            if field.isdecimal():
                raise DataError(f"{path}: name both columns or number both: #{fields[0]} and #{fields[1]} do not mix")
            if field not in header:
                raise DataError(
                    f"{path}: no column {field!r}; its first line has {', '.join(map(repr, header))}; where that is no "
                    "header line, say #1, #2, ..."
                )
            _check_unique(field, header, path)
        columns = [header.index(field) for field in fields]
    for line, values in rows:
        if len(values) <= max(columns):
            raise DataError(f"{path}:{line}: has {len(values)} of the {max(columns) + 1} columns needed")
        yield tuple(values[column] for column in columns)


def _tsv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields."""
    columns = 0
    for number, line in enumerate(_lines(path), start=1):
        row = line.split("\t")
        columns = columns or len(row)
        if len(row) > columns:
            raise DataError(
                f"{path}:{number}: has {len(row)} columns, and the first row {columns}; a tab within a field shifts "
                f"those after it: remove it, or, where further columns are meant, keep the first: cut -f 1-{columns}"
            )
        yield number, row


def _csv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """The same of rows that may go over several lines: the number is that of the first."""
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        return
    separator = "\t" if "\t" in first else ";" if ";" in first and "," not in first else ","
    reader = csv.reader((f"{line}\n" for line in chain([first], lines)), delimiter=separator, strict=True)
    columns, number = 0, 1
    try:
        for row in reader:
            row = row or [""]  # an empty line
            columns = columns or len(row)
            if len(row) != columns:
                raise DataError(
                    f"{path}:{number}: has {len(row)} columns, and the first row {columns}; a field with {separator!r} "
                    "in it must stand in quotes"
                )
            yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{number}: not valid CSV: {error}; a quote within a field is written twice") from error


def _jsonl(path: str, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            reason = f"{error.msg} at character {error.pos + 1}" if line.strip() else "the line is blank; remove it"
            raise DataError(f"{where}: not valid JSON: {reason}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not valid JSON: {error}") from error
        yield tuple(_string(_look_up(row, field, where), field, where) for field in fields)


def _parquet(path: str, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    import pyarrow.parquet as pq  # not with this module: text is read without it, and it takes as long as all else

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            # A dotted field is read as its whole top column, unless a column bears the dotted name itself.
            tops = [field if field in names else field.partition(".")[0] for field in fields]
            for top in tops:
                if top not in names:
                    raise DataError(f"{path}: no column {top!r}; it has {', '.join(map(repr, names))}")
                _check_unique(top, names, path)
            number = 0
            for batch in file.iter_batches(columns=sorted(set(tops))):
                for row in batch.to_pylist():
                    number += 1
                    where = f"{path}, row {number}"
                    yield tuple(_string(_look_up(row, field, where), field, where) for field in fields)
    except _failures() as error:
        raise DataError(f"{path}: cannot be read as Parquet: {_first_line(error)}") from error


def _check_unique(column: str, names: list[str], path: str) -> None:
    if names.count(column) > 1:
        raise DataError(f"{path}: {names.count(column)} columns have the name {column!r}: give each a name of its own")


def _hub(place: str, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for number, row in enumerate(_load_hub(place), start=1):
        where = f"hub:{place}, row {number}"
        yield tuple(_string(_look_up(row, field, where), field, where) for field in fields)


def _load_hub(place: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra(f"hub:{place}", "hub") from error
    *names, split = place.split("/")
    name, config = ("/".join(names[:2]), "/".join(names[2:]) or None)
    try:
        return datasets.load_dataset(name, config, split=split)
    except Exception as error:  # the library raises dozens of kinds, from the network's to the reader's
        raise DataError(f"hub:{place}: cannot load data set {name!r}: {_first_line(error)}") from error


csv.field_size_limit(2**31 - 1)  # the library's own limit is 128 KiB, and a field may be a document

_TABLES: dict[str, Callable[[str], Iterator[tuple[int, list[str]]]]] = {"tsv": _tsv_rows, "csv": _csv_rows}

_READERS: dict[str, Callable[[str, tuple[str, ...]], Iterator[tuple[str, ...]]]] = {
    "text": _text,
    **{format: partial(_table, format) for format in _TABLES},
    "jsonl": _jsonl,
    "parquet": _parquet,
    "hub": _hub,
}

_MARKUP = "is markup, not a sentence a line: write the text of its segments to a file of lines for each side"
_TOKENS = "has a token a line, not a sentence: write each sentence to one line, its tokens with spaces between them"
_NOT_READ = {
    ".json": "JSON is read as .jsonl, an object a line: give it that ending if it is, or convert an array: "
    "jq -c '.[]' OLD.json > NEW.jsonl",
    **dict.fromkeys((".xml", ".tmx", ".xlf", ".xliff", ".sgm", ".sgml"), _MARKUP),
    **dict.fromkeys((".conll", ".conllu"), _TOKENS),
}

_PACKINGS = (".gz", ".xz", ".zst")


def _zstd(path: str) -> io.BufferedIOBase:
    import pyarrow as pa

    return io.BufferedReader(pa.input_stream(path, compression="zstd"))


_OPEN: dict[re.Pattern[bytes], Callable[[str], io.BufferedIOBase]] = {
    re.compile(rb"\x1f\x8b"): lambda path: gzip.GzipFile(path),
    re.compile(rb"\xfd7zXZ\0"): lambda path: io.BufferedReader(_Xz(path)),
    # A frame, or one to be skipped, with which pzstd begins.
    re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"): _zstd,
}
"""By the first bytes of a file: no text in UTF-8 begins with them. Names are often wrong."""


class _Xz(io.RawIOBase):
    """All streams of an .xz file. LZMAFile ends at the zeros that may stand between them, and drops the rest."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 – closed by `close`
        self._stream = lzma.LZMADecompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = b""
        while not found:
            if self._stream.eof:
                block = self._stream.unused_data.lstrip(b"\0")
                while not block and (more := self._file.read(io.DEFAULT_BUFFER_SIZE)):
                    block = more.lstrip(b"\0")
                if not block:
                    return 0
                self._stream = lzma.LZMADecompressor()
            else:
                block = self._file.read(io.DEFAULT_BUFFER_SIZE) if self._stream.needs_input else b""
                if self._stream.needs_input and not block:
                    raise EOFError("the compressed data ends too early")
            found = self._stream.decompress(block, len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._file.close()
        super().close()


def _lines(path: str) -> Iterator[str]:
    """The lines of a UTF-8 file, compressed or not, without their ends."""
    number = 0
    try:
        with _open(path) as stream:
            # Bytes end at b"\n" only; text would end at "\r", and str.splitlines at U+2028 too.
            for line in decoded(stream, f"{path}:"):
                number += 1
                yield line
    except _failures() as error:
        after = f" after line {number}" if number else ""
        raise DataError(f"{path}: cannot be read{after}: {_first_line(error)}") from error


def _failures() -> tuple[type[Exception], ...]:
    """What libraries raise at a file that they cannot read: pyarrow too, if it has been needed."""
    arrow = sys.modules.get("pyarrow")
    return (OSError, EOFError, zlib.error, lzma.LZMAError, *([arrow.ArrowException] if arrow else []))


def _packing(path: str) -> str:
    """The ending that says how a file is compressed, or an empty one."""
    ending = Path(path).suffix.lower()
    return ending if ending in _PACKINGS else ""


def _open(path: str) -> io.BufferedIOBase:
    """The content of a file, decompressed if it is compressed."""
    with open(path, "rb") as file:
        head = file.read(8)
    return next((opener for mark, opener in _OPEN.items() if mark.match(head)), _open_plain)(path)


def _open_plain(path: str) -> io.BufferedIOBase:
    return open(path, "rb")


def _look_up(row: Any, field: str, where: str) -> Any:
    """The value at `field`, which is a key, or keys joined by dots."""
    if isinstance(row, dict) and field in row:
        return row[field]
    value = row
    for key in field.split("."):
        if not isinstance(value, dict):
            raise DataError(f"{where}: no field {field!r}: there is {_kind(value)} where an object should be")
        if key not in value:
            raise DataError(f"{where}: no field {field!r}; there are {', '.join(map(repr, value)) or 'none'}")
        value = value[key]
    return value


def _string(value: Any, field: str, where: str) -> str:
    if not isinstance(value, str):
        what_to_do = "leave such rows out" if value is None else "convert the whole field to strings"
        raise DataError(f"{where}: field {field!r} is {_kind(value)}, not a string: {what_to_do}")
    if not value.isascii() and _SURROGATE.search(value):
        raise DataError(f"{where}: field {field!r} has half of a surrogate pair, which is not a character")
    return value


_SURROGATE = re.compile("[\ud800-\udfff]")
_WILDCARD = re.compile(r"\*|\?|\[!?\]?[^\]]*\]")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {
        bool: "a truth value",
        int: "a number",
        float: "a number",
        bytes: "bytes",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), f"a {type(value).__name__}")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
