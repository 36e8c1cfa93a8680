"""Scores of translations and of labels, computed the same way in training and by users."""

from zhuyi.evaluation.answers import references_of
from zhuyi.evaluation.length_penalty import tune_length_penalty
from zhuyi.evaluation.lines import Evaluation, evaluate, score, statistics
from zhuyi.evaluation.minimum_bayes_risk import MinimumBayesRisk
from zhuyi.evaluation.running_text import bits_per_byte, statistics_of_text
from zhuyi.evaluation.score import HIGHER_IS_BETTER, Score, Statistics, better, shown_with
from zhuyi.evaluation.text_metrics import bleu_tokenizer_for, too_short_for_bleu

__all__ = [
    "HIGHER_IS_BETTER",
    "Evaluation",
    "MinimumBayesRisk",
    "Score",
    "Statistics",
    "better",
    "bits_per_byte",
    "bleu_tokenizer_for",
    "evaluate",
    "references_of",
    "score",
    "shown_with",
    "statistics",
    "statistics_of_text",
    "too_short_for_bleu",
    "tune_length_penalty",
]
