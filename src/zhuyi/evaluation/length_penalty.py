"""The length penalty of a model, chosen by the score of a dev set."""

from collections.abc import Callable, Sequence

from zhuyi.config import Metric
from zhuyi.errors import ConfigError
from zhuyi.evaluation.lines import score
from zhuyi.evaluation.score import Score, better
from zhuyi.translator import Translator

LENGTH_PENALTIES = tuple(round(0.2 * step, 1) for step in range(11))
"""0 to 2."""


def tune_length_penalty(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[Sequence[str]],
    metric: Metric,
    on_score: Callable[[float, Score], None] | None = None,
) -> tuple[float, Score]:
    """Choose the α with the best score among `LENGTH_PENALTIES` and the translator's own; of ties, the nearest to that.

    Args:
        translator: one that searches with a beam.
        sources: lines of a dev set; tuning on a test set would make its score too good.
        references: those of each line.
        metric: a metric of text.
        on_score: called with each α and its score.

    Returns:
        The best α, and its score.

    Raises:
        ConfigError: if a length penalty would change nothing: without a beam, or with a beam of 1.
    """
    decoding = translator.config.decoding
    if translator.labels is not None or decoding.strategy != "beam" or decoding.beam == 1:
        raise ConfigError("a length penalty chooses among the hypotheses of a beam: set decoding.beam to 2 or more")
    found: list[tuple[float, Score]] = []
    own = decoding.length_penalty
    for penalty in sorted({*LENGTH_PENALTIES, own}, key=lambda each: abs(each - own)):
        answers = translator.translate(sources, length_penalty=penalty)
        scored = score([metric], answers, references, sources, text=translator.text)[metric]
        found.append((penalty, scored))
        if on_score is not None:
            on_score(penalty, scored)
    best = found[0]
    for each in found[1:]:
        if better(metric, each[1].value, best[1].value):
            best = each
    return best
