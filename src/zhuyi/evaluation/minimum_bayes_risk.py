"""Minimum Bayes risk: of several translations of a line, the one with the best expected score.

The expected score of a candidate is the mean of its scores against each candidate as the reference, weighted by the
probability of the latter (Kumar & Byrne 2004, "Minimum Bayes-Risk Decoding for Statistical Machine Translation",
section 2). Samples have equal weights, since a probable one is drawn more often (Eikema & Aziz 2020, "Is MAP Decoding
All You Need?", section 5).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from zhuyi.config import METRICS_OF, Metric, TextConfig
from zhuyi.errors import ConfigError
from zhuyi.evaluation.lines import statistics
from zhuyi.evaluation.score import HIGHER_IS_BETTER
from zhuyi.translator import Translation, Translator


class MinimumBayesRisk:
    """A translator that chooses, of `decoding.n_best` candidates for a line, the one with the best expected score.

    The choice depends on the line alone, and on its number if candidates are sampled.

    Args:
        translator: finds the candidates, as its own `decoding` section says.
        metric: bleu, chrf, wer, per or exact, computed for single lines.

    Raises:
        ConfigError: if there is no such metric, if the translator gives labels, or if it gives one candidate only.
    """

    def __init__(self, translator: Translator, metric: Metric) -> None:
        if metric not in METRICS_OF["pairs"]:
            raise ConfigError(f"minimum Bayes risk by {metric}: choose from {', '.join(METRICS_OF['pairs'])}")
        if translator.labels is not None:
            raise ConfigError("minimum Bayes risk chooses among translations: this model gives labels")
        if translator.config.decoding.n_best < 2:
            raise ConfigError("minimum Bayes risk chooses among several translations: set decoding.n_best to 2 or more")
        self.translator, self.metric = translator, metric

    @property
    def text(self) -> TextConfig:
        """The settings of the normal form."""
        return self.translator.text

    @property
    def search_signature(self) -> str:
        """The signature of the translator's search, the metric, and the number of candidates."""
        return (
            f"{self.translator.search_signature}|mbr:{self.metric}|candidates:{self.translator.config.decoding.n_best}"
        )

    def hypotheses(
        self, lines: Sequence[str], on_cut: Callable[[int, int], None] | None = None, first: int = 0
    ) -> list[list[Translation]]:
        """One translation of each line; arguments as for `Translator.hypotheses`."""
        return [[self._best(found)] for found in self.translator.hypotheses(lines, on_cut=on_cut, first=first)]

    def answers(self, lines: Sequence[str], n_best: int) -> list[list[Translation]]:
        """One translation of each line, as `evaluate` takes them.

        Raises:
            ConfigError: if more than one is wanted.
        """
        if n_best != 1:
            raise ConfigError(f"minimum Bayes risk gives one translation of a line, not {n_best}")
        return self.hypotheses(lines)

    def loss(self, sources: Sequence[str], targets: Sequence[str]) -> float:
        """As `Translator.loss`."""
        return self.translator.loss(sources, targets)

    def _best(self, found: list[Translation]) -> Translation:
        if self.translator.config.decoding.strategy == "sampling":
            weights = np.ones(len(found))
        else:
            log_probs = np.array([sum(each.token_logprobs) for each in found])
            weights = np.exp(log_probs - log_probs.max())
        expected = expected_scores([each.text for each in found], weights, self.metric, self.text)
        return found[int(np.argmax(expected if HIGHER_IS_BETTER[self.metric] else -expected))]


def expected_scores(
    candidates: Sequence[str], weights: npt.NDArray[np.float64], metric: Metric, text: TextConfig | None = None
) -> npt.NDArray[np.float64]:
    """The expected score of each candidate, if each is right with a probability in proportion to its weight.

    Args:
        candidates: translations of one line, which may be equal.
        weights: at least 0 each, with a positive sum.
        metric: of text.
        text: settings of the normal form in which they are compared.
    """
    distinct = list(dict.fromkeys(candidates))
    number = np.array([distinct.index(each) for each in candidates])
    share = np.bincount(number, weights) / weights.sum()
    pairs = [(answer, right) for answer in distinct for right in distinct]
    found = statistics(metric, [answer for answer, _ in pairs], [right for _, right in pairs], text=text)
    scores = np.array([found.value(row) for row in found.rows]).reshape(len(distinct), len(distinct))
    return np.take(scores @ share, number)
