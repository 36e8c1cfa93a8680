"""Pieces that are looked up in a vocabulary of the model's own, as Marian does with the pieces of SentencePiece.

Such a model has one list of tokens for both sides, and each side has its own engine, which cuts lines into pieces. A
piece that is not in the list is UNK. So both sides can share ids, and the rows of their embeddings, although their
engines differ.
"""

import json
import reprlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer as Engine
from tokenizers import decoders, normalizers, pre_tokenizers

from zhuyi.text.special import SPECIALS, UNK

VOCABULARY = "vocabulary"
"""The key of `tokenizer.json` that holds the list; the other keys are the engine's."""


@dataclass(frozen=True)
class Encoding:
    """The ids of a line."""

    ids: list[int]


class Lookup:
    """An engine whose tokens are looked up. It has the methods of the library's engine that a `Tokenizer` calls.

    Args:
        engine: maps lines to pieces, and back: the object in the library's own `tokenizer.json`.
        pieces: the model's tokens by id, PAD, UNK, BOS and EOS first.
        special: further ids that do not occur in text; decoding leaves them out.

    Raises:
        ValueError: if `pieces` and `special` are not a vocabulary.
    """

    def __init__(self, engine: dict[str, Any], pieces: Sequence[str], special: Sequence[int] = ()) -> None:
        if not all(isinstance(piece, str) for piece in pieces):
            raise ValueError("a token is not a string")
        if len(set(pieces)) < len(pieces):
            [(twice, _)] = Counter(pieces).most_common(1)
            raise ValueError(f"two tokens are called {reprlib.repr(twice)}")
        if not all(type(i) is int and 0 <= i < len(pieces) for i in special):
            raise ValueError("a special token is not in the vocabulary")
        self._engine = Engine.from_str(json.dumps(engine))
        self.pieces, self.special = tuple(pieces), frozenset(special)
        no_text = self.special | set(range(len(SPECIALS)))
        self._ids = {piece: i for i, piece in enumerate(self.pieces) if i not in no_text}
        self._first = {piece: i for i, piece in reversed([*enumerate(self.pieces)])}
        self._unknown = _unknown(engine["model"])
        tokens = map(self._engine.id_to_token, range(self._engine.get_vocab_size()))
        self._table = [UNK if token is None else self._ids.get(token, UNK) for token in tokens]

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> "Lookup":
        """Create it from the object in its `tokenizer.json`.

        Raises:
            ValueError: if the object is not valid.
        """
        found = content[VOCABULARY]
        if not isinstance(found, dict) or not all(isinstance(found.get(key), list) for key in ("pieces", "special")):
            raise ValueError(f"{VOCABULARY} has no lists pieces and special")
        engine = {key: value for key, value in content.items() if key != VOCABULARY}
        return cls(engine, found["pieces"], found["special"])

    def to_str(self, pretty: bool = False) -> str:
        """The content of a `tokenizer.json`."""
        content = json.loads(self._engine.to_str())
        content[VOCABULARY] = {"pieces": self.pieces, "special": sorted(self.special)}
        indent, separators = (2, None) if pretty else (None, (",", ":"))
        return json.dumps(content, ensure_ascii=False, indent=indent, separators=separators)

    def engine_to_str(self) -> str:
        """The engine's own `tokenizer.json`, without the list, which the library can open."""
        return str(self._engine.to_str())

    @property
    def normalizer(self) -> normalizers.Normalizer:
        """Maps lines to their normal form."""
        form: normalizers.Normalizer = self._engine.normalizer
        return form

    @property
    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer | None:
        """Splits normalised lines into words, whose boundaries no token crosses."""
        words: pre_tokenizers.PreTokenizer | None = self._engine.pre_tokenizer
        return words

    @property
    def decoder(self) -> decoders.Decoder:
        """Maps tokens to the text of their line."""
        joined: decoders.Decoder = self._engine.decoder
        return joined

    def get_vocab_size(self) -> int:
        """The number of the model's tokens."""
        return len(self.pieces)

    def get_vocab(self) -> dict[str, int]:
        """The ids of the engine's own tokens: UNK for those that are not in the list."""
        return {token: self._table[i] for token, i in self._engine.get_vocab().items()}

    def id_to_token(self, token: int) -> str | None:
        """The piece of an id; None if there is none."""
        return self.pieces[token] if 0 <= token < len(self.pieces) else None

    def token_to_id(self, piece: str) -> int | None:
        """The first id of a piece, special or not; None if there is none."""
        return self._first.get(piece)

    def encode_batch_fast(self, lines: Sequence[str], add_special_tokens: bool) -> list[Encoding]:
        """The ids of each line."""
        found = self._engine.encode_batch_fast(lines, add_special_tokens=add_special_tokens)
        return [Encoding(self._look_up(line, each.ids)) for line, each in zip(lines, found, strict=True)]

    def decode_batch(self, ids: Sequence[Sequence[int]], skip_special_tokens: bool) -> list[str]:
        """The line of each sequence; its pieces need not be in the engine's vocabulary."""
        return [self._engine.decoder.decode([self.pieces[i] for i in line if i < len(self.pieces)]) for line in ids]

    def _look_up(self, line: str, tokens: list[int]) -> list[int]:
        if self._unknown in tokens:
            return [self._ids.get(piece, UNK) for piece in self._pieces(line)]
        return [self._table[token] for token in tokens]

    def _pieces(self, line: str) -> Iterator[str]:
        """The pieces of a line. Text that the engine does not know is a piece too, which may be in the model's list."""
        for word, _ in self._engine.pre_tokenizer.pre_tokenize_str(self.normalizer.normalize_str(line)):
            text = word.encode()
            for token in self._engine.model.tokenize(word):
                start, end = token.offsets
                yield text[start:end].decode() if token.id == self._unknown else token.value


def _unknown(model: dict[str, Any]) -> int | None:
    """The engine's own id of unknown text; None if it has none."""
    unknown = model.get("unk_id") if model["type"] == "Unigram" else model["vocab"].get(model["unk_token"])
    assert unknown is None or isinstance(unknown, int)
    return unknown
