"""The value of a metric, how it was computed, and what it is computed from, line by line."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zhuyi.config import Metric, TextConfig

HIGHER_IS_BETTER: dict[Metric, bool] = {
    "bleu": True,
    "chrf": True,
    "wer": False,
    "per": False,
    "exact": True,
    "bits_per_byte": False,
    "accuracy": True,
    "macro_f1": True,
    "span_f1": True,
}
"""Every metric, and whether higher values are better."""


@dataclass(frozen=True)
class Score:
    """The value of one metric, and how it was computed."""

    name: Metric
    value: float
    """In per cent: 0 to 100, but WER and PER may exceed 100. Bits per byte: in bits."""
    signature: str
    """How the value was computed. Values with equal signatures are comparable."""
    higher_is_better: bool


@dataclass(frozen=True)
class Statistics:
    """What a corpus score is computed from: figures of each line, whose sums give the score of any set of lines."""

    rows: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    """`lines figures`; a row is a word for WER, PER and exact match, and a window for running text."""
    value: Callable[[npt.NDArray[Any]], float]
    """From the sums of the rows to the score."""

    @property
    def total(self) -> float:
        """The score of all lines."""
        return self.value(self.rows.sum(axis=0))


def share(counts: Iterable[tuple[int, int]]) -> Statistics:
    """A share in per cent, from a pair (part, whole) for each line or word."""
    rows = np.array(list(counts), dtype=np.int64).reshape(-1, 2)
    return Statistics(rows, lambda sums: float(100 * sums[0] / max(sums[1], 1)))


def better(metric: Metric, a: float, b: float) -> bool:
    """Whether value `a` of `metric` is strictly better than `b`."""
    return a > b if HIGHER_IS_BETTER[metric] else a < b


def shown_with(metric: Metric) -> list[Metric]:
    """The metrics of a report whose main metric is `metric`: chrF accompanies BLEU."""
    return [metric, "chrf"] if metric == "bleu" else [metric]


def case_of(text: TextConfig) -> str:
    """The case of a comparison, as part of a signature."""
    return "case:lc" if text.lowercase else "case:mixed"


def norm_of(text: TextConfig) -> str:
    """The normal form of a comparison, except for the case, as part of a signature."""
    return f"norm:{text.normalization}" + "|space:keep" * (text.whitespace == "keep")
