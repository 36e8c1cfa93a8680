"""Splits passages of any length into lines that fit into a model, and joins the translations of the lines.

Models are trained on one sentence per line, so a passage that has to be split is split into sentences. Everything
between the lines is kept: joining the unchanged lines of a passage gives the same passage.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from zhuyi.errors import MissingExtra

WINDOW = 1000
"""Characters that sentencex segments at a time, as its time is quadratic in the number of sentences."""


@dataclass(frozen=True)
class Passage:
    """The lines of a text, and the white space before the first and after each."""

    before: str
    lines: list[str]
    after: list[str]

    def join(self, translations: Sequence[str]) -> str:
        """The translations of the lines as one text, with the white space and the line breaks of the passage.

        Sentences on one line are joined as usual in the target language: with a space in "Hello. Bye.", and without one
        in "你好。再见。".

        Raises:
            ValueError: if there is not one translation for each line.
        """
        if len(translations) != len(self.lines):
            raise ValueError(f"{len(translations)} translations of {len(self.lines)} lines")
        after = [*map(_space, self.after, pairwise(self.lines), pairwise(translations)), *self.after[-1:]]
        return self.before + "".join(chain.from_iterable(zip(translations, after, strict=True)))


def split(text: str, fits: Callable[[str], bool], language: str | None = None) -> Passage:
    """Split a text into lines that fit.

    A text without line breaks that fits is one line, unchanged. Other texts are split at line breaks, and a line that
    does not fit is split into sentences. A sentence that does not fit is split into parts as long as possible: after
    clauses, or else between words, or else between characters. Blank lines are white space between the lines.

    Args:
        text: of any length.
        fits: whether the model can read a line as a whole.
        language: of the text (BCP 47), for its abbreviations, which do not end a sentence. Unset: English, whose rules
            cover the punctuation of other languages too, such as "。".

    Raises:
        MissingExtra: if a line does not fit, and sentencex is not installed.
    """
    if _is_one_line(text) and fits(text):
        return Passage("", [text], [""])
    lines, spaces = [], [""]
    parts = (_fitting(line, lambda part: fits(part.strip()), language) for line in text.splitlines(keepends=True))
    for part in chain.from_iterable(parts):
        line = part.strip()
        before, _, after = part.partition(line) if line else (part, "", "")
        spaces[-1] += before
        if line:
            lines.append(line)
            spaces.append(after)
    return Passage(spaces[0], lines, spaces[1:])


def _fitting(line: str, fits: Callable[[str], bool], language: str | None) -> Iterator[str]:
    """The line if it fits, or else its sentences, and in parts those that do not fit."""
    if fits(line):
        yield line
        return
    for sentence in _sentences(line, language):
        yield from _parts(sentence, fits, _CUTS)


def _sentences(line: str, language: str | None) -> Iterator[str]:
    """The sentences of a line, with the white space after them."""
    try:
        import sentencex
    except ImportError as error:
        raise MissingExtra("a line longer than the model reads is split by sentencex", "serve") from error
    start, window = 0, WINDOW
    while start < len(line):
        sentences = sentencex.segment((language or "en").partition("-")[0], line[start : start + window])
        if start + window < len(line):
            sentences.pop()  # it may continue after the window
        yield from sentences
        start += sum(map(len, sentences))
        window = WINDOW if sentences else 2 * window


def _parts(text: str, fits: Callable[[str], bool], cuts: Sequence[re.Pattern[str]]) -> Iterator[str]:
    """Split a text into parts that fit, each as long as possible.

    Args:
        text: a sentence.
        fits: as for `split`.
        cuts: patterns of the pieces that a part consists of. A piece that does not fit is split by the next pattern;
            what the last one matches is kept whole.
    """
    if not cuts or fits(text):
        yield text
        return
    ends = [piece.end() for piece in cuts[0].finditer(text)]
    start = taken = 0
    while taken < len(ends):
        tried = 1
        while taken + tried < len(ends) and fits(text[start : ends[taken + tried - 1]]):
            tried *= 2  # from below: the text may be a thousand times as long as what fits
        last = min(taken + tried, len(ends))
        fitting = bisect_left(ends, True, taken, last, key=lambda end: not fits(text[start:end])) - taken
        taken += max(fitting, 1)
        part = text[start : ends[taken - 1]]
        start = ends[taken - 1]
        if fitting:
            yield part
        else:
            yield from _parts(part, fits, cuts[1:])


def _space(space: str, lines: tuple[str, str], translations: tuple[str, str]) -> str:
    """The white space between two translations, where that between their lines is `space`."""
    unspaced_before, unspaced = _is_unspaced(*lines), _is_unspaced(*translations)
    if not _is_one_line(space) or unspaced_before == unspaced:
        return space
    return "" if unspaced else space or " "


def _is_one_line(text: str) -> bool:
    return text.splitlines() in ([], [text])


def _is_unspaced(before: str, after: str) -> bool:
    """Whether no space is written between two sentences, as in Chinese and Japanese."""
    return bool(_UNSPACED.match(before[-1:]) or _UNSPACED.match(after[:1]))


_CUTS = (
    re.compile(r".*?(?:[,;:](?=\s)|[，；：、،؛]|\s[–—-](?=\s)|—)\s*|.+", re.DOTALL),
    re.compile(r"\S+\s*|\s+"),
    re.compile(r".", re.DOTALL),
)
"""Pieces of a sentence: clauses with the mark that ends them, words, and characters."""

_UNSPACED = re.compile(
    "["
    "\u2e80-\u303f"  # radicals, and marks such as 。 and 」
    "\u3040-\u30ff"  # kana
    "\u3100-\u312f\u31a0-\u31ff"  # bopomofo, further kana
    "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\ufe30-\ufe4f\uff00-\uff9f"  # forms for columns, full and half width
    "]"
)
"""A character of a script without spaces between sentences. Korean and Thai have them."""
