"""Tokenizers: lines to token ids and back, built on Hugging Face's `tokenizers`.

    bpe         subwords made by merging frequent pairs (Sennrich et al. 2016); unseen characters become bytes
    unigram     subwords of a unigram language model (Kudo 2018); unseen characters become bytes
    character   one token per code point; unseen ones become UNK
    whitespace  the words that white space separates (segmented text, phones); unseen ones become UNK
    bytes       one token per byte of UTF-8 (Xue et al. 2022), of which there are 256; nothing is learnt, or unseen

Imported tokenizers may have other kinds of tokens, such as sequences of bytes (see `byte_level`), and may look their
pieces up in a list (see `lookup`).

Every line is first normalised (see `normalizer`), and scores compare lines in the same normal form. Decoding is
lossless on normalised lines: bpe, unigram and bytes restore any line exactly, character and whitespace any line whose
characters or words are in the vocabulary. No character is reserved: inside a token a space is a space, and only
`pieces` shows it as `▁` (U+2581), as SentencePiece does. No word is reserved: "</s>" in a user's text is not EOS, and
`<fra>` is no tag (but see `template` for `>>fra<<` at the beginning of a source line).

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
from tokenizers import decoders

from zhuyi.config import Normalization, TextConfig, TokenKind, Whitespace
from zhuyi.errors import CheckpointError, ConfigError, DataError
from zhuyi.text import byte_level, trainers
from zhuyi.text.lookup import VOCABULARY, Lookup
from zhuyi.text.normalizer import BREAK, SPACE, keeps_whitespace
from zhuyi.text.pieces import NoPieceError, add_pieces
from zhuyi.text.special import BOS, BYTES, EOS, MASK, PAD, SPECIALS, UNK, spell
from zhuyi.text.template import Template, is_of_target

__all__ = ["BOS", "BYTES", "EOS", "MASK", "PAD", "SPECIALS", "UNK", "Tokenizer", "Tokenizers"]


NO_TEMPLATE = Template()


class Tokenizer:
    """The tokenizer of one side: strings ↔ ids in [0, len(tokenizer)), where 0 to 3 are PAD, UNK, BOS and EOS.

    Args:
        engine: maps lines to tokens, and back.
        template: the ids around the tokens of every line.
    """

    def __init__(self, engine: Engine | Lookup, template: Template = NO_TEMPLATE) -> None:
        self._engine, self.template = engine, template
        self._is_byte_level = isinstance(engine.decoder, decoders.ByteLevel)

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
        tags: Sequence[str] = (),
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
            whitespace: whether white space is kept; see `normalizer`. The kind whitespace has no tokens for it, and
                always collapses it.
            mask: whether the last token is `<mask>`, which does not occur in text.
            tags: further tokens that do not occur in text, the last ones before `<mask>`.

        Raises:
            ConfigError: if one of the tags could occur in text.
        """
        for tag in tags:
            if not trainers.is_no_text(tag) or tag in (*SPECIALS, *BYTES, MASK):
                raise ConfigError(f"text.tags: {tag!r} could be text, or another token: write it as >>NAME<< or <NAME>")
        added = [*tags, *([MASK] if mask else [])]
        most = vocabulary - len(added)
        engine = trainers.train(lines, kind, most, lowercase, normalization, whitespace, tags)
        return cls.from_json(_content(engine, added))

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
        """The part of `to_json` that the library `tokenizers` can open: it cuts lines, and joins tokens to lines."""
        return self._engine.engine_to_str() if isinstance(self._engine, Lookup) else self.to_json()

    def engine_vocabulary(self) -> dict[str, int]:
        """The id of each token that the engine cuts lines into; UNK if it is not in the model's vocabulary."""
        return dict(self._engine.get_vocab())

    @property
    def names(self) -> list[str]:
        """The unique name of each token, by id."""
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
        """The id of `<mask>`, which is the last token; None if the vocabulary does not have it."""
        last = len(self) - 1
        return last if self._engine.id_to_token(last) == MASK else None

    @property
    def keeps_whitespace(self) -> bool:
        """Whether white space is text like any other (`text.whitespace`)."""
        return keeps_whitespace(self._engine.normalizer)

    def with_template(self, template: Template) -> "Tokenizer":
        """The same vocabulary, with another template."""
        return Tokenizer(self._engine, template)

    def tokenises_as(self, other: "Tokenizer") -> bool:
        """Whether both cut lines into the same tokens, disregarding their templates."""
        return self._engine is other._engine

    def has_vocabulary_of(self, other: "Tokenizer") -> bool:
        """Whether ids have the same meaning in both: they are the same, or look pieces up in the same list."""
        mine, theirs = self._engine, other._engine
        return mine is theirs or (
            isinstance(mine, Lookup) and isinstance(theirs, Lookup) and mine.pieces == theirs.pieces
        )

    def with_pieces(self, texts: Sequence[str], tags: Sequence[str] = ()) -> tuple["Tokenizer", list[list[int]]]:
        """Add tokens: each of `texts` becomes one, and each of `tags`, which do not occur in text.

        Returns:
            The new tokenizer; and for each new id, in order, the ids that its text had before.

        Raises:
            NoPieceError: if one of them cannot be a token.
        """
        if (texts or tags) and self.mask is not None:
            raise NoPieceError([*texts, *tags][0], f"cannot be added to a vocabulary that ends with {MASK}")
        content, parts = add_pieces(self.to_json(), texts, tags)
        return Tokenizer.from_json(content).with_template(self.template), parts

    def normalise(self, line: str) -> str:
        """The normal form of a line, which `encode` encodes and `decode` restores."""
        return str(self._engine.normalizer.normalize_str(line))

    def find(self, piece: str) -> int | None:
        """The id of a token in its readable form, as `pieces` returns it; None if there is no such token."""
        text = piece.replace("▁", SPACE).replace("⏎", BREAK)
        if self._is_byte_level and self._engine.token_to_id(piece) not in self._special:
            piece = text = byte_level.spell(text)
        for token in (piece, text):
            if (found := self._engine.token_to_id(token)) is not None:
                return int(found)
        return None

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """The ids of each line, with its template, and without BOS and EOS; but a template's suffix includes EOS.

        A line without tokens has no ids at all.

        Raises:
            DataError: if `lines` is a string, whose characters would be taken for lines.
        """
        if isinstance(lines, str):
            raise DataError(f"a list of lines is wanted, not a string: write [{lines[:40]!r}]")
        before, texts = zip(*map(self.template.split, lines), strict=True) if lines else ((), ())
        tokens = [each.ids for each in self._engine.encode_batch_fast(list(texts), add_special_tokens=False)]
        suffix = self.template.suffix
        return [[*prefix, *ids, *suffix] if ids else [] for prefix, ids in zip(before, tokens, strict=True)]

    def cut(self, tokens: list[int], most: int) -> list[int]:
        """At most `most` of the tokens of a line, without the last ones before its suffix."""
        suffix = self.template.suffix
        return tokens if len(tokens) <= most else [*tokens[: most - len(suffix)], *suffix]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The line of each sequence. The template's prefix, PAD, BOS, EOS, tags and other special tokens are left out.

        UNK becomes `<unk>`. Bytes that are not UTF-8 become `�`.
        """
        prefix, silent = self.template.prefix, {PAD, BOS, EOS, *self._special, *self.template.tags}
        starts = [len(prefix) if tuple(sequence[: len(prefix)]) == prefix else 0 for sequence in ids]
        kept = [[i for i in sequence[start:] if i not in silent] for start, sequence in zip(starts, ids, strict=True)]
        if self._engine.pre_tokenizer is None:
            return [spell(map(self._engine.id_to_token, sequence)) for sequence in kept]
        return list(self._engine.decode_batch(kept, skip_special_tokens=False))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token in readable form: `▁` is a space, `⏎` a line break and `<0xE2>` a byte.

        `▁</s>` is a word, `</s>` is EOS.
        """
        return [self._text(i).replace(SPACE, "▁").replace(BREAK, "⏎") for i in ids]

    def _text(self, token: int) -> str:
        """The text that a token stands for; its name, if it does not stand for text."""
        name = self._engine.id_to_token(token) or SPECIALS[UNK]
        return byte_level.read(name) if self._is_byte_level and token not in self._special else str(name)

    @property
    def _special(self) -> frozenset[int]:
        """The ids, besides the first four, that do not occur in text, and that decoding leaves out."""
        return self._engine.special if isinstance(self._engine, Lookup) else frozenset()

    def with_dropout(self, share: float) -> "Tokenizer":
        """A copy that omits each merge with probability `share` (BPE-dropout, Provilkov et al. 2020).

        Its encoding is random, and cannot be seeded. Tokenizers of other kinds have no merges and return themselves.
        """
        content = json.loads(self.to_json())
        if not share or not content["model"].get("merges"):
            return self
        content["model"]["dropout"] = share
        return Tokenizer.from_json(_dump(content)).with_template(self.template)


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of both sides, which may share their vocabulary."""

    source: Tokenizer
    target: Tokenizer

    @property
    def shared(self) -> bool:
        """Whether ids have the same meaning on both sides, although these may cut lines by different rules."""
        return self.source.has_vocabulary_of(self.target)

    @property
    def templates(self) -> tuple[Template, Template]:
        """The templates of source and target."""
        return self.source.template, self.target.template

    def with_templates(self, source: Template, target: Template) -> "Tokenizers":
        """The same vocabularies with these templates."""
        return Tokenizers(self.source.with_template(source), self.target.with_template(target))

    def with_templates_of(self, text: TextConfig) -> "Tokenizers":
        """The same vocabularies with the templates that `text` specifies.

        Raises:
            ConfigError: naming the key and the piece that is not in the vocabulary, or not possible there.
        """
        found = ({tag: side.find(tag) for tag in text.tags} for side in (self.source, self.target))
        source, target = ({tag: id for tag, id in tags.items() if id is not None} for tags in found)
        for tag in text.tags:
            if tag not in source and tag not in target:
                raise ConfigError(f"text.tags: {tag!r} is not in the vocabulary")
        before, after = (_ids(self.source, text, f"source_{place}") for place in ("prefix", "suffix"))
        given = _ids(self.target, text, "target_prefix")
        own = {tag: id for tag, id in source.items() if is_of_target(tag)}
        return self.with_templates(
            Template(before, tuple(source.values()), own, after), Template(given, tuple(target.values()))
        )

    @classmethod
    def train(cls, config: TextConfig, sources: Iterable[str], targets: Iterable[str]) -> "Tokenizers":
        """Learn the vocabularies that `config` specifies. Each side is read once, the source first.

        Raises:
            ConfigError: if one of the tags could occur in text.
        """
        assert config.source_kind is not None
        assert config.target_kind is not None
        assert config.whitespace is not None
        settings = config.vocabulary, config.lowercase, config.normalization, config.whitespace
        if config.tags:  # a tag with which a line begins is not text
            of_lines = Template(own=dict.fromkeys(config.tags, UNK))
            sources = (of_lines.split(line)[1] for line in sources)
        if config.shared:
            both = Tokenizer.train(chain(sources, targets), config.source_kind, *settings, config.mask, config.tags)
            return cls(both, both)
        return cls(
            Tokenizer.train(sources, config.source_kind, *settings, config.mask, config.tags),
            Tokenizer.train(targets, config.target_kind, *settings, tags=config.tags),
        )

    def files(self) -> dict[str, str]:
        """The files of a model directory that hold the tokenizers: name → content."""
        if self.source.tokenises_as(self.target):
            return {"tokenizer.json": self.source.to_json()}
        return {"tokenizer.source.json": self.source.to_json(), "tokenizer.target.json": self.target.to_json()}

    @classmethod
    def from_files(cls, files: Mapping[str, str]) -> "Tokenizers":
        """Create the tokenizers from the result of `files`.

        Raises:
            ValueError: if one is not a tokenizer.
        """
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


def _ids(tokenizer: Tokenizer, text: TextConfig, key: str) -> tuple[int, ...]:
    """The ids of the pieces that a key lists."""
    never = {"source_prefix": (PAD, EOS), "source_suffix": (PAD,), "target_prefix": (PAD, UNK, BOS, EOS)}[key]
    ids = []
    for piece in getattr(text, key):
        if (found := tokenizer.find(piece)) is None:
            side = key.partition("_")[0]
            raise ConfigError(
                f"text.{key}: {piece!r} is not in the vocabulary of the {side}: name a piece that is, or a tag of "
                "text.tags"
            )
        if found in never:
            raise ConfigError(f"text.{key}: {piece} cannot stand there: leave it out")
        ids.append(found)
    return tuple(ids)


def _read(files: Mapping[str, bytes], directory: Path, name: str) -> Tokenizer:
    if name not in files:
        raise CheckpointError(f"{directory}: {name} is missing")
    try:
        return Tokenizer.from_json(files[name].decode())
    except ValueError as error:  # also UnicodeDecodeError
        raise CheckpointError(f"{directory / name}: the tokenizer is damaged ({error})".replace("\n", " ")) from error


def _content(engine: Engine, added: Sequence[str]) -> str:
    """The tokenizer as JSON, with `added` at the end of its vocabulary.

    `added_tokens` is empty, because the library would match those in any text before everything else.
    """
    content = json.loads(engine.to_str())
    content["added_tokens"] = []
    vocabulary = content["model"]["vocab"]
    for token in added:
        if isinstance(vocabulary, list):  # unigram
            vocabulary.append([token, 0.0])
        else:
            vocabulary[token] = len(vocabulary)
    return _dump(content)


def _dump(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
