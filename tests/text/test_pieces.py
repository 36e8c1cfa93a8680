"""Words and characters that are added to a vocabulary, and become a token each."""

import pytest

from zhuyi.config import TokenKind
from zhuyi.text.pieces import NoPieceError
from zhuyi.text.tokenizer import Tokenizer

LINES = ["the dog runs", "a dog sleeps", "the cat runs in the house", "dog, cat!"] * 5
NEW: dict[TokenKind, list[str]] = {
    "bpe": ["Hypertonie", "Hypertonien", "thé", "dogcat"],
    "unigram": ["Hypertonie", "thé", "dogcat"],
    "character": ["é", "Ω"],
    "whitespace": ["thé", "dogs"],
}


@pytest.mark.parametrize("kind", NEW)
def test_each_is_one_token_and_what_was_a_token_stays_one(kind: TokenKind) -> None:
    before = Tokenizer.train(LINES, kind, 300, False)
    after, parts = before.with_pieces(NEW[kind])
    assert len(after) == len(before) + len(parts)
    assert [len(ids) for ids in after.encode(NEW[kind])] == [1] * len(NEW[kind])
    assert after.decode(after.encode(NEW[kind])) == NEW[kind]
    assert after.encode(LINES) == before.encode(LINES)
    for text, (id,) in zip(NEW[kind], after.encode(NEW[kind]), strict=True):
        assert parts[id - len(before)] == before.encode([text])[0]
    again, none = after.with_pieces([*NEW[kind], "dog" if kind != "character" else "d"])
    assert again.encode(LINES) == after.encode(LINES)
    assert len(none) == len(again) - len(after)
    assert after.with_pieces(NEW[kind])[1] == []


def test_what_lies_between_the_parts_of_bpe_is_new_too() -> None:
    before = Tokenizer.train(LINES, "bpe", 300, False)
    after, parts = before.with_pieces(["dogrunscat"])
    tokens = before.encode(["dogrunscat"])[0]
    assert parts == [tokens[:end] for end in range(2, len(tokens) + 1)]
    assert after.pieces(range(len(before), len(after)))[-1] == "▁dogrunscat"


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("bpe", "two words", "'two words' is not one word to the tokenizer, but ' two' and ' words'"),
        ("bpe", "covid-19", "is not one word"),
        ("bpe", " ", "is not one word to the tokenizer, but none"),
        ("character", "ab", "is not one word to the tokenizer, but 'a' and 'b'"),
        ("bytes", "a", "have a token for everything"),
    ],
)
def test_what_cannot_be_a_token_says_why(kind: TokenKind, text: str, why: str) -> None:
    with pytest.raises(NoPieceError, match=why):
        Tokenizer.train(LINES, kind, 300, False).with_pieces([text])


def test_a_vocabulary_that_ends_with_the_mask_has_none() -> None:
    with pytest.raises(NoPieceError, match="'new' cannot be added to a vocabulary that ends with <mask>"):
        Tokenizer.train(LINES, "bpe", 300, False, mask=True).with_pieces(["new"])
