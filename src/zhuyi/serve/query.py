"""Queries and answers, independent of the API."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from zhuyi.serve.detection import NOT_SOUGHT, Detected


@dataclass(frozen=True)
class Query:
    """A request to translate, independent of the API."""

    texts: Sequence[str]
    """Each is translated independently. A text without line breaks that fits into the model is one line, exactly as in
    `zhuyi translate`; others are split into lines and sentences, whose translations are joined with the white space of
    the text."""
    model: str | None = None
    """Name of the model; unset: one that has the languages. A single model answers to every name."""
    source: str | None = None
    """Language of the texts, by any of its names. "auto": detected from all texts together. Unset: detected if a model
    has to be chosen by it."""
    target: str | None = None
    """Language of the translations."""
    beam: int | None = None
    """Hypotheses kept at each step. Unset: the model's own setting, but at least `n_best`."""
    n_best: int = 1
    """Most translations of each text."""
    alignment: bool = False
    """Whether the alignment of the best translation of each text is wanted."""


@dataclass(frozen=True)
class Alignment:
    """How much each piece of a translation depends on each piece of its line."""

    source: list[str]
    """Pieces of the line; the last one is EOS."""
    target: list[str]
    """Pieces of the translation, and EOS unless the length limit cut it off."""
    weights: list[list[float]]
    """`target × source`: a row for each piece of the translation, which sums to 1."""


@dataclass(frozen=True)
class Answer:
    """The translations of a text."""

    text: str
    """The best translation."""
    score: float
    """Its log-probability divided by its length penalty, summed over its lines; −inf if that is not a number."""
    finished: bool
    """False if the length limit cut it off."""
    alternatives: list["Answer"] = field(default_factory=list)
    """Further translations, best first."""
    alignments: list[Alignment] = field(default_factory=list)
    """For each line of the text that has any pieces, if the query asks for them."""
    source: Detected = NOT_SOUGHT
    """The language of the text: as the query says, or as detected."""
