"""Models of SentencePiece, learnt in a test or made of a few pieces, and lines in many scripts."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece
from babel import Locale

from zhuyi.interop.tokenizers.sentencepiece import read
from zhuyi.interop.tokenizers.sentencepiece_model import Kind, Piece, SentencePieceModel

LANGUAGES = ("hi", "ta", "th", "he", "vi", "bn", "my", "km", "ar", "fa", "ko", "ja", "zh", "ru", "el", "de")
NAMES = [str(name) for each in LANGUAGES for name in Locale.parse(each).territories.values()]
LINES = [
    *NAMES[::9],
    *(
        "Two dogs run through 12 snowy fields.",
        "l'été, d'après “lui” …",
        "naïve café ﬁ ½ ① Ⅳ ＡＢＣ",
        "x" * 70,
        "a\u200bb",
    ),
    *(
        "  a  b \u3000 c ",
        "\t\ttab\t",
        "",
        "   ",
        "👩\u200d👧 🇩🇪",
        "a▁▁b ▁ c▁",
        "ΟΔΥΣΣΕΥΣ Σ İI ẞ",
        "한국어 \u1112\u1161\u11ab",
    ),
    *("</s>", "a</s>b <s> <pad> <unk>", "<0x41> a<0xE2>", ">>fra<< hello", "<mask> <extra_id_0>", "fra >> <<"),
]
EVERY = [
    (algorithm, rule, fallback)
    for algorithm in ("unigram", "bpe")
    for rule, fallback in (("nmt_nfkc", False), ("nmt_nfkc", True), ("identity", False), ("nfkc_cf", True))
]


@cache
def trained(algorithm: str = "unigram", rule: str = "nmt_nfkc", fallback: bool = False, **options: Any) -> bytes:
    """The file of a model that SentencePiece learns."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for line in LINES * 2 + NAMES[::4] if line.strip()]),
        model_writer=written,
        model_type=algorithm,
        normalization_rule_name=rule,
        byte_fallback=fallback,
        **{"vocab_size": 1100, "character_coverage": 0.99, "minloglevel": 2, "num_threads": 1, **options},
    )
    return written.getvalue()


def imported(data: bytes, folder: Path) -> SentencePieceModel:
    path = folder / "source.spm"
    path.write_bytes(data)
    return read(path)


def built(*pieces: Piece, **settings: Any) -> SentencePieceModel:
    return SentencePieceModel(
        Path("source.spm"), [Piece("<unk>", 0.0, Kind.UNKNOWN), Piece("</s>", 0.0, Kind.CONTROL), *pieces], **settings
    )


def words(*texts: str) -> SentencePieceModel:
    return built(*(Piece(text, -2.0 - k / 8) for k, text in enumerate(texts)), names={"eos": "</s>"})
