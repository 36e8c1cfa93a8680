"""Detects text that another tool has segmented into subwords, by the marks it leaves, and names the way to undo it.

A score on such text counts subwords rather than words: it is higher, and not comparable with other scores.
"""

import re
from collections.abc import Iterable, Mapping

NOTABLE = 0.1
"""The share of lines with a mark from which the text counts as segmented."""

MARKS: dict[str, tuple[re.Pattern[str], str]] = {
    "@@": (re.compile(r"\S@@(?: |$)"), "sed -r 's/(@@ )|(@@ ?$)//g'"),  # subword-nmt
    "▁": (re.compile("(?:^| )▁"), "sed 's/ //g; s/▁/ /g; s/^ //'"),  # SentencePiece
    "￭": (re.compile("￭"), "sed -r 's/ ?￭ ?//g'"),  # OpenNMT's joiner
    "￨": (re.compile("￨"), "sed -r 's/￨[^ ]*//g'"),  # OpenNMT's features of a word
    "##": (re.compile(r"\S ##\S"), "sed 's/ ##//g'"),  # WordPiece
}
"""Mark → the pattern of its use in segmented text, and the command that removes it."""


def count_marks(lines: Iterable[str]) -> dict[str, int]:
    """The number of lines that contain each mark. Marks that occur in no line are left out."""
    found = dict.fromkeys(MARKS, 0)
    for line in lines:
        for mark, (pattern, _) in MARKS.items():
            found[mark] += mark in line and pattern.search(line) is not None  # `in` first: it takes a tenth of the time
    return {mark: count for mark, count in found.items() if count}


def segmentation_warning(what: str, marks: Mapping[str, int], lines: int) -> str | None:
    """A warning of one sentence if a notable share of the lines is segmented, or None.

    Args:
        what: the name of these lines in the warning, in the plural.
        marks: the result of `count_marks`.
        lines: the number of lines.
    """
    mark = max(marks, key=lambda each: marks[each], default="")
    if not mark or marks[mark] < NOTABLE * lines:
        return None
    return (
        f"{what} look segmented ({mark} in {marks[mark]:,} of {lines:,} lines): BLEU on pieces is not BLEU on words; "
        f"undo it first: {MARKS[mark][1]}"
    )
