"""Scores of translations and of labels, computed the same way in training and by users.

Every score has a signature that says how it was computed. BLEU and chrF are computed by sacreBLEU (Post 2018, "A Call
for Clarity in Reporting BLEU Scores"). WER, PER and exact match follow the conventions of grapheme-to-phoneme
conversion (CMUdict, SIGMORPHON 2021): lines with the same source are one word with several right answers, and count
once. Of labels (the encoder shape) every line counts: see `score`.

Before any comparison, both sides are brought into the normal form of the tokenizer (`text.tokenizer.normalizer`):
Unicode NFC, a single space for each run of white space, and none at the ends. A model with `text.lowercase` is scored
in lower case, one with `text.normalization = "none"` without NFC, and one with `text.whitespace = "keep"` with all of
its white space; the signature says so.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from seqscore.encoding import EncodingError
from seqscore.scoring import score_label_sequences

from zhuyi.config import Metric, TextConfig
from zhuyi.errors import ConfigError, DataError, MissingExtra
from zhuyi.text.tokenizer import normalizer
from zhuyi.version import __version__

if TYPE_CHECKING:
    from zhuyi.data.sequences import Sequences
    from zhuyi.engine.torch import Losses

HIGHER_IS_BETTER: dict[Metric, bool] = {
    "bleu": True,
    "chrf": True,
    "wer": False,
    "per": False,
    "exact": True,
    "bits_per_byte": False,
    "accuracy": True,
    "macro_f1": True,
    "span_f1": True,
}
"""Every metric, and whether higher values are better."""

_EXTRA_OF_TOKENIZER = {"ja-mecab": "japanese", "ko-mecab": "korean"}
_HAN = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\u30fc\u31f0-\u31ff\uff66-\uff9d]")
_HANGUL = re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")


@dataclass(frozen=True)
class Score:
    """The value of one metric, and how it was computed."""

    name: Metric
    value: float
    """In per cent: 0 to 100, but WER and PER may exceed 100. Bits per byte: in bits."""
    signature: str
    """How the value was computed. Values with equal signatures are comparable."""
    higher_is_better: bool


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
        """The numbers as a dictionary for JSON, without those of single lines or windows."""
        scores = {name: asdict(score) for name, score in self.scores.items()}
        figures = {"lines": self.lines, "unfinished": self.unfinished, "seconds": self.seconds, "loss": self.loss}
        return {**figures, "scores": scores}


@dataclass(frozen=True)
class Statistics:
    """What a corpus score is computed from: numbers of each line, whose sums give the score of any choice of lines."""

    rows: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    """`lines figures`; for WER, PER and exact match, a row is a word, and of running text, a window."""
    value: Callable[[npt.NDArray[Any]], float]
    """From the sums of the rows to the score."""


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


@runtime_checkable
class ReadsText(Protocol):
    """The method that `evaluate_text` needs of an engine."""

    def losses(self, corpus: Sequences) -> Losses:
        """The cross entropy of all target tokens of a corpus."""


@dataclass(frozen=True)
class _Answers:
    """What the metrics compare, in normal form: lines, or words for WER, PER and exact match."""

    hypotheses: list[str]
    references: list[list[str]]
    words: list[tuple[list[str], set[str]]]
    """(hypotheses, all right answers) of each distinct source."""
    n_best: int
    """The largest number of hypotheses of a word."""
    grouped: bool
    bleu_tokenizer: str
    text: TextConfig

    @property
    def case(self) -> str:
        """The case of the comparison, as part of a signature."""
        return "case:lc" if self.text.lowercase else "case:mixed"

    @property
    def norm(self) -> str:
        """The normalization of the comparison, as part of a signature."""
        return _norm(self.text)

    @property
    def labels(self) -> list[tuple[list[str], list[str]]]:
        """Of each line the labels found, and as many right ones: a label that was not found is empty."""
        lines = [
            (found.split(), right[0].split()) for found, right in zip(self.hypotheses, self.references, strict=True)
        ]
        return [(found[: len(right)] + [""] * (len(right) - len(found)), right) for found, right in lines]


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
    references = _lists(target_lines, "reference")
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
    answers = _answers(hypotheses, references, sources, bleu_tokenizer, text)
    return {metric: Score(metric, *_METRICS[metric](answers), HIGHER_IS_BETTER[metric]) for metric in metrics}


def evaluate_text(engine: ReadsText, corpus: Sequences, size: int, window: int, text: TextConfig) -> Evaluation:
    """Score a language model by the cross entropy of running text: loss a token, and bits a byte.

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


