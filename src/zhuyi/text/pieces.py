"""Adds pieces to an existing vocabulary (`text.add_pieces`): words, or characters, each of which becomes one token.

    unigram                as probable as the most probable subword, and so more probable than any division into parts
    bpe                    made by new, last merges of its former parts, from left to right; the results of all of these
                           merges are new tokens
    character, whitespace  one more character, one more word

Existing ids keep their meaning; new ids follow them.
"""

import json
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from tokenizers import Tokenizer as Engine

from zhuyi.text.lookup import VOCABULARY
from zhuyi.text.special import BYTES, MASK, SPECIALS, UNK
from zhuyi.text.trainers import is_no_text

_FIXED = frozenset((*SPECIALS, *BYTES, MASK))


class NoPieceError(ValueError):
    """`text` cannot be one token; the message says why."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"{text!r} {why}")


def add_pieces(tokenizer: str, texts: Sequence[str], tags: Sequence[str] = ()) -> tuple[str, list[list[int]]]:
    """Add each of `texts` that is not one token yet, and each of `tags`.

    Args:
        tokenizer: the content of a `tokenizer.json`.
        texts: as users write them; each is a word or, for the kind character, a character.
        tags: names of tokens that do not occur in text.

    Returns:
        The content of the new `tokenizer.json`; and for each new id, in order, the ids that its text had before.

    Raises:
        NoPieceError: if one of them cannot be a token.
    """
    added = _Vocabulary(json.loads(tokenizer))
    words = [added.word(text) for text in texts]
    if added.kind == "BPE":
        added.merge(words)
    else:
        for word in words:
            added.add(word, added.parts(word))
    for tag in tags:
        added.add_tag(tag)
    added.check(texts, words)
    return added.content()


class _Vocabulary:
    """The object in a `tokenizer.json`, to which tokens are added."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._engine_content = {key: value for key, value in content.items() if key != VOCABULARY}
        self._list: dict[str, Any] | None = content.get(VOCABULARY)
        self._engine = self._rebuilt()
        self.kind = content["model"]["type"]
        self._pieces = self._list["pieces"] if self._list else list(_by_id(self._engine))
        self._ids = {piece: id for id, piece in enumerate(self._pieces)}
        self._known = set(self._engine.get_vocab())
        self._new: list[list[int]] = []

    def word(self, text: str) -> str:
        """The single word that the tokenizer's normal form and pre-tokenizer make of a text."""
        if self._engine.pre_tokenizer is None:
            raise NoPieceError(text, "cannot be added to bytes, which have a token for everything")
        normal = self._engine.normalizer.normalize_str(text)
        words = [word for word, _ in self._engine.pre_tokenizer.pre_tokenize_str(normal)]
        if len(words) != 1:
            raise NoPieceError(
                text, f"is not one word to the tokenizer, but {' and '.join(map(repr, words)) or 'none'}"
            )
        if words[0] in _FIXED:
            raise NoPieceError(text, "is the name of another token")
        return str(words[0])

    def parts(self, text: str) -> list[int]:
        """The ids that a text had before."""
        tokens = (self._engine.id_to_token(token.id) for token in self._engine.model.tokenize(text))
        return [self._ids.get(token, UNK) for token in tokens]

    def add(self, token: str, parts: list[int]) -> None:
        """Add a token to the vocabulary, unless it has it."""
        model = self._engine_content["model"]
        if token not in self._known:
            self._known.add(token)
            if self.kind == "Unigram":
                subwords = [score for piece, score in model["vocab"] if piece not in _FIXED]
                model["vocab"].append([token, max(subwords, default=0.0)])
            else:
                model["vocab"][token] = len(model["vocab"])
        if token not in self._ids:
            self._ids[token] = len(self._pieces)
            self._pieces.append(token)
            self._new.append(parts)

    def add_tag(self, tag: str) -> None:
        """Add a token that does not occur in text, unless the vocabulary has it."""
        if tag in self._ids:
            return
        tokens = (self._engine.id_to_token(id) for id in self._engine.encode(tag, add_special_tokens=False).ids)
        parts = [self._ids.get(token, UNK) for token in tokens]
        if self._list is not None:  # whatever is not in the engine's own vocabulary
            self._list["special"].append(len(self._pieces))
            self._ids[tag] = len(self._pieces)
            self._pieces.append(tag)
            self._new.append(parts)
            return
        is_of_words = self.kind == "WordLevel" and len(self._engine.pre_tokenizer.pre_tokenize_str("ab")) == 1
        if is_of_words or not is_no_text(tag):
            raise NoPieceError(tag, "could be text: " + ("any word can" if is_of_words else "write it as >>NAME<<"))
        self.add(tag, parts)

    def merge(self, words: list[str]) -> None:
        """Add words by merging their parts; characters that are not in the vocabulary come first."""
        model, before = self._engine_content["model"], {token: [id] for token, id in self._ids.items()}
        for character in dict.fromkeys("".join(words)):
            if character not in self._known:
                before[character] = self.parts(character)
                self.add(character, before[character])
        merges = {tuple(pair) for pair in model["merges"]}
        for word in words:
            made, ids = "", list[int]()
            for token in (each.value for each in self._rebuilt().model.tokenize(word)):
                pair = (made, token)
                made, ids = made + token, ids + before.get(token, [UNK])
                if pair[0] and pair not in merges:
                    merges.add(pair)
                    model["merges"].append(list(pair))
                    self.add(made, ids)
                    before[made] = ids
            self.add(word, ids)

    def check(self, texts: Sequence[str], words: Sequence[str]) -> None:
        """Check that each word is one token now."""
        model = self._rebuilt().model
        for text, word in zip(texts, words, strict=True):
            if (tokens := [token.value for token in model.tokenize(word)]) != [word]:
                raise NoPieceError(text, f"would still be divided into {' and '.join(map(repr, tokens))}")

    def content(self) -> tuple[str, list[list[int]]]:
        """The result of `add_pieces`."""
        content = dict(self._engine_content)
        if self._list is not None:
            content[VOCABULARY] = self._list
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")), self._new

    def _rebuilt(self) -> Engine:
        return Engine.from_str(json.dumps(self._engine_content))


def _by_id(engine: Engine) -> list[str]:
    return [token for token, _ in sorted(engine.get_vocab().items(), key=itemgetter(1))]
