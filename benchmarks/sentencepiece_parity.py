"""Cut lines by SentencePiece and by the tokenizer that zhuyi makes of its models, and count the lines that differ.

    python benchmarks/sentencepiece_parity.py CORPUS [CORPUS ...] [--pieces 4000]

A corpus is a text file. Each gets models of its own, unigram and BPE, with and without byte fallback, with the rules
of normalization nmt_nfkc (SentencePiece's default) and identity; so do 10,000 names in 16 scripts (countries and
languages, as Babel has them, alone and joined). A model is learnt from about 3,000 of the lines, so that others have
unseen characters. All lines are cut as they are, composed (NFC) and decomposed (NFD). Writes
results/sentencepiece-parity.json, and keeps what it holds of other corpora.
"""

import argparse
import io
import random
import tempfile
import unicodedata
from itertools import product
from pathlib import Path
from typing import Any

import sentencepiece
from babel import Locale
from machine import describe
from stored import load, save

from zhuyi.interop.tokenizers.sentencepiece import read, tokenizer

LANGUAGES = ("am", "ar", "bn", "el", "he", "hi", "ja", "ka", "km", "ko", "my", "ru", "ta", "te", "th", "vi")
"""One for each of 16 scripts; Vietnamese for the Latin one, with up to two marks on a letter."""
NAMES = 10_000
LEARNT = 3_000


def names() -> list[str]:
    """10,000 different lines: all names, and pairs of them."""
    found = []
    for language in LANGUAGES:
        locale = Locale.parse(language)
        found += [str(name) for table in (locale.territories, locale.languages) for name in table.values()]
    alone, draw = sorted(set(found)), random.Random(0)
    draw.shuffle(alone)
    joined = {f"{draw.choice(alone)} {draw.choice(alone)}" for _ in range(2 * NAMES)}
    return [*alone, *sorted(joined)][:NAMES]


def compare(lines: list[str], algorithm: str, rule: str, fallback: bool, pieces: int, path: Path) -> dict[str, Any]:
    """How many lines get other pieces, and how many are decoded to other lines."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for line in lines if line.strip()][:: max(1, len(lines) // LEARNT)]),
        model_writer=written,
        model_type=algorithm,
        normalization_rule_name=rule,
        byte_fallback=fallback,
        vocab_size=pieces,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
    )
    path.write_bytes(written.getvalue())
    theirs, model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue()), read(path)
    ours, rows = tokenizer(model), model.vocabulary.rows
    found: dict[str, Any] = {}
    for name in ("as they are", "NFC", "NFD"):
        texts = lines if name == "as they are" else [unicodedata.normalize(name, line) for line in lines]
        right, mine = theirs.encode(texts), ours.encode(texts)
        found[name] = sum(expected != [rows[i] for i in ids] for expected, ids in zip(right, mine, strict=True))
        if name == "NFC":
            decoded = [line.replace(" ⁇ ", "<unk>") for line in theirs.decode(right)]
            found["decoded"] = sum(one != other for one, other in zip(decoded, ours.decode(mine), strict=True))
    return {"lines": len(lines), "different": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--pieces", type=int, default=4000)
    given = parser.parse_args()
    texts = {path.name: path.read_text("utf-8").removesuffix("\n").split("\n") for path in given.corpora}
    texts["names in 16 scripts"] = names()
    models: dict[str, Any] = (load("sentencepiece-parity") or {"models": {}})["models"]
    with tempfile.TemporaryDirectory() as folder:
        for (name, lines), *settings in product(
            texts.items(), ("unigram", "bpe"), ("nmt_nfkc", "identity"), (False, True)
        ):
            algorithm, rule, fallback = settings
            label = f"{name}, {algorithm}, {rule}{', byte fallback' if fallback else ''}"
            models[label] = compare(lines, algorithm, rule, fallback, given.pieces, Path(folder, "model"))
            print(label, models[label], flush=True)
            content = {
                "machine": {**describe(1), "sentencepiece": sentencepiece.__version__},
                "learnt_from": LEARNT,
                "pieces": given.pieces,
                "differences": sum(sum(each["different"].values()) for each in models.values()),
                "models": models,
            }
            save("sentencepiece-parity", content)


if __name__ == "__main__":
    main()
