"""The limits of the length of an output (`DecodingConfig.limits`), chosen from the lengths of the training pairs."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from zhuyi.config import DecodingConfig
from zhuyi.data.sequences import Lengths

RATIOS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 25.0, 50.0, 100.0)
"""The ratios of target tokens to source tokens that are tried."""
FITTING_SHARE = 0.999
"""Share of the pairs that must fit. Of a thousand pairs or fewer, one outlier need not."""
RATIO_HEADROOM, EXTRA_HEADROOM_TOKENS = 1.25, 10
"""Headroom, as a factor and in tokens, for lines that differ from the training pairs."""
MAX_PAIRS = 1_000_000
"""Most pairs from which the limits are chosen, evenly spaced: more would not change a quantile."""

EOS_LENGTH = np.int64(1)
"""Is counted on both sides. Its type makes lengths of two unsigned bytes wide enough to be subtracted."""


def choose_limits(decoding: DecodingConfig, pairs: Lengths) -> DecodingConfig:
    """`decoding` with `max_ratio` and `max_extra` chosen from the data, unless they are set.

    They are those of the line target = ratio · source + extra that allows the fewest tokens on average, among those
    under which 99.9 % of the pairs lie, with some headroom.

    Args:
        decoding: of the configuration; what is set in it is kept.
        pairs: the lengths of the training pairs, in tokens without BOS and EOS.
    """
    step = math.ceil(len(pairs.source_lengths) / MAX_PAIRS)
    sources, targets = pairs.source_lengths[::step] + EOS_LENGTH, pairs.target_lengths[::step] + EOS_LENGTH
    ratio, extra = decoding.max_ratio, decoding.max_extra
    if ratio is None and extra is not None:
        ratio = round(RATIO_HEADROOM * min(max(_quantile((targets - extra) / sources), 0.0), RATIOS[-1]), 3)
    elif extra is None:
        needed = {
            each: max(_quantile(targets - each * sources), 0.0) for each in (RATIOS if ratio is None else (ratio,))
        }
        best = min(needed, key=lambda each: each * sources.mean() + needed[each])
        ratio = round(RATIO_HEADROOM * best, 3) if ratio is None else ratio
        extra = math.ceil(needed[best]) + EXTRA_HEADROOM_TOKENS
    assert ratio is not None
    return decoding.model_copy(update={"max_ratio": ratio, "max_extra": extra})


def limits_of_model(model: DecodingConfig, chosen: DecodingConfig, pairs: Lengths, max_length: int) -> DecodingConfig:
    """The limits for a model that is fine-tuned: its own if the pairs fit, and otherwise the larger of both.

    Args:
        model: the decoding settings of the model.
        chosen: the decoding settings of the run, with limits from `choose_limits`.
        pairs: the lengths of the training pairs of the run.
        max_length: `model.max_length`.

    Returns:
        `chosen` with these limits.
    """
    if model.max_ratio is None or model.max_extra is None or chosen.max_ratio is None or chosen.max_extra is None:
        return chosen
    kept = chosen.model_copy(update={"max_ratio": model.max_ratio, "max_extra": model.max_extra})
    if count_over_limit(kept, pairs, max_length) <= (1 - FITTING_SHARE) * len(pairs.source_lengths):
        return kept
    higher = max(model.max_ratio, chosen.max_ratio), max(model.max_extra, chosen.max_extra)
    return chosen.model_copy(update={"max_ratio": higher[0], "max_extra": higher[1]})


def limits_of_text(decoding: DecodingConfig, max_length: int) -> DecodingConfig:
    """`decoding` with `max_ratio` and `max_extra` that allow `max_length` tokens, unless they are set.

    This is for running text, where no position is a natural end.
    """
    ratio = 0.0 if decoding.max_ratio is None else decoding.max_ratio
    extra = max_length if decoding.max_extra is None else decoding.max_extra
    return decoding.model_copy(update={"max_ratio": ratio, "max_extra": extra})


def count_over_limit(decoding: DecodingConfig, pairs: Lengths, max_length: int) -> int:
    """The number of pairs whose target is longer than decoding may write for their source."""
    over = 0
    for start in range(0, len(pairs.source_lengths), MAX_PAIRS):  # a part at a time: there may be many millions
        part = slice(start, start + MAX_PAIRS)
        sources, targets = pairs.source_lengths[part] + EOS_LENGTH, pairs.target_lengths[part] + EOS_LENGTH
        over += int((targets > decoding.limits(sources, max_length)).sum())
    return over


def _quantile(values: npt.NDArray[Any]) -> float:
    """The `FITTING_SHARE` quantile: one of the values, and not the largest unless there is only one."""
    rank = math.floor(FITTING_SHARE * (len(values) - 1))
    return float(np.partition(values, rank)[rank])
