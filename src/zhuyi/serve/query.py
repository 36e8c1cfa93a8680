"""What a request asks for, whatever its API, and what it gets."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from zhuyi.serve.detection import NOT_SOUGHT, Detected


@dataclass(frozen=True)
class Query:
    """What a request asks for, whatever its API."""

    texts: Sequence[str]
    """Each is translated by itself. One without line breaks that the model can read is one line, exactly as in `zhuyi
    translate`; others are split into lines and sentences, and put together again with their white space."""
    model: str | None = None
    """Its name; unset: the one that has the languages. Where there is one model alone, every name means it."""
    source: str | None = None
    """The language of the texts, by any of its names; "auto": the one that all of them together are most probably in;
    unset: that too, but only if it has to be known, as it has not where the query names the model."""
    target: str | None = None
    """The language of the translations."""
    beam: int | None = None
    """Hypotheses that are kept at each step. Unset: as many as the model says, or as `n_best`."""
    n_best: int = 1
    """Translations of each text, at most; at least one is given."""
    alignment: bool = False
    """Whether the best translation of each text comes with its alignment."""


@dataclass(frozen=True)
class Alignment:
    """Which pieces of a line each piece of its translation was written from."""

    source: list[str]
    """Pieces of the line, the end of the line (EOS) last."""
    target: list[str]
    """Pieces of the translation, and EOS, unless the length limit came first."""
    weights: list[list[float]]
    """For each piece of the translation a row with the weight of each piece of the line; their sum is 1."""


@dataclass(frozen=True)
class Answer:
    """What a text became."""

    text: str
    """The best translation."""
    score: float
    """Its log-probability over its length penalty; of a text of several lines, their sum. −inf: there was no number."""
    finished: bool
    """Whether it ended by itself; otherwise the length limit cut it off."""
    alternatives: list["Answer"] = field(default_factory=list)
    """Further translations, best first."""
    alignments: list[Alignment] = field(default_factory=list)
    """Of each line of the text that has any pieces, if the query wants them."""
    source: Detected = NOT_SOUGHT
    """The language that the text was taken for: the one that the query says, or that was found."""
