"""What masked pre-training hides of a text, and what it asks for."""

import numpy as np
import pytest

from zhuyi.data.batches import token_counts
from zhuyi.data.masked import CHOSEN_SHARE, MASKED_SHARE, RANDOM_SHARE, Masked
from zhuyi.data.sequences import InMemory
from zhuyi.text.tokenizer import EOS, PAD, SPECIALS

MASK = 1003
LENGTHS = [1, 2, 3, 7, 20, 50, 200, 200, 200, 200]


@pytest.fixture
def text() -> InMemory:
    rng = np.random.default_rng(0)
    sequences = [rng.integers(len(SPECIALS), MASK, size=length).tolist() for length in LENGTHS]
    return InMemory([[] for _ in sequences], sequences)


def test_what_is_asked_for_is_what_was_there(text: InMemory) -> None:
    pairs = np.arange(len(LENGTHS))[::-1].copy()
    batch = Masked(text, MASK, seed=1, epoch=0).collate(pairs)
    assert batch.source.shape == batch.target_out.shape
    for row, asked, pair in zip(batch.source.numpy(), batch.target_out.numpy(), pairs.tolist(), strict=True):
        tokens, length = np.array(text.target(pair)), LENGTHS[pair]
        chosen = asked[:length] != PAD
        assert chosen.sum() == max(1, round(CHOSEN_SHARE * length))
        assert (asked[:length][chosen] == tokens[chosen]).all()
        assert (row[:length][~chosen] == tokens[~chosen]).all()
        assert row[length] == EOS
        assert (asked[length:] == PAD).all()
        assert (row[:length] >= len(SPECIALS)).all(), "nothing becomes a special token"


def test_what_is_asked_for_is_counted_and_the_text_once(text: InMemory) -> None:
    masked = Masked(text, MASK, seed=1, epoch=0)
    for pairs in (np.arange(len(LENGTHS)), np.array([0, 5])):
        batch = masked.collate(pairs)
        assert token_counts(masked, pairs) == (batch.source_tokens, batch.target_tokens)
    assert [len(masked.target(pair)) for pair in range(len(LENGTHS))] == masked.target_lengths.tolist()


def test_most_of_it_is_masked_some_replaced_and_some_kept() -> None:
    tokens = np.random.default_rng(1).integers(len(SPECIALS), MASK, size=60_000).tolist()
    batch = Masked(InMemory([[]], [tokens]), MASK, seed=1, epoch=0).collate(np.array([0]))
    source, right = batch.source[0, :-1].numpy(), batch.target_out[0, :-1].numpy()
    chosen = right != PAD
    masked, kept = source[chosen] == MASK, source[chosen] == right[chosen]
    assert masked.mean() == pytest.approx(MASKED_SHARE, abs=0.02)
    assert kept.mean() == pytest.approx(1 - MASKED_SHARE - RANDOM_SHARE, abs=0.02)
    replaced = source[chosen][~masked & ~kept]
    assert replaced.max() < MASK


def test_it_is_drawn_anew_each_epoch_and_the_same_again(text: InMemory) -> None:
    pairs = np.arange(len(LENGTHS))

    def asked(seed: int, epoch: int, some: np.ndarray = pairs) -> list[list[int]]:
        return [row[row != PAD].tolist() for row in Masked(text, MASK, seed, epoch).collate(some).target_out]

    assert asked(1, 0) == asked(1, 0)
    assert asked(1, 0) != asked(1, 1)
    assert asked(1, 0) != asked(2, 0)
    assert asked(1, 0)[::-1] == asked(1, 0, pairs[::-1].copy()), "whatever else is in the batch"