def evaluate_masked(engine: ReadsText, corpus: Sequences, text: TextConfig) -> Evaluation:
    """Score masked pre-training (`data.masked`): loss a masked token, and how many of them are found.

    Args:
        engine: of the model.
        corpus: windows of a text, some tokens of which are masked.
        text: the settings of the model.
    """
    start = time.perf_counter()
    losses = engine.losses(corpus)
    seconds = time.perf_counter() - start
    case = "case:lc" if text.lowercase else "case:mixed"
    signature = f"masked:{losses.tokens}|{case}|{_norm(text)}|version:zhuyi-{__version__}"
    accuracy = Score("accuracy", 100 * losses.right / losses.tokens, signature, HIGHER_IS_BETTER["accuracy"])
    rows = losses.rows.tolist()
    return Evaluation({"accuracy": accuracy}, losses.mean, len(rows), seconds, [], unfinished=0, windows=rows)


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
    return _STATISTICS[metric](_answers(hypotheses, references, sources, bleu_tokenizer, text))


def statistics_of_text(metric: Metric, windows: Sequence[Sequence[float]], score: float) -> Statistics:
    """What a score of running text is computed from, window by window, for resampling.

    Args:
        metric: bits_per_byte, or accuracy of masked tokens.
        windows: `Evaluation.windows`.
        score: of all of them. The bytes of a choice of windows are in proportion to its tokens.
    """
    nats, tokens, right = np.array(windows, dtype=np.float64).T
    if metric == "accuracy":
        return Statistics(np.stack([right, tokens], axis=1), lambda sums: float(100 * sums[0] / sums[1]))
    of_a_nat = score * tokens.sum() / nats.sum()  # bits a byte for each nat a token
    return Statistics(np.stack([nats, tokens], axis=1), lambda sums: float(of_a_nat * sums[0] / sums[1]))


def bits_per_byte(nats: float, size: int, window: int, text: TextConfig) -> Score:
    """The score of a language model on running text: how many bits an ideal coder would need for each of its bytes.

    Unlike the loss per token, it can be compared between vocabularies.

    Args:
        nats: the cross entropy of all tokens of the text together, in nats.
        size: bytes of the text in UTF-8, line breaks counted (`data.store.FilterReport.bytes`).
        window: the number of tokens that are predicted together, the first of them from nothing.
        text: settings of the normal form, of which the tokens are.
    """
    case = "case:lc" if text.lowercase else "case:mixed"
    signature = f"bytes:{size}|window:{window}|{case}|{_norm(text)}|version:zhuyi-{__version__}"
    return Score("bits_per_byte", nats / (math.log(2) * size), signature, HIGHER_IS_BETTER["bits_per_byte"])


def references_of(files: Sequence[Sequence[str]]) -> list[list[str]]:
    """The references of each line, from several files with one reference per line.

    A blank line in a file means that the file has no reference for this line. If the line is blank in all files, the
    right answer is the empty string.

    Args:
        files: the lines of each file; all have the same number of lines.
    """
    return [[reference for reference in line if reference.strip()] or [""] for line in zip(*files, strict=True)]


def shown_with(metric: Metric) -> list[Metric]:
    """The metrics of a report whose main metric is `metric`: chrF accompanies BLEU."""
    return [metric, "chrf"] if metric == "bleu" else [metric]


def better(metric: Metric, a: float, b: float) -> bool:
    """Whether value `a` of `metric` is strictly better than `b`."""
    return a > b if HIGHER_IS_BETTER[metric] else a < b


