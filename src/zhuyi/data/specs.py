"""The files of a spec: one, or all that match a pattern."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate
from itertools import zip_longest
from pathlib import Path

from zhuyi.data.cache import file_digest
from zhuyi.data.compression import packing
from zhuyi.data.formats import TABLES, load_hub, rows
from zhuyi.errors import DataError


@dataclass(frozen=True)
class Shard:
    """One file of a spec."""

    format: str
    """A key of `formats.READERS`."""
    place: str
    """A path, or DATASET[/CONFIG]/SPLIT."""
    field: str
    """Empty for text."""
    matched: tuple[str, ...] = ()
    """The text that each run of wildcards of the pattern matched; empty without a pattern."""

    def __str__(self) -> str:
        return "hub:" * (self.format == "hub") + self.place + f"#{self.field}" * bool(self.field)


def parse(spec: str) -> tuple[Shard, ...]:
    """The files of a spec (`data.corpus`), in the order in which they are read.

    Raises:
        DataError: if there is no such file, if its format is not supported, or if the spec of its field is not valid.
    """
    if spec.startswith("hub:"):
        place, _, field = spec.removeprefix("hub:").partition("#")
        if not field or "/" not in place:
            raise DataError(f"{spec}: write it as hub:DATASET[/CONFIG]/SPLIT#FIELD")
        return (Shard("hub", place, field),)
    place, _, field = (spec, "", "") if "#" not in spec or os.path.exists(spec) else spec.rpartition("#")
    path = Path(place)
    if os.path.isdir(place):
        raise DataError(f"{place}: is a directory, not a file; for files in it, write a pattern: {path / '*.en'}")
    if os.path.exists(place) or not _WILDCARD.search(path.name):
        return (_parse_file(place, field),)
    pattern = _compile(path.name)
    files = [file for file in path.parent.iterdir() if not file.is_dir()] if os.path.isdir(path.parent) else []
    found = sorted((match.groups(), str(file)) for file in files if (match := pattern.fullmatch(file.name)))
    if not found:
        raise DataError(f"{place}: no such file, and no file that matches")
    return tuple(_parse_file(file, field, matched) for matched, file in found)


def _compile(pattern: str) -> re.Pattern[str]:
    """A pattern as in a shell, with a group for what each run of wildcards matches: none matches a leading dot."""
    parts = re.split(f"((?:{_WILDCARD.pattern})+)", pattern)
    # `translate` ends with \Z or \z, which is removed.
    return re.compile(
        r"(?!\.)" * pattern.startswith(("*", "?", "["))
        + "".join(f"({translate(part)[:-2]})" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    )


def check_partners(sources: tuple[Shard, ...], targets: tuple[Shard, ...]) -> None:
    """Raise DataError for the first file that has no partner on the other side."""
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


def _parse_file(place: str, field: str, matched: tuple[str, ...] = ()) -> Shard:
    path = Path(place)
    if not os.path.exists(place):
        raise DataError(f"{place}: no such file")
    if not path.is_file():
        raise DataError(f"{place}: is not a regular file (it is read more than once): save it to a file first")
    packed = packing(place)
    ending = Path(path.stem if packed else path).suffix.lower()
    format = ending[1:] if ending in (".tsv", ".csv", ".jsonl", ".parquet") else "text"
    if format == "parquet" and packed:
        raise DataError(f"{place}: Parquet is compressed inside; unpack the file around it")
    if ending in _NOT_READ:
        raise DataError(f"{place}: {_NOT_READ[ending]}")
    if format == "text" and field:
        raise DataError(
            f"{place}#{field}: #{field} names a field, but only .tsv, .csv, .jsonl and .parquet files have fields: "
            "if it is one of these, give it that ending"
        )
    if format in TABLES and not field:
        header = next(TABLES[format](place), (1, [""]))[1]
        raise DataError(
            f"{place}: say which column of it: {place}#COLUMN, by its number (1 to {len(header)}) or, "
            f"if the first line is a header, by name ({', '.join(map(repr, header))})"
        )
    if format != "text" and not field:
        kind = "field" if format == "jsonl" else "column"
        raise DataError(f"{place}: say which {kind} of it: {place}#{kind.upper()}")
    return Shard(format, place, field, matched)


def fingerprint(shard: Shard) -> str:
    """A string that identifies the lines of a file.

    Raises:
        DataError: if the file cannot be read.
    """
    if shard.format == "hub":
        return f"hub {shard.place} {shard.field} {load_hub(shard.place)._fingerprint}"
    try:
        content = file_digest(shard.place)
    except OSError as error:
        raise DataError(f"{shard.place}: cannot read it: {error.strerror}") from error
    return f"{shard.format} {Path(shard.place).suffix} {shard.field} {content}"


def lines_of(shard: Shard) -> Iterator[str]:
    """The lines of one file."""
    return (row[0] for row in rows(shard.format, shard.place, (shard.field,)))


_MARKUP = "is markup, not a sentence a line: write the text of its segments to a file of lines for each side"

_TOKENS = "has a token a line, not a sentence: write each sentence to one line, its tokens with spaces between them"

_NOT_READ = {
    ".json": "JSON is read as .jsonl, an object a line: give it that ending if it is, or convert an array: "
    "jq -c '.[]' OLD.json > NEW.jsonl",
    **dict.fromkeys((".xml", ".tmx", ".xlf", ".xliff", ".sgm", ".sgml"), _MARKUP),
    **dict.fromkeys((".conll", ".conllu"), _TOKENS),
}

_WILDCARD = re.compile(r"\*|\?|\[!?\]?[^\]]*\]")
