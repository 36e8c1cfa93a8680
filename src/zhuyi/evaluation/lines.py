"""Scores of translations and of labels, computed the same way in training and by users.

Every score has a signature that says how it was computed. Before any comparison, both sides are brought into the normal
form of the tokenizer (`text.normalizer`): Unicode NFC, a single space for each run of white space, none at
the ends. A model with `text.lowercase` is scored in lower case, one with `text.normalization = "none"` without NFC, and
one with `text.whitespace = "keep"` with all of its white space; the signature says so.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from sacrebleu.metrics.bleu import BLEU

from zhuyi.config import Metric, TextConfig
from zhuyi.errors import ConfigError, DataError
from zhuyi.evaluation.answers import Answers, in_normal_form, listed
from zhuyi.evaluation.label_metrics import accuracy, macro_f1, span_f1
from zhuyi.evaluation.score import HIGHER_IS_BETTER, Score, Statistics
from zhuyi.evaluation.text_metrics import bleu, chrf, exact, per, wer

METRICS: dict[Metric, Callable[[Answers], tuple[Statistics, str]]] = {
    "bleu": bleu,
    "chrf": chrf,
    "wer": wer,
    "per": per,
    "exact": exact,
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "span_f1": span_f1,
}
"""Every metric of answers: what it is computed from, and the signature of the score."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model on a data set."""

    scores: dict[Metric, Score]
    loss: float | None
    """Mean cross entropy per target token in nats, EOS included, without label smoothing; None if it is unknown."""
    lines: int
    """Number of lines."""
    seconds: float
    """Time spent translating, in seconds."""
    hypotheses: list[str]
    """The answer to each line."""
    unfinished: int
    """Number of answers that were cut off at the length limit."""
    windows: list[list[float]] = field(default_factory=list)
    """Of running text, which has no answers: nats, tokens and right tokens of each window (`engine.torch.Losses`)."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as a dictionary for JSON, without those of single lines or windows."""
        scores = {name: asdict(score) for name, score in self.scores.items()}
        figures = {"lines": self.lines, "unfinished": self.unfinished, "seconds": self.seconds, "loss": self.loss}
        return {**figures, "scores": scores}


class Answer(Protocol):
    """One translation of a line."""

    @property
    def text(self) -> str:
        """The translation as text."""

    @property
    def finished(self) -> bool:
        """Whether it ended with EOS, rather than at the length limit."""


class Translates(Protocol):
    """The methods that `evaluate` needs of a translator."""

    @property
    def text(self) -> TextConfig:
        """The settings of the normal form in which answers and references are compared."""

    @property
    def search_signature(self) -> str:
        """The settings of the search, which are appended to the signature of every score."""

    def answers(self, lines: list[str], n_best: int, /) -> Sequence[Sequence[Answer]]:
        """One to `n_best` answers for each line, best first."""

    def loss(self, sources: list[str], targets: list[str], /) -> float | None:
        """Mean cross entropy per target token of `targets` given `sources`."""


def evaluate(
    translator: Translates,
    source_lines: Sequence[str],
    target_lines: Sequence[str] | Sequence[Sequence[str]],
    metrics: Sequence[Metric],
    *,
    bleu_tokenizer: str = "auto",
    n_best: int = 1,
) -> Evaluation:
    """Translate `source_lines` (each distinct line once) and score the answers against `target_lines`.

    Samples depend on the number of a line among the distinct ones.

    Args:
        translator: provides the answers and the loss.
        source_lines: the lines to translate.
        target_lines: one reference for each source line, or a list of references for each.
        metrics: the scores to compute.
        bleu_tokenizer: see `score`.
        n_best: the number of answers to each line that are considered; see `score`.

    Raises:
        DataError: if there are no lines, or if the numbers of source and target lines differ.
        ConfigError: if no metric is given, or if a metric or tokenizer is unknown.
    """
    if len(source_lines) != len(target_lines):
        raise DataError(f"{len(source_lines)} source lines but {len(target_lines)} target lines: line n answers line n")
    references = listed(target_lines, "reference")
    _check(metrics, bleu_tokenizer, len(source_lines))  # before translating
    distinct = list(dict.fromkeys(source_lines))
    start = time.perf_counter()
    answers = dict(zip(distinct, translator.answers(distinct, n_best), strict=True))
    seconds = time.perf_counter() - start
    found = [answers[line] for line in source_lines]
    texts = [[each.text for each in line] for line in found]
    scores = score(metrics, texts, references, source_lines, bleu_tokenizer, translator.text)
    pairs = [(source, target) for source, targets in zip(source_lines, references, strict=True) for target in targets]
    return Evaluation(
        scores={
            name: replace(each, signature=f"{each.signature}|{translator.search_signature}")
            for name, each in scores.items()
        },
        loss=translator.loss([source for source, _ in pairs], [target for _, target in pairs]),
        lines=len(source_lines),
        seconds=seconds,
        hypotheses=[line[0].text for line in found],
        unfinished=sum(not line[0].finished for line in found),
    )


