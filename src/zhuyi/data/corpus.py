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
`part-07.de`, line by line. A file without such a partner is an error. As in a shell, no wildcard matches the dot at the
beginning of a name.

A line ends at "\n" or "\r\n" and nowhere else, so that both sides count the same lines as every other tool. Text is
UTF-8. In .tsv a quote is a letter like any other, a line is a row, and none has more columns than the first. In .csv
(RFC 4180) a field in quotes may hold line breaks and separators; these are commas, or what the first line has instead:
tabs, or semicolons and no comma.

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
        self._sources, self._targets = parse(source), parse(target)
        check_partners(self._sources, self._targets)

    def __iter__(self) -> Iterator[Pair]:
        shards = zip(self._sources, self._targets, strict=True)
        for line, (source, target) in enumerate(chain.from_iterable(starmap(_together, shards)), start=1):
            yield Pair(line, source, target)

    def fingerprint(self) -> str:
        """A digest of all that the pairs depend on: the files' content, not their names or dates."""
        return hashlib.sha256("\n".join(map(fingerprint, (*self._sources, *self._targets))).encode()).hexdigest()


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
        self._shards = parse(spec)

    @property
    def source(self) -> str:
        """The spec, by which errors name this corpus."""
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
        """A digest of all that the lines depend on, as `Corpus.fingerprint`."""
        which = f"lines {self._first} to {self._end}"
        return hashlib.sha256("\n".join([which, *map(fingerprint, self._shards)]).encode()).hexdigest()


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
    return chain.from_iterable(map(lines_of, parse(spec)))


def _together(source: Shard, target: Shard) -> Iterator[tuple[str, ...]]:
    """The lines of two files, aligned. Two fields of one table are read at once."""
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
