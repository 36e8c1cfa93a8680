"""What the metrics compare: answers and references in the tokenizer's normal form (`text.normalizer`)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from zhuyi.config import TextConfig
from zhuyi.errors import DataError
from zhuyi.text.normalizer import normalizer


@dataclass(frozen=True)
class Answers:
    """What the metrics compare, in normal form: lines, or words for WER, PER and exact match."""

    hypotheses: list[str]
    references: list[list[str]]
    words: list[tuple[list[str], set[str]]]
    """For each distinct source, its hypotheses and all right answers."""
    n_best: int
    """The largest number of hypotheses of a word."""
    grouped: bool
    bleu_tokenizer: str
    """See `score`."""
    text: TextConfig
    """Settings of the normal form."""

    @cached_property
    def labels(self) -> list[tuple[list[str], list[str]]]:
        """For each line, the labels found and the right ones, as many of each: a missing label is empty."""
        lines = [
            (found.split(), right[0].split()) for found, right in zip(self.hypotheses, self.references, strict=True)
        ]
        return [(found[: len(right)] + [""] * (len(right) - len(found)), right) for found, right in lines]


def in_normal_form(
    hypotheses: Sequence[str] | Sequence[Sequence[str]],
    references: Sequence[str] | Sequence[Sequence[str]],
    sources: Sequence[str] | None,
    bleu_tokenizer: str,
    text: TextConfig | None,
) -> Answers:
    """The arguments of `score`, in normal form.

    Raises:
        DataError: if the numbers of lines differ, or if a line has no hypothesis or no reference.
    """
    if len(hypotheses) != len(references):
        raise DataError(f"{len(hypotheses)} hypotheses but {len(references)} reference lines: line n answers line n")
    if sources is not None and len(sources) != len(hypotheses):
        raise DataError(f"{len(sources)} source lines but {len(hypotheses)} hypotheses: line n answers line n")
    text = text or TextConfig()
    assert text.whitespace is not None
    form = normalizer(text.lowercase, text.normalization, text.whitespace)

    def normal(lines: Iterable[str]) -> list[str]:
        return [form.normalize_str(line) for line in lines]

    normal_hypotheses = [normal(line) for line in listed(hypotheses, "hypothesis")]
    normal_references = [normal(line) for line in listed(references, "reference")]
    keys: Sequence[int | str] = range(len(hypotheses)) if sources is None else normal(sources)
    words: dict[int | str, tuple[list[str], set[str]]] = {}
    for key, found, right in zip(keys, normal_hypotheses, normal_references, strict=True):
        words.setdefault(key, (found, set()))[1].update(right)
    return Answers(
        hypotheses=[line[0] for line in normal_hypotheses],
        references=normal_references,
        words=list(words.values()),
        n_best=max(map(len, normal_hypotheses)),
        grouped=sources is not None,
        bleu_tokenizer=bleu_tokenizer,
        text=text,
    )


def listed(lines: Sequence[str] | Sequence[Sequence[str]], what: str) -> list[list[str]]:
    """A list for each line, which may be given as a single text.

    Raises:
        DataError: if a line has none of `what`.
    """
    lists = [[line] if isinstance(line, str) else list(line) for line in lines]
    for number, line in enumerate(lists, start=1):
        if not line:
            raise DataError(f"line {number} has no {what}: give at least one, or leave the line out")
    return lists


def references_of(files: Sequence[Sequence[str]]) -> list[list[str]]:
    """The references of each line, from several files with one reference per line.

    A blank line in a file means that the file has no reference for this line. If the line is blank in all files, the
    right answer is the empty string.

    Args:
        files: the lines of each file; all have the same number of lines.
    """
    return [[reference for reference in line if reference.strip()] or [""] for line in zip(*files, strict=True)]
