"""SentencePiece (Kudo and Richardson 2018) → `tokenizer.json`: the tokenizers of most models that people have.

A model file is a protobuf message, of which the few fields that matter are read by hand. `read` reads it, and
`tokenizer` makes of it what cuts lines into the same pieces:

    NFC, precompiled character map    the normal form; the map alone, applied to graphemes, would lose combining marks
    Metaspace                         a space is `▁`, and a line begins with one
    Unigram | BPE                     pieces with scores, or merges in the order of the scores of what they make

What cannot be said in this way is refused. Differences that remain: combining marks that follow nothing they can be
composed with, and a literal `▁` at the beginning of a line.

Control symbols, and tags such as `<extra_id_0>` or `>>fra<<` that the model's maker defined, are never made of text.
"""

import json
import re
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Engine

from zhuyi.errors import CheckpointError
from zhuyi.interop.reading import read_bytes
from zhuyi.interop.vocabulary import Vocabulary
from zhuyi.text.special import BYTES
from zhuyi.text.tokenizer import Tokenizer

LARGEST_FILE = 1 << 25
"""Bytes of a model; those of 256,000 pieces are of 5 million."""
MOST_PIECES = 300_000
"""Some models have 262,144."""
MOST_MERGED = 6_000_000
"""Characters of what all merges make: a million merges of six characters need 9 s and 900 MB."""
LARGEST_MAP = 1 << 22
"""Bytes of a character map; the largest of SentencePiece's own is of 300,000."""
LONGEST_PIECE = 256
"""Characters of a piece; SentencePiece learns at most 16 by default."""
MOST_CHARACTERS = 3_000_000
"""Of all pieces together: the library may make a node of 200 bytes of each. NLLB's 256,000 pieces have 2 million."""
SPACE = "▁"
UNKNOWN = " <unk>"
"""The engine's name of what it does not know. No text has it, for a space in text is a `▁` there."""
TAG = re.compile(rf"{SPACE}?(<[^<>\s]+>|>>[^<>\s]+<<|\[[^\[\]\s]+\]|__[^_\s]+__)")
"""A user-defined symbol that stands for something else than itself."""


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


@dataclass(frozen=True)
class SentencePieceModel:
    """What a model file says, as far as it concerns how lines become pieces; the defaults are SentencePiece's."""

    pieces: list[Piece]
    algorithm: Literal["unigram", "bpe"] = "unigram"
    byte_fallback: bool = False
    """Whether what is in no piece becomes bytes."""
    names: dict[str, str] = field(default_factory=dict)
    """Of the pieces `bos`, `eos` and `pad`."""
    character_map: bytes = b""
    """The compiled rules of normalisation: a trie (Darts), and the strings that replace its keys."""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    merges: list[tuple[str, str]] | None = None
    """Of BPE, first ones first; None, as in a model file: the scores of what they make tell their order."""

    @property
    def settings(self) -> dict[str, str | bool]:
        """Settings of [text] that say the same of its tokens and their normal form."""
        lowercase = _form(self).normalize_str("A") == "a"
        normalization = "nfc" if self.character_map else "none"
        return {"kind": self.algorithm, "lowercase": lowercase, "normalization": normalization}

    @property
    def vocabulary(self) -> Vocabulary:
        """Its pieces in our order."""
        kinds = [piece.kind for piece in self.pieces]
        numbers = {piece.text: i for i, piece in enumerate(self.pieces) if piece.kind is Kind.CONTROL}
        special = [i for i, piece in enumerate(self.pieces) if not _is_text(piece)]
        ends = {role: numbers.get(name) for role, name in self.names.items()}
        return Vocabulary.of(
            [piece.text for piece in self.pieces], unk=kinds.index(Kind.UNKNOWN), special=special, **ends
        )


def read(path: Path) -> SentencePieceModel:
    """Read a model file.

    Raises:
        CheckpointError: naming what is damaged, or what has no counterpart here.
    """
    with _errors_of(path):
        model = _model(read_bytes(path, LARGEST_FILE))
    ensure_expressible(model, path)
    return model


def ensure_expressible(model: SentencePieceModel, path: Path) -> None:
    """See that a model is whole, and can be said in a `tokenizer.json`.

    Raises:
        CheckpointError: naming `path`, and what is damaged, or has no counterpart here.
    """
    with _errors_of(path):
        _ensure_expressible(model)


def tokenizer(model: SentencePieceModel, vocabulary: Vocabulary | None = None) -> Tokenizer:
    """The tokenizer that cuts lines as the model does.

    Args:
        model: of one side.
        vocabulary: in which pieces are looked up; the model's own if there is no other. Pieces it lacks become UNK.

    Raises:
        CheckpointError: if it has longer merges than can be imported, or two tokens have one name.
    """
    return (vocabulary or model.vocabulary).tokenizer(_engine(model))


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except _DamagedError as error:
        raise CheckpointError(f"{path}: not a SentencePiece model: {error}") from error
    except _UnsupportedError as error:
        raise CheckpointError(f"{path}: this SentencePiece model cannot be imported: {error}") from error


class _DamagedError(Exception):
    """No such file, or a truncated or altered one."""


