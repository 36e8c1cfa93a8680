"""Metrics of labels (the encoder shape): accuracy, macro F1, and F1 of the spans that labels of tokens mark."""

from importlib.metadata import version
from itertools import chain

import numpy as np
import numpy.typing as npt
from seqscore.encoding import EncodingError
from seqscore.scoring import score_label_sequences

from zhuyi.errors import ConfigError
from zhuyi.evaluation.answers import Answers
from zhuyi.evaluation.score import Statistics, case_of, norm_of, share
from zhuyi.version import __version__


def accuracy(answers: Answers) -> tuple[Statistics, str]:
    """The share of right labels, and the signature."""
    counts = ((sum(map(str.__eq__, found, right)), len(right)) for found, right in answers.labels)
    return share(counts), _signature(answers)


def macro_f1(answers: Answers) -> tuple[Statistics, str]:
    """For each label, how often it is found, how often it is right, and how often both; and the signature."""
    kinds = {label: i for i, label in enumerate(sorted({label for both in answers.labels for label in chain(*both)}))}
    rows = np.zeros((len(answers.labels), 3, len(kinds)), dtype=np.int64)
    for row, (found, right) in zip(rows, answers.labels, strict=True):
        for one, other in zip(found, right, strict=True):
            row[0, kinds[one]] += one != ""
            row[1, kinds[other]] += 1
            row[2, kinds[other]] += one == other

    def value(sums: npt.NDArray[np.int64]) -> float:
        found, wanted, right = sums.reshape(3, -1)
        there = found + wanted > 0
        return float(100 * (2 * right[there] / (found + wanted)[there]).mean()) if there.any() else 0.0

    return Statistics(rows.reshape(len(rows), -1), value), _signature(answers)


def span_f1(answers: Answers) -> tuple[Statistics, str]:
    """For each line, the numbers of true positive, false positive and false negative spans; and the signature.

    Raises:
        ConfigError: if the labels mark no spans.
    """
    rows = []
    try:
        for found, right in answers.labels:
            score, _ = score_label_sequences([_iob2(found)], [_iob2(right)], "BIO", repair="conlleval")
            rows.append((score.true_pos, score.false_pos, score.false_neg))
    except EncodingError as error:
        raise ConfigError(
            "span_f1 needs labels that mark spans, such as B-PER, I-PER and O: choose accuracy or macro_f1 "
            f"({' '.join(str(error).split()[:5])})"
        ) from error

    def value(sums: npt.NDArray[np.int64]) -> float:
        true_positive, false_positive, false_negative = map(int, sums)
        return 100 * 2 * true_positive / max(2 * true_positive + false_positive + false_negative, 1)

    signature = _signature(answers, f"repair:conlleval|seqscore:{version('seqscore')}")
    return Statistics(np.array(rows, dtype=np.int64), value), signature


_IOB2 = {"B": "B", "S": "B", "U": "B", "I": "I", "M": "I", "E": "I", "L": "I"}
"""From the prefix of a label in any scheme to that in IOB2."""


def _iob2(labels: list[str]) -> list[str]:
    """Labels in IOB2, from IOB1, IOB2, IOBES, BILOU or BMES; conlleval's repair begins the spans that lack a B.

    A span ends after E, L, S and U, so a label that follows one of them begins another.

    Raises:
        EncodingError: if a label has a prefix and no type.
    """
    converted, ended = [], False
    for label in labels:
        state, dash, kind = label.partition("-")
        if dash and not kind:
            raise EncodingError(f"Could not parse label {label!r}")  # as seqscore, which fails an assertion instead
        state = state.upper()  # text.lowercase applies to labels too
        if dash and state in _IOB2:
            converted.append(f"{'B' if ended else _IOB2[state]}-{kind}")
        else:
            converted.append(state if state == "O" else label or "O")
        ended = state in ("E", "L", "S", "U")
    return converted


def _signature(answers: Answers, *more: str) -> str:
    counts = f"lines:{len(answers.labels)}", f"labels:{sum(len(right) for _, right in answers.labels)}"
    return "|".join([case_of(answers.text), *counts, *more, norm_of(answers.text), f"version:zhuyi-{__version__}"])