def bleu_tokenizer_for(references: Iterable[str]) -> str:
    """The sacreBLEU tokenizer for the script of `references`, judged by all of their letters.

    zh, ja-mecab and ko-mecab are chosen if at least a fifth of the letters are Han, kana or Hangul, because one such
    letter corresponds to several letters of an alphabet. Japanese has at least a tenth of kana among them, and Chinese
    almost none.
    """
    text = "".join(references)
    han, kana, hangul = (len(script.findall(text)) for script in (_HAN, _KANA, _HANGUL))
    if han + kana + hangul == 0 or han + kana + hangul < 0.2 * sum(map(str.isalpha, text)):
        return "13a"
    if hangul > han + kana:
        return "ko-mecab"
    return "ja-mecab" if kana > 0.1 * (han + kana) else "zh"


def too_short_for_bleu(references: Sequence[str], bleu_tokenizer: str = "auto") -> bool:
    """Whether no reference has four tokens. BLEU is then 0 or almost 0, whatever the answers are.

    Args:
        references: the references of all lines.
        bleu_tokenizer: see `score`.
    """
    metric = _bleu_of(references, bleu_tokenizer)
    return not any(len(metric.tokenizer(line).split()) >= metric.max_ngram_order for line in references)


def _answers(
    hypotheses: Sequence[str] | Sequence[Sequence[str]],
    references: Sequence[str] | Sequence[Sequence[str]],
    sources: Sequence[str] | None,
    bleu_tokenizer: str,
    text: TextConfig | None,
) -> _Answers:
    """The arguments of `score`, in normal form."""
    if len(hypotheses) != len(references):
        raise DataError(f"{len(hypotheses)} hypotheses but {len(references)} reference lines: line n answers line n")
    if sources is not None and len(sources) != len(hypotheses):
        raise DataError(f"{len(sources)} source lines but {len(hypotheses)} hypotheses: line n answers line n")
    text = text or TextConfig()
    assert text.whitespace is not None
    form = normalizer(text.lowercase, text.normalization, text.whitespace)

    def normal(lines: Iterable[str]) -> list[str]:
        return [form.normalize_str(line) for line in lines]

    normal_hypotheses = [normal(line) for line in _lists(hypotheses, "hypothesis")]
    normal_references = [normal(line) for line in _lists(references, "reference")]
    keys: Sequence[int | str] = range(len(hypotheses)) if sources is None else normal(sources)
    words: dict[int | str, tuple[list[str], set[str]]] = {}
    for key, found, right in zip(keys, normal_hypotheses, normal_references, strict=True):
        words.setdefault(key, (found, set()))[1].update(right)
    return _Answers(
        hypotheses=[line[0] for line in normal_hypotheses],
        references=normal_references,
        words=list(words.values()),
        n_best=max(map(len, normal_hypotheses)),
        grouped=sources is not None,
        bleu_tokenizer=bleu_tokenizer,
        text=text,
    )


def _bleu(answers: _Answers) -> tuple[float, str]:
    return _by_sacrebleu(_bleu_metric(answers), answers)


def _bleu_metric(answers: _Answers) -> BLEU:
    references = [reference for line in answers.references for reference in line]
    return _bleu_of(references, answers.bleu_tokenizer, answers.text.lowercase)


def _bleu_of(references: Sequence[str], tokenizer: str, lowercase: bool = False) -> BLEU:
    if tokenizer != "auto":
        return _bleu_with(tokenizer, lowercase)
    try:
        return _bleu_with(bleu_tokenizer_for(references), lowercase)
    except MissingExtra:
        return _bleu_with("char", lowercase)


def _bleu_with(tokenizer: str, lowercase: bool) -> BLEU:
    try:
        # force: no warning about lines that end in " ."
        return BLEU(lowercase=lowercase, tokenize=tokenizer, force=True)
    except (RuntimeError, ImportError, OSError) as error:
        if tokenizer in _EXTRA_OF_TOKENIZER:
            raise MissingExtra(f"the BLEU tokenizer {tokenizer}", _EXTRA_OF_TOKENIZER[tokenizer]) from error
        reason = " ".join(str(error).split())
        raise ConfigError(f"the BLEU tokenizer {tokenizer} cannot be used here ({reason}); choose another") from error


