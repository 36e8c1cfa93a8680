"""Corpora: pairs or running text, read from files. A side of a corpus is named by a spec:

    FILE                                a text file, one sentence a line
    FILE.tsv#COLUMN                     a column: its number from 1, or its name in the header line
    FILE.csv#COLUMN                     the same of a table whose fields may stand in quotes
    FILE.jsonl#FIELD                    a field of the object on each line
    FILE.parquet#COLUMN                 a column of a Parquet file
    hub:DATASET[/CONFIG]/SPLIT#FIELD    a data set of the Hugging Face hub (extra `hub`)

Text, .tsv, .csv and .jsonl may be compressed (.gz, .xz, .zst), which is detected from the content, not from the name.
FIELD may be dotted (`translation.en`). If a string names an existing file, it means that file, even if it contains `#`
or wildcards. In `hub:`, the last part is the split, and the first two of the parts before it are the data set (if there
is only one part, that is): `hub:bentrevett/multi30k/train#en`, `hub:wmt/wmt14/de-en/train#translation.de`.

The last part of a path may be a pattern, with `*`, `?` or `[...]`: `shards/*.en.zst`, `shards/*.parquet#en`. The files
that it matches are read as if they were concatenated, ordered by the text that the wildcards matched. Files of both
sides are paired if the wildcards matched the same text: `part-*.en` and `part-??.de` pair `part-07.en` with
`part-07.de`, line by line. A file without a partner is an error. As in a shell, no wildcard matches the dot at the
beginning of a name.

A line ends at "\n" or "\r\n" and nowhere else, so that both sides have as many lines as for other tools. Text is UTF-8.
In .tsv, a quote is a character like any other, a line is a row, and no row has more columns than the first one. In .csv
(RFC 4180), a field in quotes may contain line breaks and separators. The separator is a tab if the first line contains
one, a semicolon if it contains one and no comma, and a comma otherwise.

Running text is one side alone, read as lines that end with their line break: see `Text`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, starmap, zip_longest

from zhuyi.data.formats import rows
from zhuyi.data.specs import Shard, check_partners, fingerprint, lines_of, parse
from zhuyi.errors import DataError

MAX_LINE_CHARACTERS = 1 << 16
"""Longest line of running text; longer ones are divided."""


@dataclass(frozen=True)
class Pair:
    """A source line and its target line."""

    line: int
    """The number of the pair in the corpus, from 1; header lines are not counted."""
    source: str
    target: str


class Corpus:
    """The pairs of two specs. It can be iterated over repeatedly, and keeps one pair at a time in memory.

    Raises:
        DataError: at once for a spec that is not valid; while iterating, for a line that cannot be read, an empty file,
            or files with different numbers of lines.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        self._sources, self._targets = parse(source), parse(target)
        check_partners(self._sources, self._targets)

    def __iter__(self) -> Iterator[Pair]:
        shards = zip(self._sources, self._targets, strict=True)
        for line, (source, target) in enumerate(chain.from_iterable(starmap(_together, shards)), start=1):
            yield Pair(line, source, target)

    def fingerprint(self) -> str:
        """A digest of everything that the pairs depend on: the content of the files, not their names or dates."""
        return hashlib.sha256("\n".join(map(fingerprint, (*self._sources, *self._targets))).encode()).hexdigest()


class Text:
    """Running text: the lines of one spec, or some of them, each the target of a pair whose source is empty.

    Every line ends with "\\n", even if it ends with "\\r\\n" in the file, or with nothing at the end of the file. A
    field of a table is a document: it is split into lines at "\\n" only, and its last line ends with "\\n" too. A line
    of more than `MAX_LINE_CHARACTERS` is divided, to limit the memory that tokenising takes; only its last part has a
    line break.

    Args:
        spec: of one file or several, as for a side of a corpus.
        first: the number of the first line, from 0.
        end: the number of the line after the last one; None: up to the end.

    Raises:
        DataError: as `Corpus`.
    """

    def __init__(self, spec: str, first: int = 0, end: int | None = None) -> None:
        self.target, self._first, self._end = spec, first, end
        self._shards = parse(spec)

    @property
    def source(self) -> str:
        """The spec, which error messages name."""
        return self.target

    def __iter__(self) -> Iterator[Pair]:
        lines = chain.from_iterable(map(_broken, chain.from_iterable(map(lines_of, self._shards))))
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
        """A digest of everything that the lines depend on, as `Corpus.fingerprint`."""
        which = f"lines {self._first} to {self._end}"
        return hashlib.sha256("\n".join([which, *map(fingerprint, self._shards)]).encode()).hexdigest()


def _broken(document: str) -> Iterator[str]:
    """The lines of a document, each with its line break; long ones are divided."""
    for line in document.split("\n"):
        line += "\n"
        for start in range(0, len(line), MAX_LINE_CHARACTERS):
            yield line[start : start + MAX_LINE_CHARACTERS]


def read_lines(spec: str) -> Iterator[str]:
    """The lines of a spec, one at a time.

    Raises:
        DataError: naming the file, the line and what is wrong with it.
    """
    return chain.from_iterable(map(lines_of, parse(spec)))


def _together(source: Shard, target: Shard) -> Iterator[tuple[str, ...]]:
    """The lines of two files, aligned. Two fields of the same table are read together."""
    if source.place == target.place:
        return rows(source.format, source.place, (source.field, target.field))
    return _aligned(source, target)


def _aligned(source: Shard, target: Shard) -> Iterator[tuple[str, str]]:
    sources, targets = lines_of(source), lines_of(target)
    for both, (one, other) in enumerate(zip_longest(sources, targets)):
        if one is None or other is None:
            shorter, longer = both, both + 1 + sum(1 for _ in (targets if one is None else sources))
            counts = (shorter, longer) if one is None else (longer, shorter)
            raise DataError(
                f"{source} has {counts[0]:,} lines, {target} has {counts[1]:,}: "
                "line n of one must be the translation of line n of the other"
            )
        yield one, other