class _UnsupportedError(Exception):
    """A setting that has no counterpart."""


def _model(data: bytes) -> SentencePieceModel:
    pieces: list[Piece] = []
    sections: dict[int, dict[int, Any]] = {2: {}, 3: {}, 5: {}}  # trainer_spec, normalizer_spec, denormalizer_spec
    characters = 0
    for number, value in _fields(data):
        if number == 1:
            pieces.append(_piece(_message(value, "pieces"), len(pieces)))
            characters += len(pieces[-1].text)
            _ensure_few(len(pieces), characters)
        elif number in sections:
            sections[number] |= dict(_fields(_message(value, f"section {number}")))
    training, form, back = sections.values()
    algorithm = _ALGORITHMS.get(training.get(3, 1))
    if algorithm is None:
        raise _UnsupportedError("model_type is neither unigram nor bpe")
    if training.get(24, 0):
        raise _UnsupportedError("treat_whitespace_as_suffix")
    if not form.get(5, 1):
        raise _UnsupportedError("escape_whitespaces = false")
    if back.get(2):
        raise _UnsupportedError("its output is normalised too (denormalizer_spec)")
    return SentencePieceModel(
        pieces,
        algorithm,
        byte_fallback=bool(training.get(35, 0)),
        names={
            role: _text(training.get(key, name.encode()), f"{role}_piece")
            for role, key, name in (("bos", 46, "<s>"), ("eos", 47, "</s>"), ("pad", 48, "<pad>"))
        },
        character_map=_message(form.get(2, b""), "precompiled_charsmap"),
        add_dummy_prefix=bool(form.get(3, 1)),
        remove_extra_whitespaces=bool(form.get(4, 1)),
    )


_ALGORITHMS: dict[int, Literal["unigram", "bpe"]] = {1: "unigram", 2: "bpe"}


def _piece(data: bytes, number: int) -> Piece:
    fields = dict(_fields(data))
    text = _text(fields.get(1, b""), f"piece {number}")
    kind, score = _KINDS.get(fields.get(3, 1)), fields.get(2, b"\0\0\0\0")
    if kind is None:
        raise _DamagedError(f"piece {number} is of kind {str(fields[3])[:20]}, which is none")
    if not isinstance(score, bytes) or len(score) != 4:
        raise _DamagedError(f"the score of piece {number} is no number")
    (value,) = struct.unpack("<f", score)
    if not abs(value) <= 1e9:
        raise _DamagedError(f"the score of piece {number} is {value}")
    return Piece(text, value, kind)


def _ensure_few(pieces: int, characters: int) -> None:
    if pieces > MOST_PIECES or characters > MOST_CHARACTERS:
        raise _DamagedError(f"more than {MOST_PIECES:,} pieces, or {MOST_CHARACTERS:,} characters in them")


def _ensure_expressible(model: SentencePieceModel) -> None:
    _ensure_whole(model)
    if model.add_dummy_prefix and not model.remove_extra_whitespaces:
        raise _UnsupportedError("remove_extra_whitespaces = false with add_dummy_prefix = true")
    if model.character_map:
        characters = _CharacterMap.read(model.character_map)
        if characters.replacement("e\u0301") != "é":
            raise _UnsupportedError("its rules of normalisation (precompiled_charsmap) do not compose characters")
    form = _form(model)
    lowest = min(piece.score for piece in model.pieces if piece.kind is Kind.NORMAL)
    for piece in model.pieces:
        if piece.kind is Kind.UNUSED and model.algorithm == "bpe":
            raise _UnsupportedError(f"piece {piece.text!r} is unused, in a model of merges")
        if piece.kind is not Kind.USER_DEFINED or not _is_text(piece):
            continue
        if form.normalize_str(piece.text) != piece.text.strip(SPACE) and form.normalize_str(piece.text) != piece.text:
            raise _UnsupportedError(f"user-defined symbol {piece.text!r}, which its own rules would normalise")
        if (len(piece.text) > 1) if model.algorithm == "bpe" else _score(piece, _highest(model)) < lowest:
            raise _UnsupportedError(f"user-defined symbol {piece.text!r}, which is kept whole")


def _ensure_whole(model: SentencePieceModel) -> None:
    """See that its pieces are such as SentencePiece writes."""
    _ensure_few(len(model.pieces), sum(len(piece.text) for piece in model.pieces))
    for number, piece in enumerate(model.pieces):
        if not 0 < len(piece.text) <= LONGEST_PIECE:
            raise _DamagedError(f"piece {number} has {len(piece.text):,} characters")
        if "\0" in piece.text:
            raise _DamagedError(f"piece {number} has a NUL")
    kinds = [piece.kind for piece in model.pieces]
    if kinds.count(Kind.UNKNOWN) != 1:
        raise _DamagedError(f"it has {kinds.count(Kind.UNKNOWN)} unknown tokens, not one")
    if Kind.NORMAL not in kinds:
        raise _DamagedError("it has no pieces of text")
    if len({piece.text for piece in model.pieces}) < len(kinds):
        raise _DamagedError("it has two pieces of the same name")
    if model.byte_fallback and {piece.text for piece in model.pieces if piece.kind is Kind.BYTE} != {*BYTES}:
        raise _DamagedError("byte_fallback, without the 256 bytes")
    if not model.byte_fallback and any(piece.kind is Kind.BYTE for piece in model.pieces):
        raise _DamagedError("bytes without byte_fallback")


