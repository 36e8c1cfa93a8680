"""Tokenizers: lines to token ids and back, built on Hugging Face's `tokenizers`.

    bpe         subwords made by merging frequent pairs (Sennrich et al. 2016); unseen characters become bytes
    unigram     subwords of a unigram language model (Kudo 2018); unseen characters become bytes
    character   one token per code point; unseen ones become UNK
    whitespace  the words that white space separates (segmented text, phones); unseen ones become UNK

Every line is first normalised (see `normalizer`), and scores compare lines in the same normal form. Decoding is
lossless on normalised lines: bpe and unigram restore any line exactly, character and whitespace any line whose
characters or words are in the vocabulary. No character is reserved: inside a token a space is a space, and only
`pieces` shows it as `▁` (U+2581), as SentencePiece does. No word is reserved: "</s>" in a user's text is not EOS.

Where the normal form keeps white space (`text.whitespace`), a line of running text includes its line break, and is
restored with it. A line break is a token of its own, so the tokens of a text are those of its lines.
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

from zhuyi.config import Normalization, TextConfig, TokenKind, Whitespace
from zhuyi.errors import CheckpointError, DataError

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
MASK = "<mask>"
SPACE, BREAK = " ", "\n"

FORMAT = 2
"""Version of the training procedure below. When it changes, cached vocabularies are learnt again."""
MOST_LINES = 2_000_000
"""A vocabulary is learnt from at most this many lines, sampled uniformly: more would cost memory and change nothing."""
LONGEST_WORD = 1_000
"""Longer words (a genome, a file on one line) are split into parts of this many characters before training, because
the time of BPE's trainer grows with the square of a word's length."""
LEAST_PIECES = 16
"""With fewer places for subwords than this, unigram has only the bytes and the space: its trainer might not end."""


class Tokenizer:
    """The tokenizer of one side: strings ↔ ids in [0, len(tokenizer)), where 0 to 3 are PAD, UNK, BOS and EOS."""

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
        whitespace: Whitespace = "collapse",
        mask: bool = False,
    ) -> "Tokenizer":
        """Learn a vocabulary. The same lines always give the same vocabulary.

        Args:
            lines: the text, one sentence per line; read once.
            kind: the kind of tokens; see the top of this module.
            vocabulary: the maximum number of tokens, including the four special ones and (bpe, unigram) the 256 bytes.
                The rarest characters are left out if there are too many, and become bytes or UNK. Even the smallest
                bpe or unigram vocabulary has 261 tokens: 4, 256 and the space.
            lowercase: lower-case everything, here and in `encode`.
            normalization: the Unicode normalization; see `normalizer`.
            whitespace: what becomes of white space; see `normalizer`. The kind whitespace has no tokens for it, and
                always collapses it.
            mask: whether the last token is `<mask>`, which no text has.
        """
        form = normalizer(lowercase, normalization, "collapse" if kind == "whitespace" else whitespace)
        engine = _TRAIN[kind](_sample(lines), vocabulary - mask, form)
        return cls.from_json(_content(engine, mask))

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Create a tokenizer from the result of `to_json`.

        Raises:
            ValueError: if `text` is not such a result.
        """
        try:
            engine = Engine.from_str(text)
        except Exception as error:  # the library raises no narrower type
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
        """The ids that replace what is not in the vocabulary: those of the 256 bytes (bpe, unigram), or UNK."""
        has_bytes = self._engine.id_to_token(len(SPECIALS)) == BYTES[0]
        return range(len(SPECIALS), len(SPECIALS) + len(BYTES)) if has_bytes else range(UNK, UNK + 1)

    @property
    def mask(self) -> int | None:
        """The id of `<mask>`, which is the last one; None if there is none."""
        last = len(self) - 1
        return last if self._engine.id_to_token(last) == MASK else None

    @property
    def keeps_whitespace(self) -> bool:
        """Whether white space is text like any other (`text.whitespace`)."""
        return _keeps_whitespace(self._engine)

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
        """The line of each sequence. PAD, BOS and EOS are left out, and UNK becomes `<unk>`."""
        kept = [[i for i in sequence if i == UNK or i > EOS] for sequence in ids]
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
        if not share or content["model"]["type"] != "BPE":
            return self
        content["model"]["dropout"] = share
        return Tokenizer.from_json(_dump(content))


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of both sides, which are one object if the vocabulary is shared."""

    source: Tokenizer
    target: Tokenizer

    @property
    def shared(self) -> bool:
        """Whether ids have the same meaning on both sides."""
        return self.source is self.target

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
        if self.shared:
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


def _sample(lines: Iterable[str]) -> list[str]:
    """At most `MOST_LINES` lines, sampled uniformly with a fixed seed (reservoir sampling)."""
    rng = random.Random(0)
    kept: list[str] = []
    for seen, line in enumerate(lines):
        if seen < MOST_LINES:
            kept.append(line)
        elif (place := rng.randrange(seen + 1)) < MOST_LINES:
            kept[place] = line
    return kept


def normalizer(
    lowercase: bool, normalization: Normalization, whitespace: Whitespace = "collapse"
) -> normalizers.Normalizer:
    """The function from a line to its normal form, which is what is encoded, decoded and scored (`normalize_str`).

    The steps are: lower case if `lowercase` (code point by code point); NFC according to Unicode 9, unless
    `normalization` is none; a single space for each run of white space, and none at the ends, unless `whitespace` is
    keep. White space is defined as in `str.isspace` and `str.split`.
    """
    lower = [normalizers.Lowercase()] if lowercase else []
    nfc = [normalizers.NFC()] if normalization == "nfc" else []
    spaces = [normalizers.Replace(Regex(r"[\s\x1C-\x1F]+"), SPACE), normalizers.Strip()]
    return normalizers.Sequence([*lower, *nfc, *(spaces if whitespace == "collapse" else [])])


def _keeps_whitespace(engine: Engine) -> bool:
    """Whether the normal form does."""
    return bool(engine.normalizer.normalize_str(BREAK))


def _set_up_pieces(engine: Engine, apart: str) -> None:
    """The settings that bpe and unigram share. No subword crosses a space, a digit, or the edge of a match of `apart`.

    Each digit is a token, so that numbers are copied digit by digit. `apart` matches `<` and no letter, so that
    "<pad>", "</s>" or "<0x41>" in a user's text can never match the tokens of these names.

    A word has the space before it. If white space is kept, its other runs are words too, and every line break is one;
    else the first word of a line has a space as well, which decoding removes.
    """
    keeps = _keeps_whitespace(engine)
    words = (
        pre_tokenizers.Split(Regex(_WORDS), "isolated")
        if keeps
        else pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")
    )
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Split(Regex(apart), "isolated")]
    )
    strip = [] if keeps else [decoders.Strip(SPACE, 1, 0)]
    engine.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), *strip])


_WORDS = rf"{BREAK}|{SPACE}?\S+|[^\S{BREAK}]+(?!\S)|[^\S{BREAK}]+"
"""A line break; a word and the space before it; white space up to that space (as in GPT-2, Radford et al. 2019)."""


def _alphabet(engine: Engine) -> list[str]:
    """Characters that every vocabulary of subwords has."""
    return [SPACE, BREAK] if _keeps_whitespace(engine) else [SPACE]


def _common_text(engine: Engine, lines: list[str], vocabulary: int) -> list[str]:
    """The normalised lines, with a gap in place of characters too rare for the vocabulary, and within long words.

    Characters take at most half of the vocabulary that special tokens and bytes leave, so that subwords have the other
    half. The trainers' own limit on the alphabet breaks ties at random; this one does not.
    """
    normalised = [engine.normalizer.normalize_str(line) for line in lines]
    ranked = _ranked(chain.from_iterable(normalised))
    most = max(vocabulary - len(SPECIALS) - len(BYTES), 0) // 2
    gap = _alphabet(engine)[-1]  # no subword crosses it
    if rare := str.maketrans(dict.fromkeys(ranked[most:], gap)):
        normalised = [line.translate(rare) for line in normalised]
    return [_PART.sub(rf"\g<0>{gap}", line) if len(line) > LONGEST_WORD else line for line in normalised]


_PART = re.compile(rf"\S{{{LONGEST_WORD}}}(?=\S)|\s{{{LONGEST_WORD}}}")


def _train_bpe(lines: list[str], vocabulary: int, form: normalizers.Normalizer) -> Engine:
    engine = Engine(models.BPE(unk_token=SPECIALS[UNK], byte_fallback=True))
    engine.normalizer = form
    # Otherwise "dog.", "dog," and "dog" would each be merged separately.
    _set_up_pieces(engine, apart=rf"{SPACE}?[\p{{P}}<>]+")
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*SPECIALS, *BYTES],
        initial_alphabet=_alphabet(engine),
        show_progress=False,
    )
    engine.train_from_iterator(_common_text(engine, lines, vocabulary), trainer)
    return engine


def _train_unigram(lines: list[str], vocabulary: int, form: normalizers.Normalizer) -> Engine:
    engine = Engine(models.Unigram())
    engine.normalizer = form
    # The language model places punctuation well. (If it is split off, this trainer's subwords become much worse.)
    _set_up_pieces(engine, apart=r"[<>]")
    text = _common_text(engine, lines, vocabulary)
    most = vocabulary - len(SPECIALS) - len(BYTES)
    pieces = [(character, 0.0) for character in _alphabet(engine)]
    if most >= LEAST_PIECES and any(_VISIBLE.search(line) for line in text):
        trainer = trainers.UnigramTrainer(
            vocab_size=most + 1,  # UNK included, which the trainer requires
            initial_alphabet=_alphabet(engine),
            special_tokens=[SPECIALS[UNK]],
            unk_token=SPECIALS[UNK],
            show_progress=False,
        )
        engine.train_from_iterator(text, trainer)
        pieces = _in_order(json.loads(engine.to_str())["model"]["vocab"][1:])
    fixed = [(token, 0.0) for token in (*SPECIALS, *BYTES)]
    engine.model = models.Unigram([*fixed, *pieces], unk_id=UNK, byte_fallback=True)
    return engine


_VISIBLE = re.compile(r"[^\s\0]")
"""Of white space and NUL alone, with which it separates words, the trainer makes scores that are not numbers."""


def _in_order(pieces: list[list[Any]]) -> list[tuple[str, float]]:
    """Unigram's subwords as a function of the text alone, best first.

    The trainer iterates over hash maps whose order differs between runs. This changes the last bits of the scores, and
    the order in which characters that were pruned and restored receive the scores lowest + 0.0001 k.
    """
    lowest = min(score for _, score in pieces)
    put_back = lowest + 0.0001 * sum(len(piece) == 1 for piece, _ in pieces)
    scores = {piece: lowest if len(piece) == 1 and score < put_back else score for piece, score in pieces}
    return sorted(((piece, round(score, 6)) for piece, score in scores.items()), key=lambda item: (-item[1], item[0]))


def _train_character(lines: list[str], vocabulary: int, form: normalizers.Normalizer) -> Engine:
    engine = _word_level(_ranked(chain.from_iterable(map(form.normalize_str, lines))), vocabulary)
    engine.normalizer = form
    engine.pre_tokenizer = pre_tokenizers.Split(Regex("(?m:.)"), "isolated")  # line breaks too
    engine.decoder = decoders.Fuse()
    return engine


def _train_whitespace(lines: list[str], vocabulary: int, form: normalizers.Normalizer) -> Engine:
    # "</s>" or "<0x41>" in a user's text keeps the space before it: it is an ordinary word, not the token of that name.
    reserved = {*SPECIALS, *BYTES, MASK}
    counted = _ranked(word for line in lines for word in form.normalize_str(line).split())
    engine = _word_level([SPACE + word if word in reserved else word for word in counted], vocabulary)
    engine.normalizer = form
    word = rf"{SPACE}(<pad>|<unk>|<s>|</s>|<mask>|<0x[0-9A-F]{{2}}>)(?={SPACE}|$)|[^{SPACE}]+"
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
    """The symbols by descending frequency; ties are in the order of code points."""
    return [symbol for symbol, _ in sorted(Counter(symbols).items(), key=lambda item: (-item[1], item[0]))]


_TRAIN: dict[TokenKind, Callable[[list[str], int, normalizers.Normalizer], Engine]] = {
    "bpe": _train_bpe,
    "unigram": _train_unigram,
    "character": _train_character,
    "whitespace": _train_whitespace,
}


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
