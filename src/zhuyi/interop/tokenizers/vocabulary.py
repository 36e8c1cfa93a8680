"""Vocabularies of other programs: their tokens in our order, and where each has its row in their matrices."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zhuyi.errors import CheckpointError
from zhuyi.interop.reading.files import read_bytes
from zhuyi.interop.reading.json_text import parse
from zhuyi.interop.reading.yaml import scalar
from zhuyi.text.lookup import Lookup
from zhuyi.text.normalizer import normalizer
from zhuyi.text.special import BOS, SPECIALS
from zhuyi.text.tokenizer import Tokenizer
from zhuyi.text.trainers import character_engine, whitespace_engine

MOST_PIECES = 1 << 19
LARGEST_FILE = 1 << 26
"""Bytes of a vocabulary in text."""


@dataclass(frozen=True)
class Vocabulary:
    """A model's tokens by id: PAD, UNK, BOS and EOS, then the others as the model has them."""

    where: str | Path
    """The file, directory or argument that they are from, for messages."""
    pieces: list[str]
    rows: list[int | None]
    """The row of each in the model's own matrices; None where it has no such token."""
    special: list[int]
    """Ids, other than the first four, that no text has: tags of languages, sentinels, rows without a name."""

    @classmethod
    def of(
        cls,
        where: str | Path,
        pieces: Sequence[str | None],
        pad: int | None = None,
        unk: int | None = None,
        bos: int | None = None,
        eos: int | None = None,
        special: Collection[int] = (),
    ) -> "Vocabulary":
        """Put a model's tokens in our order.

        Args:
            where: the file, directory or argument that they are from, for messages.
            pieces: by row; None is a row without a name. Another row that is called as one of the four loses its name.
            pad, unk, bos, eos: the rows of the four that come first, which lose their names.
            special: the rows of other tokens that no text has.

        Raises:
            CheckpointError: naming `where` and a row that is not there.
        """
        ends = [pad, unk, bos, eos]
        if missing := [row for row in (*ends, *special) if row is not None and not 0 <= row < len(pieces)]:
            raise CheckpointError(
                f"{where}: the model's settings name a token {missing[0]}, and the vocabulary has only "
                f"{len(pieces):,}: take all files from one model"
            )
        rows: list[int | None] = [*ends, *(row for row in range(len(pieces)) if row not in ends)]
        unnamed = {row for row, piece in enumerate(pieces) if piece is None or piece in SPECIALS}
        no_text = {*special, *unnamed}
        named = [f"<row {row}>" if row in unnamed else piece for row, piece in enumerate(pieces)]
        return cls(
            where,
            [*SPECIALS, *(named[row] or "" for row in rows[len(SPECIALS) :] if row is not None)],
            rows,
            [i for i, row in enumerate(rows) if i >= len(SPECIALS) and row in no_text],
        )

    def with_bos(self, row: int) -> "Vocabulary":
        """The same, with a copy of this row as BOS."""
        return replace(self, rows=[*self.rows[:BOS], row, *self.rows[BOS + 1 :]])

    def tokenizer(self, engine: dict[str, Any]) -> Tokenizer:
        """The tokenizer that looks up the tokens of an engine: the object in the library's own `tokenizer.json`.

        Raises:
            CheckpointError: naming `where`, if two tokens have one name.
        """
        try:
            return Tokenizer(Lookup(engine, self.pieces, self.special))
        except ValueError as error:
            raise CheckpointError(f"{self.where}: not a vocabulary: {error}") from error


def word_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer whose tokens are the words of a vocabulary, between white space, as they stand in a line."""
    form = normalizer(lowercase=False, normalization="none")
    return vocabulary.tokenizer(json.loads(whitespace_engine(_text_of(vocabulary), form).to_str()))


def character_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer whose tokens are the characters of a vocabulary."""
    form = normalizer(lowercase=False, normalization="none")
    return vocabulary.tokenizer(json.loads(character_engine(_text_of(vocabulary), form).to_str()))


def _text_of(vocabulary: Vocabulary) -> list[str]:
    no_text = {*range(len(SPECIALS)), *vocabulary.special}
    return [piece for i, piece in enumerate(vocabulary.pieces) if i not in no_text]


def is_language_tag(piece: str | None) -> bool:
    """Whether a piece names the language of the target, as in >>fra<<."""
    return piece is not None and piece.startswith(">>") and piece.endswith("<<")


def read_pieces(path: Path) -> list[str | None]:
    """The tokens of a vocabulary file by id: a JSON object or YAML (token: id), or text (a token a line).

    Ids that no token has are None.

    Raises:
        CheckpointError: naming the line, or what else is wrong.
    """
    try:
        text = read_bytes(path, LARGEST_FILE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: not UTF-8") from error
    if path.suffix not in (".json", ".yml", ".yaml"):
        return list(text.removesuffix("\n").split("\n")) if text else []
    ids = _from_json(path, text) if text.lstrip().startswith("{") else _from_yaml(path, text)
    if not ids or max(ids.values()) >= MOST_PIECES:
        raise CheckpointError(f"{path}: {'no tokens' if not ids else f'an id is not below {MOST_PIECES:,}'}")
    pieces: list[str | None] = [None] * (max(ids.values()) + 1)
    for piece, i in ids.items():
        if pieces[i] is not None:
            raise CheckpointError(f"{path}: {pieces[i]!r} and {piece!r} have the same id {i}")
        pieces[i] = piece
    return pieces


def _from_json(path: Path, text: str) -> Mapping[str, int]:
    found: dict[str, int] = parse(path, text)
    if not all(type(i) is int and i >= 0 for i in found.values()):
        raise CheckpointError(f"{path}: not an object of ids")
    return found


_ENTRY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'].*?|)\s*:\s+(\d{1,9})\s*""")


def _from_yaml(path: Path, text: str) -> Mapping[str, int]:
    """The one form that vocabularies have: an entry a line, its token plain or between quotation marks."""
    ids: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith(("#", "---", "...")):
            continue
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise CheckpointError(f"{path}:{number}: not an entry of the form token: id")
        piece = scalar(entry[1])
        if piece is None or piece in ids:
            raise CheckpointError(f"{path}:{number}: {'damaged' if piece is None else 'a second'} token {entry[1]}")
        ids[piece] = int(entry[2])
    return ids
