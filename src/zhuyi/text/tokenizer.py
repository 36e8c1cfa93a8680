"""How a line becomes tokens and tokens become a line again, on Hugging Face's `tokenizers`.

    bpe         pieces made by merging frequent neighbours (Sennrich et al. 2016), bytes for unseen characters
    unigram     pieces of a unigram language model (Kudo 2018), bytes for unseen characters
    character   one token a code point, UNK for unseen ones
    whitespace  the tokens that white space separates (segmented text, phones), UNK for unseen ones

Every line is brought into a normal form first (see `normalizer`), and scores compare lines in the same form. Of the
normal form nothing is lost: bpe and unigram give back any line exactly, character and whitespace any line whose
characters or words are in the vocabulary. No character is reserved: in a token a space is a space, and only `pieces`
shows it as `▁` (U+2581), as SentencePiece does. No word is either: the token of a user's own "</s>" is not EOS.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Engine

from zhuyi.config import Normalization, TextConfig, TokenKind
from zhuyi.errors import CheckpointError

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
SPACE = " "

FORMAT = 2
"""Of the tokenizers that are trained here: vocabularies that are kept elsewhere are learnt again when it changes."""
MOST_LINES = 2_000_000
"""A vocabulary is learnt from at most this many lines, drawn evenly: more cost memory and change nothing."""
LONGEST_WORD = 1_000
"""Longer words (a genome, a file on one line) are learnt from in parts of so many characters: the time that BPE's
trainer takes grows with the square of a word's length."""
LEAST_PIECES = 16
"""With room for fewer pieces than this, unigram has bytes and the space alone: its trainer may never end there."""


class Tokenizer:
    """One side's tokenizer: strings ↔ ids in [0, len(tokenizer)), where 0 to 3 are PAD, UNK, BOS and EOS."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def train(
        cls,
        lines: Iterable[str],
        kind: TokenKind,
        vocabulary: int,
        lowercase: bool,
        normalization: Normalization = "nfc",
    ) -> "Tokenizer":
        """Learn a vocabulary; the same lines give the same vocabulary, always.

        Args:
            lines: the text, one sentence each; read once.
            kind: see the head of this file.
            vocabulary: most tokens, the four special ones and (bpe, unigram) the 256 bytes counted. Characters
                that find no room are the rarest: bytes stand for them, or UNK. Even the smallest bpe or unigram
                vocabulary has 261 tokens: 4, 256 and the space.
            lowercase: lower-case everything, here and in `encode`.
            normalization: of Unicode, as `normalizer` says.
        """
        engine = _TRAIN[kind](_sample(lines), vocabulary, normalizer(lowercase, normalization))
        return cls.from_json(_without_added_tokens(engine))

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """A tokenizer from `to_json`'s text.

        Raises:
            ValueError: if it is not that.
        """
        try:
            engine = Engine.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"not a tokenizer: {error}") from error
        if tuple(engine.id_to_token(i) for i in range(4)) != SPECIALS:
            raise ValueError(f"tokens 0 to 3 are not {' '.join(SPECIALS)}")
        return cls(engine)

    def to_json(self) -> str:
        """The content of a `tokenizer.json`."""
        return str(self._engine.to_str(pretty=False))

    def __len__(self) -> int:
        return int(self._engine.get_vocab_size())

    @property
    def fallback(self) -> range:
        """The ids that stand for what is not in the vocabulary: those of the 256 bytes (bpe, unigram), or UNK."""
        has_bytes = self._engine.id_to_token(len(SPECIALS)) == BYTES[0]
        return range(len(SPECIALS), len(SPECIALS) + len(BYTES)) if has_bytes else range(UNK, UNK + 1)

    def normalise(self, line: str) -> str:
        """The line as `encode` sees it, and as `decode` gives it back."""
        return str(self._engine.normalizer.normalize_str(line))

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, without BOS and EOS (`data.batches` adds them). An empty line has no tokens."""
        return [encoding.ids for encoding in self._engine.encode_batch_fast(list(lines), add_special_tokens=False)]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The line of each sequence; PAD, BOS and EOS are left out, UNK reads `<unk>`."""
        kept = [[i for i in sequence if i == UNK or i > EOS] for sequence in ids]
        return list(self._engine.decode_batch(kept, skip_special_tokens=False))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token as people read it: `▁` is a space, `<0xE2>` a byte; `▁</s>` is a word, `</s>` is EOS."""
        return [(self._engine.id_to_token(i) or SPECIALS[UNK]).replace(SPACE, "▁") for i in ids]

    def with_dropout(self, share: float) -> "Tokenizer":
        """A copy that leaves out each merge with probability `share` (BPE-dropout, Provilkov et al. 2020).

        Encoding is then random, and cannot be seeded. The other kinds have no merges: they return themselves.
        """
        content = json.loads(self.to_json())
        if not share or content["model"]["type"] != "BPE":
            return self
        content["model"]["dropout"] = share
        return Tokenizer.from_json(_dump(content))


