"""Text that another tool has cut into pieces: by which marks that is seen, and how it is undone.

A score is of pieces then, and not of words: it is higher, and cannot be compared with anybody else's.
"""

import re
from collections.abc import Iterable, Mapping

NOTABLE = 0.1
"""Share of the lines, from which on a mark is no accident."""

MARKS: dict[str, tuple[re.Pattern[str], str]] = {
    "@@": (re.compile(r"\S@@(?: |$)"), "sed -r 's/(@@ )|(@@ ?$)//g'"),  # subword-nmt
    "▁": (re.compile("(?:^| )▁"), "sed 's/ //g; s/▁/ /g; s/^ //'"),  # SentencePiece
    "￭": (re.compile("￭"), "sed -r 's/ ?￭ ?//g'"),  # OpenNMT's joiner
    "￨": (re.compile("￨"), "sed -r 's/￨[^ ]*//g'"),  # OpenNMT's features of a word
    "##": (re.compile(r"\S ##\S"), "sed 's/ ##//g'"),  # WordPiece
}
"""Mark → where it stands in segmented text, and the command that takes it out."""


def count_marks(lines: Iterable[str]) -> dict[str, int]:
    """How many of the lines have which marks; one that no line has is not named."""
    found = dict.fromkeys(MARKS, 0)
    for line in lines:
        for mark, (pattern, _) in MARKS.items():
            found[mark] += mark in line and pattern.search(line) is not None  # `in` takes a tenth of the time
    return {mark: count for mark, count in found.items() if count}


def segmentation_warning(what: str, marks: Mapping[str, int], lines: int) -> str | None:
    """One sentence where a notable share of the lines is segmented: what that does to scores, and how to undo it.

    Args:
        what: the name of these lines, in the plural.
        marks: as `count_marks` gives them.
        lines: how many there are.
    """
    mark = max(marks, key=lambda each: marks[each], default="")
    if not mark or marks[mark] < NOTABLE * lines:
        return None
    return (
        f"{what} look segmented ({mark} in {marks[mark]:,} of {lines:,} lines): BLEU on pieces is not BLEU on words; "
        f"undo it first: {MARKS[mark][1]}"
    )
