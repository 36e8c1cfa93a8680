"""Intervals of differences between variants, by paired bootstrap resampling of lines (Koehn 2004, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhuyi.evaluation import Statistics

RESAMPLES = 1000
LEVEL = 0.95
SEED = 1


@dataclass(frozen=True)
class Interval:
    """Of a difference of scores, in points."""

    value: float
    """The difference on all lines."""
    low: float
    high: float


def paired_bootstrap(
    first: Sequence[Statistics], other: Sequence[Statistics], resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """The mean score of `other` less that of `first`, with its 95 % interval over resamples of the lines.

    A resample has as many lines as there are, drawn with replacement, the same for all outputs. So the interval says
    what other test lines would give for these models; what other seeds would give, it does not.

    Args:
        first: of the outputs of the first system, for each of its seeds.
        other: of those of the other system, on the same lines.
        resamples: how many.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    lines = len(first[0].rows)
    differences = np.empty(resamples)
    for number in range(resamples):
        times = np.bincount(rng.integers(lines, size=lines), minlength=lines)
        differences[number] = _mean_score(other, times) - _mean_score(first, times)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(differences, [tail, 100 - tail])
    once = np.ones(lines, dtype=int)
    return Interval(_mean_score(other, once) - _mean_score(first, once), float(low), float(high))


def _mean_score(outputs: Sequence[Statistics], times: npt.NDArray[np.int_]) -> float:
    """Over the seeds; each line counts `times` times."""
    return float(np.mean([each.value(times @ each.rows) for each in outputs]))