@dataclass(frozen=True)
class Tokenizers:
    """Those of both sides: one and the same object where the vocabulary is shared."""

    source: Tokenizer
    target: Tokenizer

    @property
    def shared(self) -> bool:
        """Whether ids mean the same on both sides."""
        return self.source is self.target

    @classmethod
    def train(cls, config: TextConfig, sources: Iterable[str], targets: Iterable[str]) -> "Tokenizers":
        """Learn the vocabularies that `config` asks for. Each side is read once, the source first."""
        assert config.source_kind is not None
        assert config.target_kind is not None
        settings = config.vocabulary, config.lowercase, config.normalization
        if config.shared:
            both = Tokenizer.train(chain(sources, targets), config.source_kind, *settings)
            return cls(both, both)
        return cls(
            Tokenizer.train(sources, config.source_kind, *settings),
            Tokenizer.train(targets, config.target_kind, *settings),
        )

    def files(self) -> dict[str, str]:
        """File name → content, as a model directory holds them."""
        if self.shared:
            return {"tokenizer.json": self.source.to_json()}
        return {"tokenizer.source.json": self.source.to_json(), "tokenizer.target.json": self.target.to_json()}

    @classmethod
    def from_files(cls, files: Mapping[str, str]) -> "Tokenizers":
        """Those of which `files` was the content."""
        if len(files) == 1:
            both = Tokenizer.from_json(files["tokenizer.json"])
            return cls(both, both)
        return cls(*(Tokenizer.from_json(files[f"tokenizer.{side}.json"]) for side in ("source", "target")))

    @classmethod
    def load(cls, directory: Path) -> "Tokenizers":
        """Read `files` back.

        Raises:
            CheckpointError: naming the file that is missing or damaged.
        """
        if (directory / "tokenizer.source.json").exists() or (directory / "tokenizer.target.json").exists():
            return cls(_read(directory / "tokenizer.source.json"), _read(directory / "tokenizer.target.json"))
        both = _read(directory / "tokenizer.json")
        return cls(both, both)


def _read(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the tokenizer: {error.strerror}") from error
    except ValueError as error:  # UnicodeDecodeError is one too
        raise CheckpointError(f"{path}: the tokenizer is damaged ({error})".replace("\n", " ")) from error


def _sample(lines: Iterable[str]) -> list[str]:
    """At most `MOST_LINES` of them, each with the same chance (reservoir sampling), always the same ones."""
    chance = random.Random(0)
    kept: list[str] = []
    for seen, line in enumerate(lines):
        if seen < MOST_LINES:
            kept.append(line)
        elif (place := chance.randrange(seen + 1)) < MOST_LINES:
            kept[place] = line
    return kept


def normalizer(lowercase: bool, normalization: Normalization) -> normalizers.Normalizer:
    """The normal form of a line: what is encoded, decoded and scored. `normalize_str` gives it.

    Lower case if asked for (code point by code point); NFC, as Unicode 9 has it, unless `normalization` is none; one
    space for every run of white space, none at the ends. White space is what `str.isspace` says, as for `str.split`.
    """
    lower = [normalizers.Lowercase()] if lowercase else []
    nfc = [normalizers.NFC()] if normalization == "nfc" else []
    spaces = normalizers.Replace(Regex(r"[\s\x1C-\x1F]+"), SPACE)
    return normalizers.Sequence([*lower, *nfc, spaces, normalizers.Strip()])


def _set_up_pieces(engine: Engine, apart: str) -> None:
    """What bpe and unigram share. A piece never crosses a space, a digit or the edge of what matches `apart`.

    Digits stand alone so that numbers are copied digit by digit. `apart` has `<` in it and no letter, so that a
    user's own "<pad>", "</s>" or "<0x41>" can never match the tokens of these names.
    """
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(SPACE, prepend_scheme="always"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(apart), "isolated"),
        ]
    )
    engine.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(SPACE, 1, 0)])


def _common_text(engine: Engine, lines: list[str], vocabulary: int) -> list[str]:
    """The lines, normalised, with a space for each character too rare to be in the vocabulary, and in long words.

    Characters get at most half of the room beside specials and bytes, so that pieces have the other half. The
    trainers' own limit on the alphabet breaks ties at random; this one does not.
    """
    normalised = [engine.normalizer.normalize_str(line) for line in lines]
    ranked = _ranked(chain.from_iterable(normalised))
    room = max(vocabulary - len(SPECIALS) - len(BYTES), 0) // 2
    if rare := str.maketrans(dict.fromkeys(ranked[room:], " ")):
        normalised = [line.translate(rare) for line in normalised]
    return [_PART.sub(r"\g<0> ", line) if len(line) > LONGEST_WORD else line for line in normalised]


_PART = re.compile(rf"\S{{{LONGEST_WORD}}}(?=\S)")


