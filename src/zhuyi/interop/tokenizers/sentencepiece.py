"""SentencePiece → `tokenizer.json`: the tokenizers of most models that people have.

`read` reads a model's file, and `tokenizer` makes of it what cuts lines into the same pieces:

    NFC, precompiled character map    the normal form; the map alone, applied to graphemes, would lose combining marks
    Metaspace                         a space is `▁`, and a line begins with one
    Unigram | BPE                     pieces with scores, or merges in the order of the scores of what they make

What cannot be said in this way is refused. Differences that remain: combining marks that follow nothing they can be
composed with, and a literal `▁` at the beginning of a line.

Control symbols, and tags such as `<extra_id_0>` or `>>fra<<` that the model's maker defined, are never made of text.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Engine

from zhuyi.errors import CheckpointError
from zhuyi.interop.reading.files import read_bytes
from zhuyi.interop.tokenizers.character_map import CharacterMap
from zhuyi.interop.tokenizers.sentencepiece_model import (
    SPACE,
    Kind,
    Piece,
    SentencePieceModel,
    UnsupportedError,
    ensure_whole,
    parse,
)
from zhuyi.interop.tokenizers.vocabulary import Vocabulary
from zhuyi.text.special import BYTES
from zhuyi.text.tokenizer import Tokenizer

LARGEST_FILE = 1 << 25
"""Bytes of a model; those of 256,000 pieces are of 5 million."""
MOST_MERGED = 6_000_000
"""Characters of what all merges make: a million merges of six characters need 9 s and 900 MB."""
UNKNOWN = " <unk>"
"""The engine's name of what it does not know. No text has it, for a space in text is a `▁` there."""


def read(path: Path) -> SentencePieceModel:
    """Read a model file.

    Raises:
        CheckpointError: naming what is damaged, or what has no counterpart here.
    """
    with _errors_of(path):
        model = parse(path, read_bytes(path, LARGEST_FILE))
    ensure_expressible(model)
    return model


def ensure_expressible(model: SentencePieceModel) -> None:
    """See that a model is whole, and can be said in a `tokenizer.json`.

    Raises:
        CheckpointError: naming its file, and what is damaged, or has no counterpart here.
    """
    with _errors_of(model.path):
        ensure_whole(model)
        _ensure_settings(model)
        _ensure_symbols(model)


def settings(model: SentencePieceModel) -> dict[str, str | bool]:
    """Settings of [text] that say the same of a model's tokens and their normal form."""
    lowercase = _form(model).normalize_str("A") == "a"
    normalization = "nfc" if model.character_map else "none"
    return {"kind": model.algorithm, "lowercase": lowercase, "normalization": normalization}


def tokenizer(model: SentencePieceModel, vocabulary: Vocabulary | None = None) -> Tokenizer:
    """The tokenizer that cuts lines as the model does.

    Args:
        model: of one side.
        vocabulary: in which pieces are looked up; the model's own if there is no other. Pieces it lacks become UNK.

    Raises:
        CheckpointError: naming its file, if it has longer merges than can be imported, or two tokens of one name.
    """
    with _errors_of(model.path):
        engine = _engine(model)
    return (vocabulary or model.vocabulary).tokenizer(engine)


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CheckpointError(f"{path}: not a SentencePiece model: {error}") from error
    except UnsupportedError as error:
        raise CheckpointError(f"{path}: this SentencePiece model cannot be imported: {error}") from error


def _ensure_settings(model: SentencePieceModel) -> None:
    if model.add_dummy_prefix and not model.remove_extra_whitespaces:
        raise UnsupportedError("remove_extra_whitespaces = false with add_dummy_prefix = true")
    if model.character_map and CharacterMap.read(model.character_map).replacement("e\u0301") != "é":
        raise UnsupportedError("its rules of normalisation (precompiled_charsmap) do not compose characters")
    unused = [piece.text for piece in model.pieces if piece.kind is Kind.UNUSED]
    if unused and model.algorithm == "bpe":
        raise UnsupportedError(f"piece {unused[0]!r} is unused, in a model of merges")


def _ensure_symbols(model: SentencePieceModel) -> None:
    """See that text becomes a user-defined symbol by scores alone, and after it was normalised."""
    form, lowest, highest = _form(model), *_bounds(model)
    for piece in model.pieces:
        if piece.kind is not Kind.USER_DEFINED or not piece.is_text:
            continue
        if form.normalize_str(piece.text) not in (piece.text, piece.text.strip(SPACE)):
            raise UnsupportedError(f"user-defined symbol {piece.text!r}, which its own rules would normalise")
        if (len(piece.text) > 1) if model.algorithm == "bpe" else _score(piece, highest) < lowest:
            raise UnsupportedError(f"user-defined symbol {piece.text!r}, which is kept whole whatever the scores")


