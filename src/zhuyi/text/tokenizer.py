"""Tokenizers: lines to token ids and back, built on Hugging Face's `tokenizers`.

    bpe         subwords made by merging frequent pairs (Sennrich et al. 2016); unseen characters become bytes
    unigram     subwords of a unigram language model (Kudo 2018); unseen characters become bytes
    character   one token per code point; unseen ones become UNK
    whitespace  the words that white space separates (segmented text, phones); unseen ones become UNK
    bytes       one token per byte of UTF-8 (Xue et al. 2022), of which there are 256; nothing is learnt, or unseen

Imported ones may be cut into tokens otherwise, and look these up in a list of their own (see `lookup`).

Every line is first normalised (see `normalizer`), and scores compare lines in the same normal form. Decoding is
lossless on normalised lines: bpe, unigram and bytes restore any line exactly, character and whitespace any line whose
characters or words are in the vocabulary. No character is reserved: inside a token a space is a space, and only
`pieces` shows it as `▁` (U+2581), as SentencePiece does. No word is reserved: "</s>" in a user's text is not EOS.

Where the normal form keeps white space (`text.whitespace`), a line of running text includes its line break, and is
restored with it. A line break is a token of its own, so the tokens of a text are those of its lines.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Engine

from zhuyi.config import Normalization, TextConfig, TokenKind, Whitespace
from zhuyi.errors import CheckpointError, DataError
from zhuyi.text import trainers
from zhuyi.text.lookup import VOCABULARY, Lookup
from zhuyi.text.normalizer import BREAK, SPACE, keeps_whitespace
from zhuyi.text.pieces import NoPieceError, add_pieces
from zhuyi.text.special import BOS, BYTES, EOS, MASK, PAD, SPECIALS, UNK, spell

__all__ = ["BOS", "BYTES", "EOS", "MASK", "PAD", "SPECIALS", "UNK", "Tokenizer", "Tokenizers"]


class Tokenizer:
    """The tokenizer of one side: strings ↔ ids in [0, len(tokenizer)), where 0 to 3 are PAD, UNK, BOS and EOS."""

    def __init__(self, engine: Engine | Lookup) -> None:
        self._engine = engine

    @classmethod
    def train(
        cls,
        lines: Iterable[str],
        kind: TokenKind,
        vocabulary: int,
        lowercase: bool,
        normalization: Normalization = "nfc",
        whitespace: Whitespace = "collapse",
        mask: bool = False,
    ) -> "Tokenizer":
        """Learn a vocabulary. The same lines always give the same vocabulary.

        Args:
            lines: the text, one sentence per line; read once.
            kind: the kind of tokens; see the top of this module.
            vocabulary: the maximum number of tokens, including the four special ones and (bpe, unigram) the 256 bytes.
                The rarest characters are left out if there are too many, and become bytes or UNK. Even the smallest
                bpe or unigram vocabulary has 261 tokens: 4, 256 and the space. One of bytes always has 260.
            lowercase: lower-case everything, here and in `encode`.
            normalization: the Unicode normalization; see `normalizer`.
            whitespace: what becomes of white space; see `normalizer`. The kind whitespace has no tokens for it, and
                always collapses it.
            mask: whether the last token is `<mask>`, which no text has.
        """
        engine = trainers.train(lines, kind, vocabulary - mask, lowercase, normalization, whitespace)
        return cls.from_json(_content(engine, mask))

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Create a tokenizer from the result of `to_json`.

        Raises:
            ValueError: if `text` is not such a result.
        """
        try:
            content = json.loads(text) if f'"{VOCABULARY}"' in text else {}  # a piece may also be called so
            engine = Lookup.from_content(content) if VOCABULARY in content else Engine.from_str(text)
        except Exception as error:  # the library raises no narrower type
            raise ValueError(f"not a tokenizer: {error}") from error
        if tuple(engine.id_to_token(i) for i in range(4)) != SPECIALS:
            raise ValueError(f"tokens 0 to 3 are not {' '.join(SPECIALS)}")
        return cls(engine)

    def to_json(self) -> str:
        """The content of a `tokenizer.json`."""
        return str(self._engine.to_str(pretty=False))

    def engine_to_json(self) -> str:
        """The part of it that the library `tokenizers` opens: it cuts lines, and joins the names of tokens."""
        return self._engine.engine_to_str() if isinstance(self._engine, Lookup) else self.to_json()

    @property
    def names(self) -> list[str]:
        """Each token by a name that no other has."""
        return [self._engine.id_to_token(i) or SPECIALS[UNK] for i in range(len(self))]

    def __len__(self) -> int:
        return int(self._engine.get_vocab_size())

    @property
    def fallback(self) -> range:
        """The ids that replace what is not in the vocabulary: those of the 256 bytes (bpe, unigram), or UNK."""
        first = self._engine.token_to_id(BYTES[0]) if self._engine.pre_tokenizer is not None else None
        if first is None or self._engine.id_to_token(first + len(BYTES) - 1) != BYTES[-1]:
            return range(UNK, UNK + 1)
        return range(first, first + len(BYTES))

    @property
    def mask(self) -> int | None:
        """The id of `<mask>`, which is the last one; None if there is none."""
        last = len(self) - 1
        return last if self._engine.id_to_token(last) == MASK else None

    @property
    def keeps_whitespace(self) -> bool:
        """Whether white space is text like any other (`text.whitespace`)."""
        return keeps_whitespace(self._engine.normalizer)

    def has_vocabulary_of(self, other: "Tokenizer") -> bool:
        """Whether ids have the same meaning in both: they are one, or look tokens up in the same list."""
        mine, theirs = self._engine, other._engine
        return mine is theirs or (
            isinstance(mine, Lookup) and isinstance(theirs, Lookup) and mine.pieces == theirs.pieces
        )

    def with_pieces(self, texts: Sequence[str]) -> tuple["Tokenizer", list[list[int]]]:
        """A copy in which each of `texts` is one token; and of each new id, in order, the ids that its text had before.

        Raises:
            NoPieceError: if one of them cannot be a token.
        """
        if texts and self.mask is not None:
            raise NoPieceError(texts[0], f"cannot be added to a vocabulary that ends with {MASK}")
        content, parts = add_pieces(self.to_json(), texts)
        return Tokenizer.from_json(content), parts

    def normalise(self, line: str) -> str:
        """The normal form of a line, which `encode` encodes and `decode` restores."""
        return str(self._engine.normalizer.normalize_str(line))

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, without BOS and EOS (`data.batches` adds them). An empty line has no tokens.

        Raises:
            DataError: if `lines` is one string, whose characters would be taken for lines.
        """
        if isinstance(lines, str):
            raise DataError(f"a list of lines is wanted, not a string: write [{lines[:40]!r}]")
        return [encoding.ids for encoding in self._engine.encode_batch_fast(list(lines), add_special_tokens=False)]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The line of each sequence. PAD, BOS, EOS and other special tokens are left out; UNK becomes `<unk>`.

        Where bytes are no UTF-8, the line has `�`: one for a run of pieces `<0xE2>`, or (bytes) for what is none.
        """
        special = self._engine.special if isinstance(self._engine, Lookup) else ()
        kept = [[i for i in sequence if (i == UNK or i > EOS) and i not in special] for sequence in ids]
        if self._engine.pre_tokenizer is None:
            return [spell(map(self._engine.id_to_token, sequence)) for sequence in kept]
        return list(self._engine.decode_batch(kept, skip_special_tokens=False))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token in readable form: `▁` is a space, `⏎` a line break and `<0xE2>` a byte.

        `▁</s>` is a word, `</s>` is EOS.
        """
        tokens = (self._engine.id_to_token(i) or SPECIALS[UNK] for i in ids)
        return [token.replace(SPACE, "▁").replace(BREAK, "⏎") for token in tokens]

    def with_dropout(self, share: float) -> "Tokenizer":
        """A copy that leaves out each merge with probability `share` (BPE-dropout, Provilkov et al. 2020).

        Encoding is then random, and cannot be seeded. Other kinds of tokenizers have no merges and return themselves.
        """
        content = json.loads(self.to_json())
        if not share or not content["model"].get("merges"):
            return self
        content["model"]["dropout"] = share
        return Tokenizer.from_json(_dump(content))


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of both sides, which are one object if both vocabulary and engine are shared."""

    source: Tokenizer
    target: Tokenizer

    @property
    def shared(self) -> bool:
        """Whether ids have the same meaning on both sides, whose lines may be cut into tokens by different rules."""
        return self.source.has_vocabulary_of(self.target)

    @classmethod
    def train(cls, config: TextConfig, sources: Iterable[str], targets: Iterable[str]) -> "Tokenizers":
        """Learn the vocabularies that `config` specifies. Each side is read once, the source first."""
        assert config.source_kind is not None
        assert config.target_kind is not None
        assert config.whitespace is not None
        settings = config.vocabulary, config.lowercase, config.normalization, config.whitespace
        if config.shared:
            both = Tokenizer.train(chain(sources, targets), config.source_kind, *settings, config.mask)
            return cls(both, both)
        return cls(
            Tokenizer.train(sources, config.source_kind, *settings, config.mask),
            Tokenizer.train(targets, config.target_kind, *settings),
        )

    def files(self) -> dict[str, str]:
        """The files of a model directory that hold the tokenizers: name → content."""
        if self.source is self.target:
            return {"tokenizer.json": self.source.to_json()}
        return {"tokenizer.source.json": self.source.to_json(), "tokenizer.target.json": self.target.to_json()}

    @classmethod
    def from_files(cls, files: Mapping[str, str]) -> "Tokenizers":
        """Create the tokenizers from the result of `files`."""
        if len(files) == 1:
            both = Tokenizer.from_json(files["tokenizer.json"])
            return cls(both, both)
        return cls(*(Tokenizer.from_json(files[f"tokenizer.{side}.json"]) for side in ("source", "target")))

    @classmethod
    def load(cls, files: Mapping[str, bytes], directory: Path) -> "Tokenizers":
        """The tokenizers among the `files` of a model directory.

        Raises:
            CheckpointError: naming the file that is missing or damaged.
        """
        of_sides = ("tokenizer.source.json", "tokenizer.target.json")
        names = of_sides if files.keys() & set(of_sides) else ("tokenizer.json",)
        read = [_read(files, directory, name) for name in names]
        return cls(read[0], read[-1])


def _read(files: Mapping[str, bytes], directory: Path, name: str) -> Tokenizer:
    if name not in files:
        raise CheckpointError(f"{directory}: {name} is missing")
    try:
        return Tokenizer.from_json(files[name].decode())
    except ValueError as error:  # UnicodeDecodeError is one too
        raise CheckpointError(f"{directory / name}: the tokenizer is damaged ({error})".replace("\n", " ")) from error


def _content(engine: Engine, mask: bool) -> str:
    """The tokenizer as JSON, with `<mask>` at the end of its vocabulary or without.

    It has no added tokens, which the library would match in any text before everything else.
    """
    content = json.loads(engine.to_str())
    content["added_tokens"] = []
    vocabulary = content["model"]["vocab"]
    if mask and isinstance(vocabulary, list):  # unigram
        vocabulary.append([MASK, 0.0])
    elif mask:
        vocabulary[MASK] = len(vocabulary)
    return _dump(content)


def _dump(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
