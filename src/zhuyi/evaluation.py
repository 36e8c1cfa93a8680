"""How good are the answers? BLEU, chrF, WER, PER and exact match: one way to score, for training and for the user.

Every score comes with a signature that says how it was computed. BLEU and chrF are sacreBLEU's (Post 2018, "A Call
for Clarity in Reporting BLEU Scores"), line by line. WER, PER and exact match are those of grapheme-to-phoneme work
(CMUdict, SIGMORPHON 2021): lines with the same source are one word with several right answers, and count once.

Before any comparison, both sides get the form that the tokenizer gives to text (`text.tokenizer.normalizer`): Unicode
NFC, and one space for any run of white space, none at the ends. A model whose text is lower-cased is scored in lower
case, and one with `text.normalization = "none"` without NFC; the signature says so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, cast

from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from zhuyi.config import Metric, TextConfig
from zhuyi.errors import ConfigError, DataError, MissingExtra
from zhuyi.text.tokenizer import normalizer
from zhuyi.version import __version__

HIGHER_IS_BETTER: dict[Metric, bool] = {"bleu": True, "chrf": True, "wer": False, "per": False, "exact": True}
"""Every metric, and which way is up."""

_EXTRA_OF_TOKENIZER = {"ja-mecab": "japanese", "ko-mecab": "korean"}
_HAN = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\u30fc\u31f0-\u31ff\uff66-\uff9d]")
_HANGUL = re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")


@dataclass(frozen=True)
class Score:
    """One metric's value, in per cent (0 to 100; WER and PER may exceed 100), and how it was computed."""

    name: Metric
    value: float
    signature: str
    higher_is_better: bool


@dataclass(frozen=True)
class Evaluation:
    """What a model does on a data set.

    `loss` is the mean cross entropy per target token in nats, EOS included and without label smoothing, or None if
    the translator cannot tell; `seconds` is the time it took to translate; `hypotheses` has one answer a line, and
    `unfinished` is the number of those that met the length limit.
    """

    scores: dict[Metric, Score]
    loss: float | None
    lines: int
    seconds: float
    hypotheses: list[str]
    unfinished: int

    def to_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON; the hypotheses are not among them."""
        scores = {name: asdict(score) for name, score in self.scores.items()}
        figures = {"lines": self.lines, "unfinished": self.unfinished, "seconds": self.seconds, "loss": self.loss}
        return {**figures, "scores": scores}


class Answer(Protocol):
    """A translation of a line."""

    @property
    def text(self) -> str:
        """The translation."""

    @property
    def finished(self) -> bool:
        """Whether it ended by itself."""


class Translates(Protocol):
    """All that `evaluate` asks of a translator."""

    @property
    def text(self) -> TextConfig:
        """Whose normal form answers and references are compared in."""

    @property
    def search_signature(self) -> str:
        """How it searches, in the form of a signature: it becomes a part of every score's."""

    def answers(self, lines: list[str], n_best: int, /) -> Sequence[Sequence[Answer]]:
        """For each line one to `n_best` answers, best first."""

    def loss(self, sources: list[str], targets: list[str], /) -> float | None:
        """Mean cross entropy per target token of `targets` given `sources`."""