def _is_text(piece: Piece) -> bool:
    """Whether a line can have this piece. Bytes are text, though not the name of a byte."""
    if piece.kind is Kind.USER_DEFINED:
        return not TAG.fullmatch(piece.text)
    return piece.kind in (Kind.NORMAL, Kind.BYTE)


def _highest(model: SentencePieceModel) -> float:
    return max(piece.score for piece in model.pieces if piece.kind is Kind.NORMAL)


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
    return [piece for piece in model.pieces if _is_text(piece) and piece.kind is not Kind.BYTE]


def _unigram(model: SentencePieceModel) -> dict[str, Any]:
    text = _pieces_of_text(model)
    lowest = min(piece.score for piece in text if piece.kind is Kind.NORMAL)
    highest = _highest(model)
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
            raise CheckpointError(f"the merges of a SentencePiece model have more than {MOST_MERGED:,} characters")
    return [(names[left], names[right]) for _, left, right in sorted(merges)]


@dataclass(frozen=True)
class _CharacterMap:
    """A double-array trie (Aoe 1989; Darts) of strings, and what replaces each."""

    units: Any  # a NumPy array of 32 bits each
    strings: bytes

    @classmethod
    def read(cls, data: bytes) -> "_CharacterMap":
        """Read it, and see that no text whatever leads out of it: the library does not."""
        if len(data) > LARGEST_MAP:
            raise _DamagedError(f"a character map of {len(data):,} bytes")
        size = int.from_bytes(data[:4], "little")
        if not 1024 <= size <= len(data) - 4 or size % 4:
            raise _DamagedError("its character map (precompiled_charsmap) is truncated")
        found = cls(np.frombuffer(data, "<u4", size // 4, 4).astype(np.int64), data[4 + size :])
        try:
            found.strings.decode()
        except UnicodeDecodeError as error:
            raise _DamagedError("its character map (precompiled_charsmap) is not UTF-8") from error
        found._check()
        return found

    def replacement(self, key: str) -> str | None:
        """What replaces a string; None if nothing does."""
        base = _offset(self.units[0])
        unit = self.units[0]
        for byte in key.encode():
            unit = self.units[base ^ byte]
            if _label(unit) != byte:
                return None
            base ^= byte ^ _offset(unit)
        if not (unit >> 8) & 1:
            return None
        start = int(self.units[base] & 0x7FFFFFFF)
        return self.strings[start:].split(b"\0", 1)[0].decode()

    def _check(self) -> None:
        labels = np.arange(1, 256)
        starts = np.frombuffer(self.strings, np.uint8) & 0xC0 != 0x80  # of characters
        seen = np.zeros(len(self.units), bool)
        bases = np.array([_offset(self.units[0])])
        while len(bases):
            if (bases | 0xFF).max() >= len(self.units):
                raise _DamagedError("its character map (precompiled_charsmap) leads out of itself")
            following = []
            for some in np.split(bases, range(1 << 12, len(bases), 1 << 12)):
                places = some[:, None] ^ labels
                units = self.units[places]
                is_child = (_label(units) == labels) & ~seen[places]
                places, units = places[is_child], units[is_child]
                seen[places] = True
                following.append(places ^ _offset(units))
                leaves = following[-1][(units >> 8) & 1 == 1]
                if len(leaves) and leaves.max() >= len(self.units):
                    raise _DamagedError("its character map (precompiled_charsmap) leads out of itself")
                values = self.units[leaves] & 0x7FFFFFFF
                if len(values) and (values.max() >= len(starts) or not starts[values].all()):
                    raise _DamagedError("its character map (precompiled_charsmap) leads to no string")
            bases = np.unique(np.concatenate(following))


def _offset(unit: Any) -> Any:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def _label(unit: Any) -> Any:
    return unit & 0x800000FF


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: numbers, and integers or bytes (4, 8 or any number of them)."""
    place, end = 0, len(data)
    while place < end:
        key, place = _varint(data, place)
        wire = key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if wire == 2:
            length, place = _varint(data, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise _DamagedError(f"byte {place:,} is no field of a message")
        if length > end - place:
            raise _DamagedError("it is truncated, or a length in it is wrong")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of one to ten bytes, of which most have one, and the place behind it."""
    value = data[place] if place < len(data) else 0x80
    if value < 0x80:
        return value, place + 1
    value, shift = 0, 0
    for byte in data[place : place + 10]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place + shift // 7
    raise _DamagedError("it is truncated, or a number in it has no end")


def _message(value: Any, what: str) -> bytes:
    if not isinstance(value, bytes):
        raise _DamagedError(f"{what} is a number")
    return value


def _text(value: Any, what: str) -> str:
    try:
        return sys.intern(_message(value, what).decode())
    except UnicodeDecodeError as error:
        raise _DamagedError(f"{what} is not UTF-8") from error