def score(
    metrics: Sequence[Metric],
    hypotheses: Sequence[str] | Sequence[Sequence[str]],
    references: Sequence[str] | Sequence[Sequence[str]],
    sources: Sequence[str] | None = None,
    bleu_tokenizer: str = "auto",
    text: TextConfig | None = None,
) -> dict[Metric, Score]:
    """Score `hypotheses` against `references`.

    - bleu: corpus BLEU. It is 0 if no line has four tokens; use chrf or exact for words and other short answers.
    - chrf: corpus chrF2 (character n-grams up to order 6).
    - wer: the percentage of words whose hypothesis equals none of the references.
    - per: insertions, deletions and substitutions of symbols (separated by white space) against the closest reference
      of each word (the longer one of two equally close ones), in per cent of the symbols of these references.
    - exact: the percentage of words whose hypothesis equals a reference; 100 - wer.
    - accuracy: the percentage of right labels: of lines that have one each, or of the tokens of all lines. Labels stand
      between white space; the first reference of a line counts.
    - macro_f1: the mean of F1 = 2 · right / (found + wanted) of each label that is found or wanted anywhere.
    - span_f1: F1 of the spans of tokens that labels such as B-PER, I-PER and O mark (IOB1, IOB2, IOBES or BMES), all
      types together, as in CoNLL (Tjong Kim Sang & De Meulder 2003): begin, end and type must be right.

    Args:
        metrics: the scores to compute.
        hypotheses: one for each line, or a list of several, best first. Of several, wer, per and exact use the one that
            is closest to a reference (top-n accuracy), and bleu and chrf the first.
        references: one for each line, or a list of one or more. An empty string is a reference: the right answer is
            then empty. The number of references may differ between lines.
        sources: the source lines. For wer, per and exact, lines with equal sources are one word, which has the
            references of all of them and the hypothesis of the first. Without sources, every line is a word.
        bleu_tokenizer: a tokenizer of sacreBLEU, or auto: zh if the references are Chinese, ja-mecab or ko-mecab if
            they are Japanese or Korean (char if the extra is not installed), otherwise 13a.
        text: its `lowercase` and `normalization` define the form in which lines are compared. None: NFC, cased.

    Raises:
        DataError: if there are no lines, if a line has no reference, or if the numbers of lines differ.
        ConfigError: if no metric is given, if a metric or tokenizer is unknown, or if labels mark no spans.
        MissingExtra: if a tokenizer is given by name and its library is not installed.
    """
    _check(metrics, bleu_tokenizer, len(hypotheses))
    answers = in_normal_form(hypotheses, references, sources, bleu_tokenizer, text)
    found = {metric: METRICS[metric](answers) for metric in metrics}
    return {
        metric: Score(metric, statistics.total, signature, HIGHER_IS_BETTER[metric])
        for metric, (statistics, signature) in found.items()
    }


def statistics(
    metric: Metric,
    hypotheses: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    sources: Sequence[str] | None = None,
    bleu_tokenizer: str = "auto",
    text: TextConfig | None = None,
) -> Statistics:
    """What `score` computes a metric from, line by line, for resampling. Arguments and errors are those of `score`."""
    _check([metric], bleu_tokenizer, len(hypotheses))
    found, _ = METRICS[metric](in_normal_form(hypotheses, references, sources, bleu_tokenizer, text))
    return found


def _check(metrics: Sequence[Metric], bleu_tokenizer: str, lines: int) -> None:
    if not metrics:
        raise ConfigError(f"no metric is named: choose from {', '.join(METRICS)}")
    for metric in metrics:
        if metric == "bits_per_byte":
            raise ConfigError(f"{metric} scores running text (data.text); for answers choose {', '.join(METRICS)}")
        if metric not in METRICS:
            raise ConfigError(f"unknown metric {metric}: choose from {', '.join(METRICS)}")
    if bleu_tokenizer not in ("auto", *BLEU.TOKENIZERS):
        raise ConfigError(f"unknown BLEU tokenizer {bleu_tokenizer}: choose from auto, {', '.join(BLEU.TOKENIZERS)}")
    if lines == 0:
        raise DataError("there are no lines to score: the files are empty")
