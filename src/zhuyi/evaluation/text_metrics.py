"""Metrics of text: BLEU and chrF of lines; word and phoneme error rate and exact match of words.

BLEU and chrF are computed by sacreBLEU (Post 2018, "A Call for Clarity in Reporting BLEU Scores"). WER, PER and exact
match follow the conventions of grapheme-to-phoneme conversion (CMUdict, SIGMORPHON 2021): lines with the same source
are one word with several right answers, and count once.
"""

import re
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from zhuyi.errors import ConfigError, MissingExtra
from zhuyi.evaluation.answers import Answers
from zhuyi.evaluation.score import Statistics, case_of, norm_of, share
from zhuyi.version import __version__

_EXTRA_OF_TOKENIZER = {"ja-mecab": "japanese", "ko-mecab": "korean"}
_HAN = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\u30fc\u31f0-\u31ff\uff66-\uff9d]")
_HANGUL = re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")


def bleu(answers: Answers) -> tuple[Statistics, str]:
    """Corpus BLEU, and its signature."""
    references = [reference for line in answers.references for reference in line]
    return _by_sacrebleu(_bleu_of(references, answers.bleu_tokenizer, answers.text.lowercase), answers)


def chrf(answers: Answers) -> tuple[Statistics, str]:
    """Corpus chrF2, and its signature."""
    return _by_sacrebleu(CHRF(lowercase=answers.text.lowercase), answers)


def wer(answers: Answers) -> tuple[Statistics, str]:
    """The share of wrong words, and the signature."""
    return share((right.isdisjoint(found), 1) for found, right in answers.words), _signature(answers)


def exact(answers: Answers) -> tuple[Statistics, str]:
    """The share of right words, and the signature."""
    return share((not right.isdisjoint(found), 1) for found, right in answers.words), _signature(answers)


def per(answers: Answers) -> tuple[Statistics, str]:
    """Edits and symbols of each word, and the signature."""

    def of_word(found: list[str], right: set[str]) -> tuple[int, int]:
        distances = [
            (Levenshtein.distance(hypothesis.split(), phones), -len(phones))
            for hypothesis in found
            for phones in map(str.split, right)
        ]
        distance, minus_length = min(distances)
        return distance, -minus_length

    statistics = share(of_word(found, right) for found, right in answers.words)
    return statistics, _signature(answers, "unit:symbol|ref:closest")


def bleu_tokenizer_for(references: Iterable[str]) -> str:
    """The sacreBLEU tokenizer for the script of `references`, chosen by all of their letters.

    zh, ja-mecab or ko-mecab is chosen if at least a fifth of the letters are Han, kana or Hangul, because one such
    letter corresponds to several letters of an alphabet. Of the Han and kana of Japanese, more than a tenth are kana;
    Chinese has almost none.
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


def _by_sacrebleu(metric: BLEU | CHRF, answers: Answers) -> tuple[Statistics, str]:
    """SacreBLEU's own statistics of segments, as its significance tests use them."""
    rows = metric._extract_corpus_statistics(answers.hypotheses, _streams(answers))
    statistics = Statistics(
        np.array(rows, dtype=np.int64), lambda sums: float(metric._compute_score_from_stats(sums.tolist()).score)
    )
    return statistics, f"{metric.get_signature()}|{norm_of(answers.text)}"


def _streams(answers: Answers) -> list[list[str]]:
    """The references as sacreBLEU takes them: the first of each line, the second, and so on."""
    most = max(map(len, answers.references))
    streams = [[line[n] if n < len(line) else None for line in answers.references] for n in range(most)]
    return cast("list[list[str]]", streams)  # None is "no further reference"; sacreBLEU's annotation leaves it out


def _signature(answers: Answers, *more: str) -> str:
    """A signature in sacreBLEU's format: what was compared, how, and by which version."""
    counts = {len(right) for _, right in answers.words}
    parts = [
        f"nrefs:{counts.pop() if len(counts) == 1 else 'var'}",
        case_of(answers.text),
        f"group:{'source' if answers.grouped else 'none'}",
        f"lines:{len(answers.hypotheses)}",
        f"words:{len(answers.words)}",
        *([f"nbest:{answers.n_best}"] if answers.n_best > 1 else []),
        *more,
        norm_of(answers.text),
        f"version:zhuyi-{__version__}",
    ]
    return "|".join(parts)