def _train_bpe(lines: list[str], vocabulary: int, form: normalizers.Normalizer) -> Engine:
    engine = Engine(models.BPE(unk_token=SPECIALS[UNK], byte_fallback=True))
    engine.normalizer = form
    # Else "dog.", "dog," and "dog" would each be merged on their own.
    _set_up_pieces(engine, apart=rf"{SPACE}?[\p{{P}}<>]+")
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[*SPECIALS, *BYTES], initial_alphabet=[SPACE], show_progress=False
    )
    engine.train_from_iterator(_common_text(engine, lines, vocabulary), trainer)
    return engine


def _train_unigram(lines: list[str], vocabulary: int, form: normalizers.Normalizer) -> Engine:
    engine = Engine(models.Unigram())
    engine.normalizer = form
    # Punctuation finds its own place in a language model. (With it apart, this trainer's pieces get much worse.)
    _set_up_pieces(engine, apart=r"[<>]")
    text = _common_text(engine, lines, vocabulary)
    room = vocabulary - len(SPECIALS) - len(BYTES)
    pieces = [(SPACE, 0.0)]
    if room >= LEAST_PIECES and any(line.strip() for line in text):
        trainer = trainers.UnigramTrainer(
            vocab_size=room + 1,  # and UNK, which it wants to know of
            initial_alphabet=[SPACE],
            special_tokens=[SPECIALS[UNK]],
            unk_token=SPECIALS[UNK],
            show_progress=False,
        )
        engine.train_from_iterator(text, trainer)
        pieces = _in_order(json.loads(engine.to_str())["model"]["vocab"][1:])
    fixed = [(token, 0.0) for token in (*SPECIALS, *BYTES)]
    engine.model = models.Unigram([*fixed, *pieces], unk_id=UNK, byte_fallback=True)
    return engine


def _in_order(pieces: list[list[Any]]) -> list[tuple[str, float]]:
    """Unigram's pieces as a function of the text alone, best first.

    The trainer goes through hash maps whose order differs from run to run. That moves the last bits of the
    scores, and gives the characters that it pruned and had to put back the scores lowest + 0.0001 k in any order.
    """
    lowest = min(score for _, score in pieces)
    put_back = lowest + 0.0001 * sum(len(piece) == 1 for piece, _ in pieces)
    scores = {piece: lowest if len(piece) == 1 and score < put_back else score for piece, score in pieces}
    return sorted(((piece, round(score, 6)) for piece, score in scores.items()), key=lambda item: (-item[1], item[0]))


def _train_character(lines: list[str], vocabulary: int, form: normalizers.Normalizer) -> Engine:
    engine = _word_level(_ranked(chain.from_iterable(map(form.normalize_str, lines))), vocabulary)
    engine.normalizer = form
    engine.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    engine.decoder = decoders.Fuse()
    return engine


def _train_whitespace(lines: list[str], vocabulary: int, form: normalizers.Normalizer) -> Engine:
    # A user's own "</s>" or "<0x41>" keeps the space before it: it is a word like any other, and no token of that name.
    reserved = {*SPECIALS, *BYTES}
    counted = _ranked(word for line in lines for word in form.normalize_str(line).split())
    engine = _word_level([SPACE + word if word in reserved else word for word in counted], vocabulary)
    engine.normalizer = form
    word = rf"{SPACE}(<pad>|<unk>|<s>|</s>|<0x[0-9A-F]{{2}}>)(?={SPACE}|$)|[^{SPACE}]+"
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(SPACE, prepend_scheme="always", split=False),
            pre_tokenizers.Split(Regex(word), "removed", invert=True),
        ]
    )
    engine.decoder = decoders.Sequence(
        [decoders.Replace(Regex(rf"\A{SPACE}?"), SPACE), decoders.Fuse(), decoders.Strip(SPACE, 1, 0)]
    )
    return engine


def _word_level(ranked: list[str], vocabulary: int) -> Engine:
    tokens = [*SPECIALS, *ranked[: max(vocabulary - len(SPECIALS), 0)]]
    return Engine(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=SPECIALS[UNK]))


def _ranked(symbols: Iterable[str]) -> list[str]:
    """Most frequent first; equally frequent ones in the order of their code points."""
    return [symbol for symbol, _ in sorted(Counter(symbols).items(), key=lambda item: (-item[1], item[0]))]


_TRAIN: dict[TokenKind, Callable[[list[str], int, normalizers.Normalizer], Engine]] = {
    "bpe": _train_bpe,
    "unigram": _train_unigram,
    "character": _train_character,
    "whitespace": _train_whitespace,
}


def _without_added_tokens(engine: Engine) -> str:
    """The library finds added tokens in any text before anything else; ours are found by their ids alone."""
    content = json.loads(engine.to_str())
    content["added_tokens"] = []
    return _dump(content)


def _dump(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
