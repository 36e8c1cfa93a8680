"""Readers of the formats that a corpus may have: text, tables, JSON lines, Parquet, and data sets of a hub."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from zhuyi.data.compression import failures, first_line, text_lines
from zhuyi.errors import DataError, MissingExtra


def rows(format: str, place: str, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The values of some fields of each row of a file; for text, its lines.

    Raises:
        DataError: naming the file, the line and what is wrong with it; or if it is empty.
    """
    empty = True
    for row in READERS[format](place, fields):
        empty = False
        yield row
    if empty:
        raise DataError(f"{place}: is empty")


def _text(path: str, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return ((line,) * len(fields) for line in text_lines(path))


def _table(format: str, path: str, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    rows = TABLES[format](path)
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
    """The line number and the fields of each row."""
    columns = 0
    for number, line in enumerate(text_lines(path), start=1):
        row = line.split("\t")
        columns = columns or len(row)
        if len(row) > columns:
            raise DataError(
                f"{path}:{number}: has {len(row)} columns, and the first row {columns}; a tab within a field shifts "
                f"those after it: remove it, or, where further columns are meant, keep the first: cut -f 1-{columns}"
            )
        yield number, row


def _csv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """As `_tsv_rows`; a row may have several lines, and its number is that of the first."""
    lines = text_lines(path)
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
    for number, line in enumerate(text_lines(path), start=1):
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
    import pyarrow.parquet as pq  # here, since it takes as long as all other imports, and text is read without it

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            # Of a dotted field the whole top-level column is read, unless the dotted name is that of a column.
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
    except failures() as error:
        raise DataError(f"{path}: cannot be read as Parquet: {first_line(error)}") from error


def _check_unique(column: str, names: list[str], path: str) -> None:
    if names.count(column) > 1:
        raise DataError(f"{path}: {names.count(column)} columns have the name {column!r}: give each a name of its own")


def _hub(place: str, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for number, row in enumerate(load_hub(place), start=1):
        where = f"hub:{place}, row {number}"
        yield tuple(_string(_look_up(row, field, where), field, where) for field in fields)


def load_hub(place: str) -> Any:
    """A data set of the Hugging Face hub, by DATASET[/CONFIG]/SPLIT."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra(f"hub:{place}", "hub") from error
    *names, split = place.split("/")
    name, config = ("/".join(names[:2]), "/".join(names[2:]) or None)
    try:
        return datasets.load_dataset(name, config, split=split)
    except Exception as error:  # the library raises dozens of kinds, from the network's to the reader's
        raise DataError(f"hub:{place}: cannot load data set {name!r}: {first_line(error)}") from error


csv.field_size_limit(2**31 - 1)  # the library's own limit is 128 KiB, and a field may be a document

TABLES: dict[str, Callable[[str], Iterator[tuple[int, list[str]]]]] = {"tsv": _tsv_rows, "csv": _csv_rows}

READERS: dict[str, Callable[[str, tuple[str, ...]], Iterator[tuple[str, ...]]]] = {
    "text": _text,
    **{format: partial(_table, format) for format in TABLES},
    "jsonl": _jsonl,
    "parquet": _parquet,
    "hub": _hub,
}


def _look_up(row: Any, field: str, where: str) -> Any:
    """The value of `field`, which is a key, or several joined by dots."""
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
