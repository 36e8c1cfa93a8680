"""`tokenizer.json`, in which the library `tokenizers` of Hugging Face writes a tokenizer.

It can be composed of other parts than SentencePiece and byte-level BPE have; such a part is refused by its name. What
stands before and after a line (`post_processor`) is not read: the family of the model says that.
"""

import base64
import binascii
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zhuyi.errors import CheckpointError
from zhuyi.interop.reading.settings import Settings
from zhuyi.interop.tokenizers import sentencepiece
from zhuyi.interop.tokenizers.sentencepiece_model import SPACE, Kind, Piece, SentencePieceModel
from zhuyi.interop.tokenizers.vocabulary import MOST_PIECES
from zhuyi.text.special import BYTES

FILE = "tokenizer.json"
Merges = list[tuple[str, str]]


class TokenizerJson:
    """A tokenizer.json, each part of which is checked where it is asked for."""

    def __init__(self, path: Path) -> None:
        self._settings = Settings(path, FILE)
        self.path = path / FILE
        self.model = self._settings.table("model")

    def unsupported(self, part: str, what: str) -> CheckpointError:
        """That zhuyi has no such tokenizer: `what` its `part` is or has."""
        return CheckpointError(f"{self.path}: this tokenizer cannot be imported: its {part} {what}")

    def ensure_model(self, *known: str) -> str:
        """The type of the model, one of `known`."""
        found = self.model.get("type")
        if found not in known:
            raise self.unsupported("model", f"is {reprlib.repr(found)}, not {' or '.join(known)}")
        for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
            if self.model.get(key):
                raise self.unsupported("model", f"has {key} = {reprlib.repr(self.model[key])}")
        return str(found)

    def ensure_steps(self, part: str, known: Sequence[str]) -> list[dict[str, Any]]:
        """The steps of a part, those of a sequence one by one."""
        steps = [*self._steps(part, self._settings.get(part))]
        for step in steps:
            if step.get("type") not in known:
                raise self.unsupported(part, f"has {reprlib.repr(step.get('type'))}, which zhuyi has not")
        return steps

    def _steps(self, part: str, found: Any) -> Iterator[dict[str, Any]]:
        if found is None:
            return
        if not isinstance(found, dict):
            raise CheckpointError(f"{self.path}: {part} is not an object")
        inner = found.get({"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}[part])
        if found.get("type") == "Sequence" and isinstance(inner, list):
            for each in inner:
                yield from self._steps(part, each)
        else:
            yield found

    def pieces(self) -> tuple[list[str | None], list[int]]:
        """The tokens by row, and the rows of special tokens."""
        vocabulary, numbered = self.model.get("vocab"), list[tuple[Any, Any]]()
        if isinstance(vocabulary, list):
            names = [each[0] if isinstance(each, list) and each else None for each in vocabulary]
            numbered = list(enumerate(names))
        elif isinstance(vocabulary, dict):
            numbered = [(row, name) for name, row in vocabulary.items()]
        else:
            raise CheckpointError(f"{self.path}: its model has no vocabulary")
        special = list[Any]()
        for token in self._settings.entries("added_tokens"):
            row, name = (token.get("id"), token.get("content")) if isinstance(token, dict) else (None, None)
            if isinstance(token, dict) and token.get("special") is not True:
                raise self.unsupported("added_tokens", f"have {reprlib.repr(name)}, which is no special token")
            numbered.append((row, name))
            special.append(row)
        if not all(type(row) is int and 0 <= row < MOST_PIECES and isinstance(name, str) for row, name in numbered):
            raise CheckpointError(f"{self.path}: a token has no name, or an id that is not below {MOST_PIECES:,}")
        pieces: list[str | None] = [None] * (1 + max((row for row, _ in numbered), default=-1))
        for row, name in numbered:
            if pieces[row] not in (None, name):
                raise CheckpointError(
                    f"{self.path}: {reprlib.repr(pieces[row])} and {reprlib.repr(name)} have the same id {row}"
                )
            pieces[row] = name
        return pieces, special

    def scored(self, pieces: Sequence[str | None], special: set[int]) -> list[Piece]:
        """The tokens as pieces of SentencePiece."""
        vocabulary, unknown = self.model["vocab"], self.model.get("unk_id")
        if self.model["type"] == "BPE":
            unknown = pieces.index(name) if (name := self.model.get("unk_token")) in pieces else None
        falls_back = self.model.get("byte_fallback") is True
        found = []
        for row, name in enumerate(pieces):
            score = vocabulary[row][-1] if isinstance(vocabulary, list) and row < len(vocabulary) else 0.0
            if type(score) not in (int, float) or not abs(score) <= 1e9:
                raise CheckpointError(f"{self.path}: the score of {reprlib.repr(name)} is no number")
            if row == unknown:
                kind = Kind.UNKNOWN
            elif row in special or name is None:
                kind = Kind.CONTROL
            else:
                kind = Kind.BYTE if falls_back and name in BYTES else Kind.NORMAL
            found.append(Piece(name or f"<row {row}>", float(score), kind))
        return found

    def merges(self, pieces: Sequence[str | None]) -> Merges:
        """The merges of a BPE."""
        found = self.model.get("merges")
        if not isinstance(found, list):
            raise CheckpointError(f"{self.path}: its model has no merges")
        return checked_merges(self.path, pieces, found)

    def decoded(self, text: Any) -> bytes:
        """What is written in base64."""
        try:
            return base64.b64decode(text, validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise CheckpointError(f"{self.path}: precompiled_charsmap is not base64") from error


def checked_merges(path: Path, pieces: Sequence[str | None], written: Sequence[Any]) -> Merges:
    """Merges, each a pair or two tokens with a space between them, whose parts and results are tokens."""
    known, merges = {*pieces}, []
    for each in written:
        pair = tuple(each.split(" ")) if isinstance(each, str) else tuple(each) if isinstance(each, list) else ()
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise CheckpointError(f"{path}: {reprlib.repr(each)} is no merge of two tokens")
        if not {*pair, "".join(pair)} <= known:
            raise CheckpointError(f"{path}: merge {reprlib.repr(' '.join(pair))} has a token that the vocabulary lacks")
        merges.append((pair[0], pair[1]))
    return merges


def read_sentencepiece(path: Path, name: str) -> SentencePieceModel:
    """The SentencePiece model of a directory: the file of this name, or what a tokenizer.json says if that is alone.

    Raises:
        CheckpointError: naming the file, and what is missing, damaged, or has no counterpart here.
    """
    is_alone = (path / FILE).is_file() and not (path / name).is_file()
    return _from_tokenizer_json(path) if is_alone else sentencepiece.read(path / name)


def _from_tokenizer_json(path: Path) -> SentencePieceModel:
    """The SentencePiece model of which a tokenizer.json was made; its pieces stand by their rows in the matrices."""
    tokenizer = TokenizerJson(path)
    algorithm = tokenizer.ensure_model("Unigram", "BPE")
    form = tokenizer.ensure_steps("normalizer", ("Precompiled", "Replace", "Strip"))
    words = tokenizer.ensure_steps("pre_tokenizer", ("WhitespaceSplit", "Metaspace"))
    spaces = [each for each in words if each["type"] == "Metaspace"]
    if len(spaces) != 1 or spaces[0].get("replacement") != SPACE:
        raise tokenizer.unsupported("pre_tokenizer", f"has no Metaspace with {SPACE}")
    if any(each["type"] == "Replace" and each.get("pattern") != {"Regex": " {2,}"} for each in form):
        raise tokenizer.unsupported("normalizer", "replaces something else than spaces (Replace)")
    pieces, special = tokenizer.pieces()
    maps = [each.get("precompiled_charsmap") for each in form if each["type"] == "Precompiled"]
    model = SentencePieceModel(
        tokenizer.path,
        tokenizer.scored(pieces, {*special}),
        "unigram" if algorithm == "Unigram" else "bpe",
        byte_fallback=tokenizer.model.get("byte_fallback") is True,
        character_map=tokenizer.decoded(maps[0]) if maps else b"",
        add_dummy_prefix=spaces[0].get("prepend_scheme", "always") != "never",
        merges=tokenizer.merges(pieces) if algorithm == "BPE" else None,
    )
    sentencepiece.ensure_expressible(model)
    return model
