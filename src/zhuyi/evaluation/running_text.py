"""Scores of a model on running text: bits per byte of a language model, and accuracy of masked tokens."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from zhuyi.config import Metric, TextConfig
from zhuyi.evaluation.lines import Evaluation
from zhuyi.evaluation.score import HIGHER_IS_BETTER, Score, Statistics, case_of, norm_of
from zhuyi.version import __version__

if TYPE_CHECKING:
    from zhuyi.data.sequences import Sequences
    from zhuyi.engine.torch import Losses


@runtime_checkable
class ReadsText(Protocol):
    """The method that `score_text` needs of an engine."""

    def losses(self, corpus: Sequences) -> Losses:
        """The cross entropy of all target tokens of a corpus."""


def score_text(engine: ReadsText, corpus: Sequences, size: int, window: int, text: TextConfig) -> Evaluation:
    """Score a language model by the cross entropy of running text: loss per token, and bits per byte.

    Args:
        engine: of the model.
        corpus: windows of the text's tokens.
        size: see `bits_per_byte`, as for the next two.
        window: the number of tokens of a window.
        text: the settings of the model.
    """
    start = time.perf_counter()
    losses = engine.losses(corpus)
    seconds = time.perf_counter() - start
    scores: dict[Metric, Score] = {"bits_per_byte": bits_per_byte(losses.nats, size, window, text)}
    return Evaluation(scores, losses.mean, len(losses.rows), seconds, [], unfinished=0, windows=losses.rows.tolist())


def score_masked(engine: ReadsText, corpus: Sequences, text: TextConfig) -> Evaluation:
    """Score masked pre-training (`data.masked`): loss per masked token, and accuracy.

    Args:
        engine: of the model.
        corpus: windows of a text with some tokens masked.
        text: the settings of the model.
    """
    start = time.perf_counter()
    losses = engine.losses(corpus)
    seconds = time.perf_counter() - start
    signature = f"masked:{losses.tokens}|{case_of(text)}|{norm_of(text)}|version:zhuyi-{__version__}"
    accuracy = Score("accuracy", 100 * losses.right / losses.tokens, signature, HIGHER_IS_BETTER["accuracy"])
    rows = losses.rows.tolist()
    return Evaluation({"accuracy": accuracy}, losses.mean, len(rows), seconds, [], unfinished=0, windows=rows)


def statistics_of_text(metric: Metric, windows: Sequence[Sequence[float]], score: float) -> Statistics:
    """What a score of running text is computed from, window by window, for resampling.

    Args:
        metric: bits_per_byte, or accuracy of masked tokens.
        windows: `Evaluation.windows`.
        score: that of all windows. A selection of windows is taken to have bytes in proportion to its tokens.
    """
    nats, tokens, right = np.array(windows, dtype=np.float64).T
    if metric == "accuracy":
        return Statistics(np.stack([right, tokens], axis=1), lambda sums: float(100 * sums[0] / sums[1]))
    factor = score * tokens.sum() / nats.sum()  # from nats per token to bits per byte
    return Statistics(np.stack([nats, tokens], axis=1), lambda sums: float(factor * sums[0] / sums[1]))


def bits_per_byte(nats: float, size: int, window: int, text: TextConfig) -> Score:
    """The score of a language model on running text: the bits that an ideal coder would need for each byte.

    Unlike the loss per token, it can be compared between vocabularies.

    Args:
        nats: the sum of the cross entropies of all tokens of the text, in nats.
        size: bytes of the text in UTF-8, line breaks included (`data.store.FilterReport.bytes`).
        window: the number of tokens in a window, of which the first is predicted from no context.
        text: settings of the normal form that was tokenised.
    """
    signature = f"bytes:{size}|window:{window}|{case_of(text)}|{norm_of(text)}|version:zhuyi-{__version__}"
    return Score("bits_per_byte", nats / (math.log(2) * size), signature, HIGHER_IS_BETTER["bits_per_byte"])
