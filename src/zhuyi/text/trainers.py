"""Learns vocabularies from lines: one function for each kind of tokens (see `tokenizer`)."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Engine

from zhuyi.config import Normalization, TokenKind, Whitespace
from zhuyi.text.normalizer import BREAK, SPACE, keeps_whitespace, normalizer
from zhuyi.text.special import BYTES, MASK, SPECIALS, UNK

FORMAT = 2
"""Version of the training procedure below. When it changes, cached vocabularies are learnt again."""
MOST_LINES = 2_000_000
"""A vocabulary is learnt from at most this many lines, sampled uniformly: more would cost memory and change nothing."""
LONGEST_WORD = 1_000
"""Longer words (a genome, a file on one line) are split into parts of this many characters before training, because
the time of BPE's trainer grows with the square of a word's length."""
LEAST_PIECES = 16
"""If a vocabulary has room for fewer subwords than this, unigram has only the bytes and the space, because its trainer
might not terminate."""


def train(
    lines: Iterable[str],
    kind: TokenKind,
    vocabulary: int,
    lowercase: bool,
    normalization: Normalization,
    whitespace: Whitespace,
    tags: Sequence[str] = (),
) -> Engine:
    """The engine of a tokenizer whose vocabulary is learnt from `lines`; see `Tokenizer.train`, which adds the tags."""
    form = normalizer(lowercase, normalization, "collapse" if kind == "whitespace" else whitespace)
    if kind == "whitespace":
        return _train_whitespace(_sample(lines), vocabulary, form, tags)
    return _TRAIN[kind](_sample(lines), vocabulary, form)


def is_no_text(tag: str) -> bool:
    """Whether no text is tokenised into a token of this name: subwords of bpe and unigram end at `<` and `>`."""
    return bool(_TAG.fullmatch(tag)) and any(map(str.isalnum, tag))


_TAG = re.compile(r"[<>]+[^\s<>]+[<>]+")


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


def _set_up_pieces(engine: Engine, apart: str) -> None:
    """The settings that bpe and unigram share. No subword crosses a space, a digit, or the edge of a match of `apart`.

    Each digit is a token, so that numbers are copied digit by digit. `apart` matches `<` and no letter, so that
    "<pad>", "</s>" or "<0x41>" in a user's text can never match the tokens of these names.

    A word includes the space before it. If white space is kept, every line break is a word, and so are other runs of
    white space; otherwise the first word of a line also gets a space, which decoding removes.
    """
    keeps = keeps_whitespace(engine.normalizer)
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
    return [SPACE, BREAK] if keeps_whitespace(engine.normalizer) else [SPACE]


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
"""From white space and NUL alone, which separate its words, the trainer would compute scores that are not numbers."""


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
    ranked = _ranked(chain.from_iterable(map(form.normalize_str, lines)))
    return character_engine(ranked[: max(vocabulary - len(SPECIALS), 0)], form)


def character_engine(characters: list[str], form: normalizers.Normalizer) -> Engine:
    """The engine whose tokens are these characters, in their order."""
    engine = _word_level(characters)
    engine.normalizer = form
    engine.pre_tokenizer = pre_tokenizers.Split(Regex("(?m:.)"), "isolated")  # line breaks too
    engine.decoder = decoders.Fuse()
    return engine


def _train_whitespace(
    lines: list[str], vocabulary: int, form: normalizers.Normalizer, tags: Sequence[str] = ()
) -> Engine:
    ranked = _ranked(word for line in lines for word in form.normalize_str(line).split())
    return whitespace_engine(ranked[: max(vocabulary - len(SPECIALS), 0)], form, tags)


def whitespace_engine(words: list[str], form: normalizers.Normalizer, tags: Sequence[str] = ()) -> Engine:
    """The engine whose tokens are these words, in their order. A tag in text is a word like any other."""
    # "</s>" or "<0x41>" in a user's text keeps the space before it: it is an ordinary word, not the token of that name.
    reserved = {*SPECIALS, *BYTES, MASK, *tags}
    engine = _word_level([SPACE + word if word in reserved else word for word in words])
    engine.normalizer = form
    named = "|".join(["<pad>", "<unk>", "<s>", "</s>", "<mask>", "<0x[0-9A-F]{2}>", *map(_escaped, tags)])
    word = rf"{SPACE}({named})(?={SPACE}|$)|[^{SPACE}]+"
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


def _escaped(text: str) -> str:
    """A regular expression that matches `text`. It escapes only what JavaScript allows to be escaped."""
    return re.sub(r"[\\^$.*+?()\[\]{}|]", r"\\\g<0>", text)


def _train_bytes(lines: list[str], vocabulary: int, form: normalizers.Normalizer) -> Engine:
    fixed = {token: i for i, token in enumerate((*SPECIALS, *BYTES))}
    engine = Engine(models.BPE(fixed, [], unk_token=SPECIALS[UNK], byte_fallback=True))  # everything falls back
    engine.normalizer = form
    engine.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return engine


def _word_level(ranked: list[str]) -> Engine:
    tokens = [*SPECIALS, *ranked]
    return Engine(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=SPECIALS[UNK]))


def _ranked(symbols: Iterable[str]) -> list[str]:
    """The symbols by descending frequency; ties are in the order of code points."""
    return [symbol for symbol, _ in sorted(Counter(symbols).items(), key=lambda item: (-item[1], item[0]))]


_TRAIN: dict[TokenKind, Callable[[list[str], int, normalizers.Normalizer], Engine]] = {
    "bpe": _train_bpe,
    "unigram": _train_unigram,
    "character": _train_character,
    "whitespace": _train_whitespace,
    "bytes": _train_bytes,
}
