"""A model of SentencePiece (Kudo and Richardson 2018): what its file says of how lines become pieces.

The file is a protobuf message (`ModelProto` in `sentencepiece_model.proto`), of which the few fields that matter are
read. What is none, or a setting that has no counterpart, is refused.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple

from zhuyi.interop.reading.protobuf import as_bytes, as_text, fields
from zhuyi.interop.tokenizers.vocabulary import Vocabulary
from zhuyi.text.special import BYTES

MOST_PIECES = 300_000
"""Some models have 262,144."""
LONGEST_PIECE = 256
"""Characters of a piece; SentencePiece learns at most 16 by default."""
MOST_CHARACTERS = 3_000_000
"""Of all pieces together: the library may make a node of 200 bytes of each. NLLB's 256,000 pieces have 2 million."""
SPACE = "▁"
TAG = re.compile(rf"{SPACE}?(<[^<>\s]+>|>>[^<>\s]+<<|\[[^\[\]\s]+\]|__[^_\s]+__)")
"""A user-defined symbol that stands for something else than itself."""


class UnsupportedError(Exception):
    """A setting that has no counterpart in zhuyi."""


class Kind(IntEnum):
    """What a piece is (`ModelProto.SentencePiece.Type`)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


_KINDS = {kind.value: kind for kind in Kind}


class Piece(NamedTuple):
    """A row of the vocabulary."""

    text: str
    score: float = 0.0
    kind: Kind = Kind.NORMAL

    @property
    def is_text(self) -> bool:
        """Whether a line can have this piece. Bytes are text, though not the name of a byte."""
        if self.kind is Kind.USER_DEFINED:
            return not TAG.fullmatch(self.text)
        return self.kind in (Kind.NORMAL, Kind.BYTE)


@dataclass(frozen=True)
class SentencePieceModel:
    """What a model file says, as far as it concerns how lines become pieces; the defaults are SentencePiece's."""

    path: Path
    """Of the file."""
    pieces: list[Piece]
    algorithm: Literal["unigram", "bpe"] = "unigram"
    byte_fallback: bool = False
    """Whether what is in no piece becomes bytes."""
    names: dict[str, str] = field(default_factory=dict)
    """Of the pieces `bos`, `eos` and `pad`."""
    character_map: bytes = b""
    """The compiled rules of normalisation: see `character_map`."""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    merges: list[tuple[str, str]] | None = None
    """Of BPE, first ones first; None, as in a model file: the scores of what they make tell their order."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Its pieces in our order."""
        kinds = [piece.kind for piece in self.pieces]
        numbers = {piece.text: i for i, piece in enumerate(self.pieces) if piece.kind is Kind.CONTROL}
        special = [i for i, piece in enumerate(self.pieces) if not piece.is_text]
        ends = {role: numbers.get(name) for role, name in self.names.items()}
        pieces = [piece.text for piece in self.pieces]
        return Vocabulary.of(self.path, pieces, unk=kinds.index(Kind.UNKNOWN), special=special, **ends)


def parse(path: Path, data: bytes) -> SentencePieceModel:
    """The model in the bytes of a file. That it is whole is another question: see `ensure_whole`.

    Raises:
        ValueError: if they are none, or damaged.
        UnsupportedError: naming the setting.
    """
    pieces: list[Piece] = []
    sections: dict[str, dict[str, Any]] = {name: {} for name, _ in _SECTIONS.values()}
    characters = 0
    for number, value in fields(data):
        if number == 1:
            pieces.append(_piece(as_bytes(value, "pieces"), len(pieces)))
            characters += len(pieces[-1].text)
            _ensure_few(len(pieces), characters)
        elif number in _SECTIONS:
            section, names = _SECTIONS[number]
            found = fields(as_bytes(value, section))
            sections[section] |= {names[key]: setting for key, setting in found if key in names}
    training, form, back = sections.values()
    _ensure_supported(training, form, back)
    return SentencePieceModel(
        path,
        pieces,
        _ALGORITHMS[training.get("model_type", 1)],
        byte_fallback=bool(training.get("byte_fallback", 0)),
        names={
            role: as_text(training.get(f"{role}_piece", default), f"{role}_piece")
            for role, default in (("bos", b"<s>"), ("eos", b"</s>"), ("pad", b"<pad>"))
        },
        character_map=as_bytes(form.get("precompiled_charsmap", b""), "precompiled_charsmap"),
        add_dummy_prefix=bool(form.get("add_dummy_prefix", 1)),
        remove_extra_whitespaces=bool(form.get("remove_extra_whitespaces", 1)),
    )


