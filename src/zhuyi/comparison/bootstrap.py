"""Confidence intervals of differences between variants, by paired bootstrap resampling (Koehn 2004, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhuyi.evaluation import Statistics

RESAMPLES = 1000
LEVEL = 0.95
"""Confidence level of the intervals."""
SEED = 1


@dataclass(frozen=True)
class Interval:
    """The confidence interval of a difference of scores, in points."""

    value: float
    """The difference on all lines."""
    low: float
    high: float


def paired_bootstrap(
    first: Sequence[Statistics], other: Sequence[Statistics], resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """The mean score of `other` minus that of `first`, with its 95 % confidence interval over resamples of the lines.

    A resample has as many lines as the set, drawn with replacement, and is the same for all outputs. So the interval
    covers the choice of the test lines, for these models. It does not cover the choice of the seeds.

    Args:
        first: the statistics of the outputs of the first variant, for each of its seeds.
        other: the statistics of the outputs of the other variant, on the same lines.
        resamples: the number of resamples.
        seed: of the random draws.
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
    """The mean of the scores over the seeds, where line i counts `times[i]` times."""
    return float(np.mean([each.value(times @ each.rows) for each in outputs]))