@dataclass(frozen=True)
class _Answers:
    """What the metrics compare, all in normal form: lines for BLEU and chrF, words for WER, PER and exact match."""

    hypotheses: list[str]
    references: list[list[str]]
    words: list[tuple[list[str], set[str]]]
    """(hypotheses, every right answer), one for each distinct source."""
    n_best: int
    """Most hypotheses of a word."""
    grouped: bool
    bleu_tokenizer: str
    text: TextConfig

    @property
    def case(self) -> str:
        """As a signature says it."""
        return "case:lc" if self.text.lowercase else "case:mixed"

    @property
    def norm(self) -> str:
        """As a signature says it."""
        return f"norm:{self.text.normalization}"


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

    Args:
        translator: gives the answers and the loss.
        source_lines: what to translate.
        target_lines: for each source line one reference, or a list of them.
        metrics: which scores to compute.
        bleu_tokenizer: as in `score`.
        n_best: how many answers of a line count, as in `score`.

    Raises:
        DataError: no lines, or not as many targets as sources.
        ConfigError: no metric, or an unknown metric or tokenizer.
    """
    if len(source_lines) != len(target_lines):
        raise DataError(f"{len(source_lines)} source lines but {len(target_lines)} target lines: line n answers line n")
    references = _lists(target_lines, "reference")
    _check(metrics, bleu_tokenizer, len(source_lines))  # before the work, not after it
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

    - bleu: corpus BLEU. It is 0 where no line has four tokens: take chrf or exact for words and other short answers.
    - chrf: corpus chrF2 (character n-grams to 6).
    - wer: per cent of words whose hypothesis equals none of the references.
    - per: insertions, deletions and substitutions of symbols (separated by white space) against each word's closest
      reference, the longer one of two that are equally close, in per cent of the symbols of those references.
    - exact: per cent of words whose hypothesis equals a reference; 100 - wer.

    Args:
        metrics: which of them.
        hypotheses: for each line one, or a list of several, best first: wer, per and exact then take the one that is
            closest to a reference (top-n accuracy), bleu and chrf the first.
        references: for each line one reference, or a list of one or more. The empty string is one: the right answer
            is empty. A line with fewer references than others has just those.
        sources: the source lines. Lines whose sources are equal are one word for wer, per and exact: it has the
            references of them all, and the first line's hypothesis. Without sources, every line is a word.
        bleu_tokenizer: a tokenizer of sacreBLEU, or auto: zh where the references are Chinese, ja-mecab or ko-mecab
            where they are Japanese or Korean (char if the extra is not installed), else 13a.
        text: whose `lowercase` and `normalization` say in which form lines are compared. Unset: NFC, cased.

    Raises:
        DataError: no lines, a line without a reference, or numbers of lines that differ.
        ConfigError: no metric, or an unknown metric or tokenizer.
        MissingExtra: a tokenizer was asked for by name whose library is not installed.
    """
    _check(metrics, bleu_tokenizer, len(hypotheses))
    if len(hypotheses) != len(references):
        raise DataError(f"{len(hypotheses)} hypotheses but {len(references)} reference lines: line n answers line n")
    if sources is not None and len(sources) != len(hypotheses):
        raise DataError(f"{len(sources)} source lines but {len(hypotheses)} hypotheses: line n answers line n")
    text = text or TextConfig()
    form = normalizer(text.lowercase, text.normalization)

    def normal(lines: Iterable[str]) -> list[str]:
        return [form.normalize_str(line) for line in lines]

    normal_hypotheses = [normal(line) for line in _lists(hypotheses, "hypothesis")]
    normal_references = [normal(line) for line in _lists(references, "reference")]
    keys: Sequence[int | str] = range(len(hypotheses)) if sources is None else normal(sources)
    words: dict[int | str, tuple[list[str], set[str]]] = {}
    for key, found, right in zip(keys, normal_hypotheses, normal_references, strict=True):
        words.setdefault(key, (found, set()))[1].update(right)
    answers = _Answers(
        hypotheses=[line[0] for line in normal_hypotheses],
        references=normal_references,
        words=list(words.values()),
        n_best=max(map(len, normal_hypotheses)),
        grouped=sources is not None,
        bleu_tokenizer=bleu_tokenizer,
        text=text,
    )
    return {metric: Score(metric, *_METRICS[metric](answers), HIGHER_IS_BETTER[metric]) for metric in metrics}


def references_of(files: Sequence[Sequence[str]]) -> list[list[str]]:
    """The references of each line, of several files with one reference a line.

    A blank line in a file says that it has no reference there, unless the line is blank in all of them: then the empty
    string is the right answer.

    Args:
        files: the lines of each file; all have as many.
    """
    return [[reference for reference in line if reference.strip()] or [""] for line in zip(*files, strict=True)]


