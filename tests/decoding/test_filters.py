"""Filters: what a row may not write, and what sampling draws from."""

import math

import pytest
import torch
from fake_model import FakeModel, batch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from zhuyi.config import DecodingConfig
from zhuyi.decoding import search
from zhuyi.decoding.filters import (
    apply_temperature,
    end_of_repetition,
    forbid,
    force,
    no_repeated_ngram,
    top_k,
    top_p,
)
from zhuyi.text.tokenizer import BOS, EOS, PAD

VOCABULARY = 12
texts = st.lists(st.lists(st.integers(4, 6), min_size=9, max_size=9), min_size=1, max_size=4)


def some_log_probs(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed)).log_softmax(dim=1)


def forbidden(filtered: Tensor) -> list[set[int]]:
    return [set((row == -math.inf).nonzero().flatten().tolist()) for row in filtered]


def test_what_is_forbidden_is_gone_and_what_is_forced_stays_alone() -> None:
    log_probs = some_log_probs(3)
    assert forbidden(forbid(log_probs.clone(), (PAD, BOS))) == [{PAD, BOS}] * 3
    assert forbidden(force(log_probs, 7)) == [set(range(VOCABULARY)) - {7}] * 3
    assert_close(force(log_probs, 7)[:, 7], log_probs[:, 7])


@settings(max_examples=60, deadline=None)
@given(texts, st.integers(1, 4), st.integers(0, 9))
def test_no_ngram_is_completed_twice(written: list[list[int]], size: int, steps: int) -> None:
    log_probs = some_log_probs(len(written))
    texts = [text[:steps] for text in written]
    filtered = no_repeated_ngram(log_probs, torch.tensor(texts, dtype=torch.long), size)
    for text, gone in zip(texts, forbidden(filtered), strict=True):
        ngrams = {tuple(text[i : i + size]) for i in range(steps - size + 1)}
        begun = text[steps - size + 1 :] if size > 1 else []
        assert gone == {token for token in range(VOCABULARY) if (*begun, token) in ngrams}
    kept = filtered > -math.inf
    assert_close(filtered[kept], log_probs[kept], rtol=0, atol=0)


@pytest.mark.parametrize("beam", [1, 3])
def test_no_output_has_an_ngram_twice(beam: int) -> None:
    model = FakeModel(7, seed=3, eos=-2.0)
    for size in (1, 2, 3):
        decoding = DecodingConfig(beam=beam, n_best=beam, max_ratio=0, max_extra=40, no_repeat_ngram=size)
        for found in search(model, *batch([4, EOS], [5, 6, EOS]), decoding, 40):
            for hypothesis in found:
                ngrams = [tuple(hypothesis.tokens[i : i + size]) for i in range(len(hypothesis.tokens) - size + 1)]
                assert len(set(ngrams)) == len(ngrams)
                assert hypothesis.score == pytest.approx(
                    sum(hypothesis.token_logprobs) / ((5 + len(hypothesis.token_logprobs)) / 6), rel=1e-4
                )