def _bounds(model: SentencePieceModel) -> tuple[float, float]:
    """The lowest and the highest score of its ordinary pieces."""
    scores = [piece.score for piece in model.pieces if piece.kind is Kind.NORMAL]
    return min(scores), max(scores)


def _score(piece: Piece, highest: float) -> float:
    """A user-defined symbol has a score by which it is preferred to its parts."""
    return piece.score if piece.kind is Kind.NORMAL else len(piece.text.encode()) * highest - 0.1


def _engine(model: SentencePieceModel) -> dict[str, Any]:
    """The library's `tokenizer.json`. Its model is written into it, for the library needs much memory to make one."""
    engine = Engine(models.BPE())
    engine.normalizer = _form(model)
    words = pre_tokenizers.Metaspace(SPACE, "always" if model.add_dummy_prefix else "never", split=False)
    # The library would take "<0x41>" in a text for the byte of this name.
    byte_names = pre_tokenizers.Split(Regex("<0x[0-9A-F](?=[0-9A-F]>)"), "merged_with_previous")
    engine.pre_tokenizer = pre_tokenizers.Sequence([words, byte_names] if model.byte_fallback else [words])
    has_space_first = model.add_dummy_prefix or model.remove_extra_whitespaces
    engine.decoder = decoders.Sequence(
        [
            *([decoders.ByteFallback()] if model.byte_fallback else []),
            decoders.Fuse(),
            decoders.Replace(SPACE, " "),
            *([decoders.Replace(Regex(r"\A +"), "")] if has_space_first else []),
        ]
    )
    described = _unigram(model) if model.algorithm == "unigram" else _bpe(model)
    return {**json.loads(engine.to_str()), "model": {**described, "byte_fallback": model.byte_fallback}}


def _form(model: SentencePieceModel) -> normalizers.Normalizer:
    characters = [normalizers.NFC(), normalizers.Precompiled(model.character_map)] if model.character_map else []
    spaces = [
        normalizers.Replace(Regex(" {2,}"), " "),
        normalizers.Replace(Regex(rf"\A +|[ {SPACE}]+\z"), ""),
    ]
    return normalizers.Sequence([*characters, *(spaces if model.remove_extra_whitespaces else [])])


def _pieces_of_text(model: SentencePieceModel) -> list[Piece]:
    """Those that a line can have, without the bytes."""
    return [piece for piece in model.pieces if piece.is_text and piece.kind is not Kind.BYTE]


def _unigram(model: SentencePieceModel) -> dict[str, Any]:
    text = _pieces_of_text(model)
    lowest, highest = _bounds(model)
    scores = [(piece.text, _score(piece, highest)) for piece in text]
    fixed = [(name, lowest) for name in (UNKNOWN, *(BYTES if model.byte_fallback else ()))]
    return {"type": "Unigram", "unk_id": 0, "vocab": [*fixed, *scores]}


def _bpe(model: SentencePieceModel) -> dict[str, Any]:
    """Merges as they are listed or else by the score of what they make."""
    text = _pieces_of_text(model)
    names = [UNKNOWN, *(BYTES if model.byte_fallback else ()), *(piece.text for piece in text)]
    ids = {name: i for i, name in enumerate(names)}
    ordered = _by_score(text, ids) if model.merges is None else merges_within(model.merges, ids)
    return {"type": "BPE", "unk_token": UNKNOWN, "fuse_unk": True, "vocab": ids, "merges": ordered}


def merges_within(merges: list[tuple[str, str]], ids: dict[str, int]) -> list[tuple[str, str]]:
    """The merges whose parts and result have ids."""
    return [merge for merge in merges if {*merge, "".join(merge)} <= ids.keys()]


def _by_score(text: list[Piece], ids: dict[str, int]) -> list[tuple[str, str]]:
    """Merges by the score of what they make, and by the ids of their parts where it can be made in two ways."""
    names = list(ids)
    merges: list[tuple[float, int, int]] = []
    merged = 0
    for piece in text:
        for left, right in ((piece.text[:cut], piece.text[cut:]) for cut in range(1, len(piece.text))):
            if left in ids and right in ids:
                merges.append((-piece.score, ids[left], ids[right]))
                merged += len(piece.text)
        if merged > MOST_MERGED:
            raise UnsupportedError(f"its merges have more than {MOST_MERGED:,} characters")
    return [(names[left], names[right]) for _, left, right in sorted(merges)]