def shown_with(metric: Metric) -> list[Metric]:
    """The metrics of a report whose main one is `metric`: chrF stands beside BLEU."""
    return [metric, "chrf"] if metric == "bleu" else [metric]


def better(metric: Metric, a: float, b: float) -> bool:
    """Whether value `a` of `metric` is strictly better than `b`."""
    return a > b if HIGHER_IS_BETTER[metric] else a < b


def bleu_tokenizer_for(references: Iterable[str]) -> str:
    """The sacreBLEU tokenizer for the script of `references`, judged by all their letters, not by a stray one.

    zh, ja-mecab and ko-mecab need a fifth of the letters to be Han, kana or Hangul: one such letter stands for
    several of an alphabet. Of these, Japanese has a tenth or more kana, Chinese next to none.
    """
    text = "".join(references)
    han, kana, hangul = (len(script.findall(text)) for script in (_HAN, _KANA, _HANGUL))
    if han + kana + hangul == 0 or han + kana + hangul < 0.2 * sum(map(str.isalpha, text)):
        return "13a"
    if hangul > han + kana:
        return "ko-mecab"
    return "ja-mecab" if kana > 0.1 * (han + kana) else "zh"


def too_short_for_bleu(references: Sequence[str], bleu_tokenizer: str = "auto") -> bool:
    """Whether no reference has four tokens. BLEU is then 0 or next to it, whatever the answers are.

    Args:
        references: all of them.
        bleu_tokenizer: as in `score`.
    """
    metric = _bleu_of(references, bleu_tokenizer)
    return not any(len(metric.tokenizer(line).split()) >= metric.max_ngram_order for line in references)


def _bleu(answers: _Answers) -> tuple[float, str]:
    references = [reference for line in answers.references for reference in line]
    return _by_sacrebleu(_bleu_of(references, answers.bleu_tokenizer, answers.text.lowercase), answers)


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
    return _by_sacrebleu(CHRF(lowercase=answers.text.lowercase), answers)


def _by_sacrebleu(metric: BLEU | CHRF, answers: _Answers) -> tuple[float, str]:
    most = max(map(len, answers.references))
    streams = [[line[n] if n < len(line) else None for line in answers.references] for n in range(most)]
    # None stands for "no further reference of this line"; sacreBLEU's annotation forgets it.
    value = metric.corpus_score(answers.hypotheses, cast("list[list[str]]", streams)).score
    return float(value), f"{metric.get_signature()}|{answers.norm}"


def _wer(answers: _Answers) -> tuple[float, str]:
    wrong = sum(right.isdisjoint(found) for found, right in answers.words)
    return 100 * wrong / len(answers.words), _signature(answers)


def _exact(answers: _Answers) -> tuple[float, str]:
    equal = sum(not right.isdisjoint(found) for found, right in answers.words)
    return 100 * equal / len(answers.words), _signature(answers)


def _per(answers: _Answers) -> tuple[float, str]:
    edits = symbols = 0
    for found, right in answers.words:
        distances = [
            (Levenshtein.distance(hypothesis.split(), phones), -len(phones))
            for hypothesis in found
            for phones in map(str.split, right)
        ]
        distance, minus_length = min(distances)
        edits += distance
        symbols -= minus_length
    return 100 * edits / max(symbols, 1), _signature(answers, "unit:symbol|ref:closest")


def _signature(answers: _Answers, *more: str) -> str:
    """Written like sacreBLEU's: what was compared with what, and by which version."""
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
}


def _check(metrics: Sequence[Metric], bleu_tokenizer: str, lines: int) -> None:
    if not metrics:
        raise ConfigError(f"no metric is named: choose from {', '.join(_METRICS)}")
    for metric in metrics:
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