def _chrf(answers: _Answers) -> tuple[float, str]:
    return _by_sacrebleu(_chrf_metric(answers), answers)


def _chrf_metric(answers: _Answers) -> CHRF:
    return CHRF(lowercase=answers.text.lowercase)


def _by_sacrebleu(metric: BLEU | CHRF, answers: _Answers) -> tuple[float, str]:
    value = metric.corpus_score(answers.hypotheses, _streams(answers)).score
    return float(value), f"{metric.get_signature()}|{answers.norm}"


def _norm(text: TextConfig) -> str:
    """The normal form, except for the case, as part of a signature."""
    return f"norm:{text.normalization}" + "|space:keep" * (text.whitespace == "keep")


def _streams(answers: _Answers) -> list[list[str]]:
    """The references as sacreBLEU takes them: the first of each line, the second, and so on."""
    most = max(map(len, answers.references))
    streams = [[line[n] if n < len(line) else None for line in answers.references] for n in range(most)]
    return cast("list[list[str]]", streams)  # None is "no further reference"; sacreBLEU's annotation leaves it out


def _wer(answers: _Answers) -> tuple[float, str]:
    return _total(_wrong_words(answers)), _signature(answers)


def _exact(answers: _Answers) -> tuple[float, str]:
    return _total(_right_words(answers)), _signature(answers)


def _per(answers: _Answers) -> tuple[float, str]:
    return _total(_wrong_symbols(answers)), _signature(answers, "unit:symbol|ref:closest")


def _total(statistics: Statistics) -> float:
    return statistics.value(statistics.rows.sum(axis=0))


def _share(counts: Iterable[tuple[int, int]]) -> Statistics:
    """From pairs (counted, of how many), one a word."""
    rows = np.array(list(counts), dtype=np.int64).reshape(-1, 2)
    return Statistics(rows, lambda sums: float(100 * sums[0] / max(sums[1], 1)))


def _wrong_words(answers: _Answers) -> Statistics:
    return _share((right.isdisjoint(found), 1) for found, right in answers.words)


def _right_words(answers: _Answers) -> Statistics:
    return _share((not right.isdisjoint(found), 1) for found, right in answers.words)


def _wrong_symbols(answers: _Answers) -> Statistics:
    """Edits and symbols of each word; see `score`."""

    def of_word(found: list[str], right: set[str]) -> tuple[int, int]:
        distances = [
            (Levenshtein.distance(hypothesis.split(), phones), -len(phones))
            for hypothesis in found
            for phones in map(str.split, right)
        ]
        distance, minus_length = min(distances)
        return distance, -minus_length

    return _share(of_word(found, right) for found, right in answers.words)


def _sacrebleu_statistics(metric: BLEU | CHRF, answers: _Answers) -> Statistics:
    """SacreBLEU's own statistics of segments, as its significance tests use them."""
    rows = metric._extract_corpus_statistics(answers.hypotheses, _streams(answers))
    return Statistics(
        np.array(rows, dtype=np.int64), lambda sums: float(metric._compute_score_from_stats(sums.tolist()).score)
    )


def _accuracy(answers: _Answers) -> tuple[float, str]:
    return _total(_right_labels(answers)), _label_signature(answers)


def _right_labels(answers: _Answers) -> Statistics:
    return _share((sum(map(str.__eq__, found, right)), len(right)) for found, right in answers.labels)


def _macro_f1(answers: _Answers) -> tuple[float, str]:
    return _total(_labels_of_each_kind(answers)), _label_signature(answers)


def _labels_of_each_kind(answers: _Answers) -> Statistics:
    """Of each label: how often it was found, wanted, and both."""
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

    return Statistics(rows.reshape(len(rows), -1), value)


def _span_f1(answers: _Answers) -> tuple[float, str]:
    signature = _label_signature(answers, f"repair:conlleval|seqscore:{version('seqscore')}")
    return _total(_spans(answers)), signature


