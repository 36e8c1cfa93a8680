"""How long an output may get: `DecodingConfig.limits`, chosen from the lengths of the training pairs."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from zhuyi.config import DecodingConfig
from zhuyi.data.sequences import Lengths

RATIOS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 25.0, 50.0, 100.0)
"""Target tokens a source token that are tried."""
FITTING_SHARE = 0.999
"""Share of the pairs that must fit; so of a thousand pairs or fewer, the one outlier need not."""
RATIO_HEADROOM, EXTRA_HEADROOM_TOKENS = 1.25, 10
"""Factor and tokens on top, for lines that are not like those of training."""
MAX_PAIRS = 1_000_000
"""Most pairs from which the limits are chosen, evenly spread: more would not change a quantile."""

EOS_LENGTH = np.int64(1)
"""Counts on both sides; and lengths in two bytes become wide enough to be subtracted."""


def choose_limits(decoding: DecodingConfig, pairs: Lengths) -> DecodingConfig:
    """`decoding` with the `max_ratio` and `max_extra` that are not set chosen from the data.

    Of all lines target = ratio · source + extra under which 99.9 % of the pairs lie, the one that allows the fewest
    tokens on average; and some headroom above it.

    Args:
        decoding: of the configuration; what it sets stays as it is.
        pairs: lengths of the training pairs, in tokens without BOS and EOS.
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


def no_lower_than(least: DecodingConfig, decoding: DecodingConfig) -> DecodingConfig:
    """`decoding`, whose limits were chosen from the data of a run, with limits no lower than those of `least`.

    So a model that is trained further may write outputs as long as before. Limits that either has not are left alone.
    """
    higher = {}
    for name in ("max_ratio", "max_extra"):
        ours, theirs = getattr(decoding, name), getattr(least, name)
        if ours is not None and theirs is not None:
            higher[name] = max(ours, theirs)
    return decoding.model_copy(update=higher)


def limits_of_text(decoding: DecodingConfig, max_length: int) -> DecodingConfig:
    """`decoding` with `max_ratio` and `max_extra`, where they are not set, that let an output have `max_length` tokens.

    Running text ends nowhere.
    """
    ratio = 0.0 if decoding.max_ratio is None else decoding.max_ratio
    extra = max_length if decoding.max_extra is None else decoding.max_extra
    return decoding.model_copy(update={"max_ratio": ratio, "max_extra": extra})


def count_over_limit(decoding: DecodingConfig, pairs: Lengths, max_length: int) -> int:
    """Pairs whose target is longer than decoding may write for their source."""
    over = 0
    for start in range(0, len(pairs.source_lengths), MAX_PAIRS):  # a part at a time: there may be many millions
        part = slice(start, start + MAX_PAIRS)
        sources, targets = pairs.source_lengths[part] + EOS_LENGTH, pairs.target_lengths[part] + EOS_LENGTH
        over += int((targets > decoding.limits(sources, max_length)).sum())
    return over


def _quantile(values: npt.NDArray[Any]) -> float:
    """The value under which `FITTING_SHARE` of them lie: one of them, and never the largest where there are others."""
    rank = math.floor(FITTING_SHARE * (len(values) - 1))
    return float(np.partition(values, rank)[rank])