def repeats(text: list[int], length: int) -> bool:
    """Whether each of the last `length` tokens is the one n places before it, for one n of at most length / 4."""
    return any(
        len(text) >= length + n and all(text[-i] == text[-i - n] for i in range(1, length + 1))
        for n in range(1, max(1, length // 4) + 1)
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(4, 7), max_size=3),
    st.lists(st.integers(4, 6), min_size=1, max_size=5),
    st.integers(0, 40),
    st.integers(1, 16),
)
def test_a_repetition_may_only_end(start: list[int], cycle: list[int], steps: int, length: int) -> None:
    text = (start + cycle * 40)[:steps]
    healthy = [(7 * i) % 11 for i in range(steps)]
    log_probs = some_log_probs(2)
    filtered = end_of_repetition(log_probs, torch.tensor([text, healthy], dtype=torch.long), length)
    for row, written in enumerate([text, healthy]):
        if repeats(written, length):
            assert_close(filtered[row : row + 1], force(log_probs[row : row + 1], EOS))
        else:
            assert_close(filtered[row], log_probs[row], rtol=0, atol=0)


@pytest.mark.parametrize(
    "text",
    [
        "na na na na na na na na Batman",
        "-" * 60,
        "0" * 64,
        "C" * 36 + "O",
        "ha" * 30,
        "Here, sir! " * 6,
        "AH M EY " * 5,
    ],
)
def test_healthy_repetition_is_left_alone_by_default(text: str) -> None:
    tokens = torch.tensor([[ord(character) for character in text]])
    log_probs, length = some_log_probs(1), DecodingConfig().max_repetition
    for step in range(len(text) + 1):
        assert end_of_repetition(log_probs, tokens[:, :step], length) is log_probs or step > length
        assert forbidden(end_of_repetition(log_probs, tokens[:, :step], length)) == [set()]


class Loop(FakeModel):
    """Writes the same `cycle` tokens for ever: EOS is the least probable of all tokens but the second best."""

    def __init__(self, cycle: int, vocabulary: int = 40) -> None:
        super().__init__(vocabulary, seed=0, sharpness=0.1, eos=1.0)
        for state in range(len(self.table)):
            self.table[state, 4 + state % cycle] = 5.0
        self.cycle = cycle

    @staticmethod
    def next(state: Tensor, token: Tensor) -> Tensor:
        return torch.where(token == BOS, 0, state + 1)


@pytest.mark.slow
@pytest.mark.parametrize("cycle", [1, 3, 5])
@pytest.mark.parametrize("search_with", [{"beam": 1}, {"beam": 4}, {"strategy": "sampling", "temperature": 0.05}])
def test_an_endless_output_is_ended(cycle: int, search_with: dict) -> None:
    length, limit = 20, 80
    decoding = DecodingConfig(max_ratio=0, max_extra=limit, max_repetition=length, **search_with)
    [[best]] = search(Loop(cycle), *batch([4, EOS]), decoding, limit)
    assert best.finished
    assert best.tokens == [4 + i % cycle for i in range(len(best.tokens))]
    assert len(best.tokens) == length + cycle or (decoding.rows > 1 and len(best.tokens) < length + cycle)
    without = decoding.model_copy(update={"max_repetition": 0})
    [[best]] = search(Loop(cycle), *batch([4, EOS]), without, limit)
    assert (len(best.tokens), best.finished) == (limit, False)
    longer_cycle = decoding.model_copy(update={"max_repetition": 4 * cycle - 1}) if cycle > 1 else without
    [[best]] = search(Loop(cycle), *batch([4, EOS]), longer_cycle, limit)
    assert not best.finished


def test_a_repetition_does_not_end_before_the_least_length() -> None:
    decoding = DecodingConfig(beam=1, max_ratio=0, max_extra=40, max_repetition=4, min_length=16)
    [[best]] = search(Loop(1), *batch([4, EOS]), decoding, 40)
    assert (best.tokens, best.finished) == ([4] * 15, True)


@pytest.mark.parametrize("search_with", [{"beam": 1}, {"beam": 4}, {"strategy": "sampling"}])
def test_no_output_ends_before_its_least_length(search_with: dict) -> None:
    """EOS is counted, and so is a prefix. Only the limit comes before."""
    model, lines = FakeModel(9, seed=1, eos=5.0), batch([4, EOS], [5, 6, EOS])
    short = DecodingConfig(max_ratio=0, max_extra=20, max_repetition=0, **search_with)
    assert [len(best.tokens) + 1 for [best] in search(model, *lines, short, 20)] < [6, 6]
    for least in (6, 12):
        decoding = short.model_copy(update={"min_length": least})
        for prefix in ([], [4, 5]):
            for [best] in search(model, *lines, decoding, 20, prefix=prefix):
                assert best.finished
                assert len(best.tokens) + 1 >= least
                assert math.isfinite(best.score)
    for ended in (False, True):
        limited = {"min_length": 6, "max_extra": 4, "end_at_limit": ended}
        for [best] in search(model, *lines, short.model_copy(update=limited), 20):
            assert (len(best.token_logprobs), best.finished) == (4, ended)


@pytest.mark.parametrize("beam", [1, 3])
def test_a_prefix_stands_above_the_filters(beam: int) -> None:
    prefix = [4, 4, 4, 4, 4, 4, 4, 4, EOS]
    decoding = DecodingConfig(beam=beam, max_ratio=0, max_extra=20, max_repetition=2, no_repeat_ngram=1)
    [[best]] = search(FakeModel(9, seed=1), *batch([4, EOS]), decoding, 20, prefix=prefix)
    assert best.tokens == prefix[:-1]
    assert best.finished


def test_top_k_keeps_the_most_probable_and_their_equals() -> None:
    log_probs = torch.tensor([[0.4, 0.1, 0.2, 0.2, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]]).log()
    assert forbidden(top_k(log_probs, 1)) == [{1, 2, 3, 4}, set()]
    assert forbidden(top_k(log_probs, 2)) == [{1, 4}, set()]
    assert forbidden(top_k(log_probs, 4)) == [set(), set()]
    assert forbidden(top_k(log_probs, 100)) == [set(), set()]


def test_top_p_keeps_the_fewest_that_reach_the_mass() -> None:
    log_probs = torch.tensor([[0.1, 0.5, 0.0, 0.25, 0.15]]).log()
    for p, kept in [(1e-6, {1}), (0.49, {1}), (0.51, {1, 3}), (0.74, {1, 3}), (0.76, {1, 3, 4}), (0.95, {0, 1, 3, 4})]:
        assert forbidden(top_p(log_probs, p)) == [set(range(5)) - kept]
    assert forbidden(top_p(log_probs, 1.0)) == [{2}]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.floats(1e-6, 1.0), st.floats(0.1, 10.0))
def test_the_nucleus_has_its_mass_and_no_token_too_many(seed: int, p: float, temperature: float) -> None:
    tempered = apply_temperature(some_log_probs(4, seed), temperature)
    assert_close(tempered * temperature, some_log_probs(4, seed))
    probabilities = tempered.double().softmax(dim=1)
    for row, gone in zip(probabilities, forbidden(top_p(tempered, p)), strict=True):
        kept = sorted((row[token].item() for token in range(VOCABULARY) if token not in gone), reverse=True)
        assert sum(kept) >= p - 1e-6
        assert sum(kept[:-1]) <= p + 1e-6
        assert all(row[token] <= kept[-1] for token in gone)