def _spans(answers: _Answers) -> Statistics:
    """Spans that were found and wanted, found only, and wanted only."""
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
        both, found, wanted = map(int, sums)
        return 100 * 2 * both / max(2 * both + found + wanted, 1)

    return Statistics(np.array(rows, dtype=np.int64), value)


_IOB2 = {"B": "B", "S": "B", "U": "B", "I": "I", "M": "I", "E": "I", "L": "I"}
"""The states of labels of a span, and those of IOB2 in their place."""


def _iob2(labels: list[str]) -> list[str]:
    """Labels in IOB2, from any of IOB1, IOB2, IOBES and BMES; conlleval repairs what begins with an I.

    A span ends after E, L, S and U, so that what follows one of them begins another.
    """
    converted, ended = [], False
    for label in labels:
        state, dash, kind = label.partition("-")
        state = state.upper()  # text.lowercase is of labels too
        if dash and state in _IOB2:
            converted.append(f"{'B' if ended else _IOB2[state]}-{kind}")
        else:
            converted.append(state if state == "O" else label or "O")
        ended = state in ("E", "L", "S", "U")
    return converted


def _label_signature(answers: _Answers, *more: str) -> str:
    counts = f"lines:{len(answers.labels)}", f"labels:{sum(len(right) for _, right in answers.labels)}"
    return "|".join([answers.case, *counts, *more, answers.norm, f"version:zhuyi-{__version__}"])


def _signature(answers: _Answers, *more: str) -> str:
    """A signature in sacreBLEU's format: what was compared, how, and by which version."""
    counts = {len(right) for _, right in answers.words}
    parts = [
        f"nrefs:{counts.pop() if len(counts) == 1 else 'var'}",
        answers.case,
        f"group:{'source' if answers.grouped else 'none'}",
        f"lines:{len(answers.hypotheses)}",
        f"words:{len(answers.words)}",
        *([f"nbest:{answers.n_best}"] if answers.n_best > 1 else []),
        *more,
        answers.norm,
        f"version:zhuyi-{__version__}",
    ]
    return "|".join(parts)


_METRICS: dict[Metric, Callable[[_Answers], tuple[float, str]]] = {
    "bleu": _bleu,
    "chrf": _chrf,
    "wer": _wer,
    "per": _per,
    "exact": _exact,
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "span_f1": _span_f1,
}

_STATISTICS: dict[Metric, Callable[[_Answers], Statistics]] = {
    "bleu": lambda answers: _sacrebleu_statistics(_bleu_metric(answers), answers),
    "chrf": lambda answers: _sacrebleu_statistics(_chrf_metric(answers), answers),
    "wer": _wrong_words,
    "per": _wrong_symbols,
    "exact": _right_words,
    "accuracy": _right_labels,
    "macro_f1": _labels_of_each_kind,
    "span_f1": _spans,
}


def _check(metrics: Sequence[Metric], bleu_tokenizer: str, lines: int) -> None:
    if not metrics:
        raise ConfigError(f"no metric is named: choose from {', '.join(_METRICS)}")
    for metric in metrics:
        if metric == "bits_per_byte":
            raise ConfigError(f"{metric} scores running text (data.text); for answers choose {', '.join(_METRICS)}")
        if metric not in _METRICS:
            raise ConfigError(f"unknown metric {metric}: choose from {', '.join(_METRICS)}")
    if bleu_tokenizer not in ("auto", *BLEU.TOKENIZERS):
        raise ConfigError(f"unknown BLEU tokenizer {bleu_tokenizer}: choose from auto, {', '.join(BLEU.TOKENIZERS)}")
    if lines == 0:
        raise DataError("there are no lines to score: the files are empty")


def _lists(lines: Sequence[str] | Sequence[Sequence[str]], what: str) -> list[list[str]]:
    lists = [[line] if isinstance(line, str) else list(line) for line in lines]
    for number, line in enumerate(lists, start=1):
        if not line:
            raise DataError(f"line {number} has no {what}: give at least one, or leave the line out")
    return lists