_ALGORITHMS: dict[int, Literal["unigram", "bpe"]] = {1: "unigram", 2: "bpe"}
_TRAINER = {
    3: "model_type",
    24: "treat_whitespace_as_suffix",
    35: "byte_fallback",
    46: "bos_piece",
    47: "eos_piece",
    48: "pad_piece",
}
_NORMALIZER = {
    2: "precompiled_charsmap",
    3: "add_dummy_prefix",
    4: "remove_extra_whitespaces",
    5: "escape_whitespaces",
}
_SECTIONS = {
    2: ("trainer_spec", _TRAINER),
    3: ("normalizer_spec", _NORMALIZER),
    5: ("denormalizer_spec", _NORMALIZER),
}
"""By the numbers of their fields: the messages of settings, and the settings in them that matter."""


def _piece(data: bytes, number: int) -> Piece:
    found = dict(fields(data))
    text = as_text(found.get(1, b""), f"piece {number}")
    kind, score = _KINDS.get(found.get(3, 1)), found.get(2, b"\0\0\0\0")
    if kind is None:
        raise ValueError(f"piece {number} is of kind {str(found[3])[:20]}, which is none")
    if not isinstance(score, bytes) or len(score) != 4:
        raise ValueError(f"the score of piece {number} is no number")
    (value,) = struct.unpack("<f", score)
    if not abs(value) <= 1e9:
        raise ValueError(f"the score of piece {number} is {value}")
    return Piece(text, value, kind)


def _ensure_supported(training: Mapping[str, Any], form: Mapping[str, Any], back: Mapping[str, Any]) -> None:
    """See that the settings have counterparts: those of training, of the normal form, and of the output's."""
    if training.get("model_type", 1) not in _ALGORITHMS:
        raise UnsupportedError("model_type is neither unigram nor bpe")
    if training.get("treat_whitespace_as_suffix", 0):
        raise UnsupportedError("treat_whitespace_as_suffix")
    if not form.get("escape_whitespaces", 1):
        raise UnsupportedError("escape_whitespaces = false")
    if back.get("precompiled_charsmap"):
        raise UnsupportedError("its output is normalised too (denormalizer_spec)")


def _ensure_few(pieces: int, characters: int) -> None:
    if pieces > MOST_PIECES or characters > MOST_CHARACTERS:
        raise ValueError(f"more than {MOST_PIECES:,} pieces, or {MOST_CHARACTERS:,} characters in them")


def ensure_whole(model: SentencePieceModel) -> None:
    """See that its pieces are such as SentencePiece writes.

    Raises:
        ValueError: otherwise.
    """
    _ensure_few(len(model.pieces), sum(len(piece.text) for piece in model.pieces))
    for number, piece in enumerate(model.pieces):
        if not 0 < len(piece.text) <= LONGEST_PIECE:
            raise ValueError(f"piece {number} has {len(piece.text):,} characters")
        if "\0" in piece.text:
            raise ValueError(f"piece {number} has a NUL")
    kinds = [piece.kind for piece in model.pieces]
    if kinds.count(Kind.UNKNOWN) != 1:
        raise ValueError(f"it has {kinds.count(Kind.UNKNOWN)} unknown tokens, not one")
    if Kind.NORMAL not in kinds:
        raise ValueError("it has no pieces of text")
    if len({piece.text for piece in model.pieces}) < len(kinds):
        raise ValueError("it has two pieces of the same name")
    if model.byte_fallback and {piece.text for piece in model.pieces if piece.kind is Kind.BYTE} != {*BYTES}:
        raise ValueError("byte_fallback, without the 256 bytes")
    if not model.byte_fallback and any(piece.kind is Kind.BYTE for piece in model.pieces):
        raise ValueError("bytes without byte_fallback")
