"""The search against oracles: exhaustive enumeration, and a beam search in plain Python."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from fake_model import STATES, FakeModel, batch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zhuyi.config import DecodingConfig
from zhuyi.decoding import Hypothesis
from zhuyi.decoding import search as search_within
from zhuyi.decoding.search import log_probabilities
from zhuyi.text.tokenizer import BOS, EOS, PAD


@dataclass(frozen=True)
class Asked:
    """How to search, and the model's own limit."""

    decoding: DecodingConfig
    max_length: int


def options(beam: int = 1, *, limit: int = 8, alpha: float = 1.0, n_best: int = 1, ratio: float = 1.0) -> Asked:
    decoding = DecodingConfig(beam=beam, length_penalty=alpha, n_best=n_best, max_ratio=ratio, max_extra=20)
    return Asked(decoding, limit)


def search(model: FakeModel, source: Tensor, source_mask: Tensor, asked: Asked) -> list[list[Hypothesis]]:
    return search_within(model, source, source_mask, asked.decoding, asked.max_length)


def normalised(log_probs: list[float], alpha: float) -> float:
    return sum(log_probs) / ((5 + len(log_probs)) / 6) ** alpha


Found = list[tuple[list[int], float, bool]]


def enumerate_all(model: FakeModel, source: Tensor, limit: int, alpha: float) -> Found:
    """Every output that ends within the limit or is cut by it, best first."""
    found: Found = []

    def extend(prefix: list[int], past: list[float]) -> None:
        for token, log_prob in enumerate(model.log_probs(source, prefix)):
            if token == EOS:
                found.append((prefix, normalised([*past, log_prob], alpha), True))
            elif token not in (PAD, BOS) and len(past) + 1 < limit:
                extend([*prefix, token], [*past, log_prob])
            elif token not in (PAD, BOS):
                found.append(([*prefix, token], normalised([*past, log_prob], alpha), False))

    extend([], [])
    return sorted(found, key=lambda hypothesis: -hypothesis[1])


def plain_beam(model: FakeModel, source: Tensor, limit: int, beam: int, alpha: float, n_best: int) -> Found:
    """Beam search as one would write it on a blackboard: lists, one sentence, no early decision."""
    live: list[tuple[list[int], list[float]]] = [([], [])]
    finished: Found = []
    [(tokens, _, ended)] = plain_greedy(model, source, limit, alpha)
    greedy = tokens + [EOS] * ended
    for step in range(limit):
        candidates = [
            ([*prefix, token], [*past, log_prob])
            for prefix, past in live
            for token, log_prob in enumerate(model.log_probs(source, prefix))
            if token not in (PAD, BOS)
        ]
        candidates.sort(key=lambda candidate: -sum(candidate[1]))
        of_greedy = [candidate for candidate in candidates if candidate[0] == greedy[: step + 1]]
        finished += [
            (text[:-1], normalised(past, alpha), True)
            for text, past in [*candidates[:beam], *(each for each in of_greedy if each not in candidates[:beam])]
            if text[-1] == EOS
        ]
        going = [candidate for candidate in candidates if candidate[0][-1] != EOS]
        kept = [candidate for candidate in of_greedy if candidate[0][-1] != EOS]
        live = kept + [candidate for candidate in going if candidate not in kept][: beam - len(kept)]
    finished += [(text, normalised(past, alpha), False) for text, past in live]
    return sorted(finished, key=lambda hypothesis: -hypothesis[1])[:n_best]


def plain_greedy(model: FakeModel, source: Tensor, limit: int, alpha: float) -> Found:
    text: list[int] = []
    past: list[float] = []
    while len(past) < limit and EOS not in text:
        log_probs = model.log_probs(source, text)
        text.append(max(range(len(log_probs)), key=log_probs.__getitem__))
        past.append(log_probs[text[-1]])
    return [([token for token in text if token != EOS], normalised(past, alpha), EOS in text)]


def assert_same(found: list[Hypothesis], expected: Found) -> None:
    assert [(h.tokens, h.finished) for h in found] == [(tokens, finished) for tokens, _, finished in expected]
    assert [h.score for h in found] == pytest.approx([score for _, score, _ in expected], rel=1e-4, abs=1e-5)


def assert_sound(model: FakeModel, source: Tensor, found: list[Hypothesis], asked: Asked, limit: int) -> None:
    """What holds of every result of every search."""
    assert 1 <= len(found) <= asked.decoding.n_best
    assert len({(tuple(h.tokens), h.finished) for h in found}) == len(found)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    for h in found:
        text = h.tokens + [EOS] * h.finished
        assert len(text) == len(h.token_logprobs)
        assert len(text) <= limit
        assert h.finished or len(text) == limit
        assert not {PAD, BOS, EOS} & set(h.tokens)
        oracle = [model.log_probs(source, text[:i])[token] for i, token in enumerate(text)]
        assert h.token_logprobs == pytest.approx(oracle, rel=1e-4, abs=1e-5)
        assert h.score == pytest.approx(normalised(h.token_logprobs, asked.decoding.length_penalty), rel=1e-4, abs=1e-5)


seeds = st.integers(0, 10_000)
sharpnesses = st.sampled_from([1.5, 8.0])  # a sure model makes long outputs win late, which tests when to stop
alphas = st.sampled_from([0.0, 0.6, 1.0, 2.0])
sentences = st.lists(st.integers(4, 300), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(seeds, sharpnesses, st.integers(1, 4), alphas, st.sampled_from([1, 3, 200]))
def test_a_wide_beam_is_exhaustive(seed: int, sharpness: float, limit: int, alpha: float, n_best: int) -> None:
    model = FakeModel(6, seed, sharpness)
    source, mask = batch([4, 5, EOS])
    [found] = search(model, source, mask, options(200, limit=limit, alpha=alpha, n_best=n_best))
    assert_same(found, enumerate_all(model, source[0], limit, alpha)[:n_best])


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seeds, alphas)
def test_no_beam_beats_the_exhaustive_one_and_wider_ones_equal_it(seed: int, alpha: float) -> None:
    model = FakeModel(6, seed, eos=1.0)
    source, mask = batch([4, EOS])
    exact = enumerate_all(model, source[0], 4, alpha)[0][1]
    for beam in (1, 2, 4, 8, 108, 150):
        [[best]] = search(model, source, mask, options(beam, limit=4, alpha=alpha))
        assert best.score <= exact + 1e-5
        assert beam < 108 or best.score == pytest.approx(exact, rel=1e-4)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 6), st.integers(1, 9), st.sampled_from([4, 5, 9, 40]), alphas, st.data())
def test_search_is_the_plain_algorithm(
    seed: int, beam: int, limit: int, vocabulary: int, alpha: float, data: st.DataObject
) -> None:
    """With vocabularies from fewer than 2·beam tokens up; one that leaves only UNK and EOS to choose among them."""
    n_best = data.draw(st.integers(1, beam))
    model = FakeModel(vocabulary, seed, data.draw(sharpnesses), eos=data.draw(st.sampled_from([-3.0, 0.0, 1.5])))
    source, mask = batch(data.draw(sentences))
    asked = options(beam, limit=limit, alpha=alpha, n_best=n_best)
    [found] = search(model, source, mask, asked)
    assert_sound(model, source[0], found, asked, limit)
    # A beam of 1 is greedy search: it ends with the first EOS, where a beam would go on with another token.
    plain = (
        plain_beam(model, source[0], limit, beam, alpha, n_best)
        if beam > 1
        else plain_greedy(model, source[0], limit, alpha)
    )
    assert_same(found, plain)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(seeds, sharpnesses, st.lists(sentences, min_size=1, max_size=4), st.integers(2, 6), alphas)
def test_no_beam_scores_lower_than_greedy_search(
    seed: int, sharpness: float, lines: list[list[int]], beam: int, alpha: float
) -> None:
    model = FakeModel(30, seed, sharpness)
    greedy, wide = (search(model, *batch(*lines), options(width, limit=12, alpha=alpha)) for width in (1, beam))
    for [one], [other] in zip(greedy, wide, strict=True):
        assert other.score >= one.score - 1e-5


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(seeds, st.lists(sentences, min_size=2, max_size=4), st.integers(1, 4), st.sampled_from([-6.0, 0.0]))
def test_batch_neighbours_change_nothing(seed: int, lines: list[list[int]], beam: int, eos: float) -> None:
    """Neither what they say, nor when they end, nor that their limits are others."""
    model = FakeModel(30, seed, eos=eos)
    asked = options(beam, limit=500, n_best=beam, ratio=0.5)
    together = search(model, *batch(*lines), asked)
    for line, found in zip(lines, together, strict=True):
        assert_sound(model, torch.tensor(line), found, asked, limit=len(line) // 2 + 20)
        assert search(model, *batch(line), asked) == [found]


@settings(max_examples=30, deadline=None)
@given(seeds, st.lists(sentences, min_size=1, max_size=4), alphas, st.sampled_from([-6.0, 0.0, 2.0]))
def test_greedy_takes_the_most_probable_token_until_the_first_end(
    seed: int, lines: list[list[int]], alpha: float, eos: float
) -> None:
    model = FakeModel(20, seed, eos=eos)
    asked = options(1, alpha=alpha)
    for line, found in zip(lines, search(model, *batch(*lines), asked), strict=True):
        assert_sound(model, torch.tensor(line), found, asked, limit=8)
        assert_same(found, plain_greedy(model, torch.tensor(line), 8, alpha))


def test_poor_finished_hypotheses_do_not_end_the_search() -> None:
    """EOS is the second best token at every step but the last: `beam` poor hypotheses have ended at once."""
    length, beam = 12, 2

    class Chain(FakeModel):
        """Token 4 + i follows token 3 + i; after `length` of them the text ends."""

        def __init__(self) -> None:
            super().__init__(4 + length, seed=0, sharpness=0.0)
            for state in range(STATES):
                self.table[state, EOS] = 4.0
                self.table[state, 4 + min(state, length - 1)] = 8.0 if state < length else 0.0

        @staticmethod
        def next(state: Tensor, token: Tensor) -> Tensor:
            return torch.where(token == BOS, 0, state + 1)

    [[best]] = search(Chain(), *batch([4, EOS]), options(beam, limit=30))
    assert best.finished
    assert best.tokens == list(range(4, 4 + length))


@pytest.mark.parametrize("beam", [1, 3])
def test_rows_of_done_sentences_are_dropped(beam: int) -> None:
    model = FakeModel(12, seed=3, eos=1.0)
    lines = [[token, EOS] for token in range(4, 24)]
    found = search(model, *batch(*lines), options(beam, limit=30, n_best=beam))
    assert model.rows[0] == len(lines) * beam
    assert model.rows == sorted(model.rows, reverse=True)
    assert len(set(model.rows)) > 3
    alone = []
    for line, expected in zip(lines, found, strict=True):
        assert search(model, *batch(line), options(beam, limit=30, n_best=beam)) == [expected]
        alone.append(len(model.rows))
    steps = range(max(alone))
    search(model, *batch(*lines), options(beam, limit=30, n_best=beam))
    assert model.rows == [beam * sum(length > step for length in alone) for step in steps]


@pytest.mark.parametrize("beam", [1, 4])
def test_outputs_without_end_stop_at_the_limit(beam: int) -> None:
    model = FakeModel(20, seed=1, eos=-1000.0)
    lines = [[5, EOS], [5] * 39 + [EOS]]
    short, long = search(model, *batch(*lines), options(beam, limit=500, n_best=beam, ratio=1.5))
    assert {len(h.tokens) for h in short} == {int(1.5 * 2) + 20}
    assert {len(h.tokens) for h in long} == {int(1.5 * 40) + 20}
    assert not any(h.finished for h in short + long)
    assert len(short) == len(long) == beam


def test_a_better_hypothesis_that_the_limit_cut_comes_before_a_finished_one() -> None:
    """The model would not have ended there: what it gives as finished, it must have meant to finish."""
    model = FakeModel(20, seed=5, sharpness=0.1, eos=-1.0)
    [found] = search(model, *batch([4, EOS]), options(8, limit=2, n_best=8, alpha=0.0))
    assert len(found) == 8
    assert not found[0].finished
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_limits_follow_source_tokens_and_the_model() -> None:
    source_tokens = np.array([10, 1, 100])
    asked = DecodingConfig(max_ratio=1.15, max_extra=7)
    assert asked.limits(source_tokens, max_length=100).tolist() == [11 + 7, 1 + 7, 100]
    assert asked.limits(source_tokens, max_length=2).tolist() == [2, 2, 2]
    nothing = DecodingConfig(max_ratio=0.0, max_extra=0)
    assert nothing.limits(source_tokens, max_length=9).tolist() == [1, 1, 1]  # EOS at least
    before_they_were_chosen = DecodingConfig()
    assert before_they_were_chosen.limits(source_tokens, max_length=1000).tolist() == [50, 23, 320]


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("share", [0.02, 1.0])
def test_not_a_number_ends_and_harms_no_neighbour(beam: int, share: float) -> None:
    model = FakeModel(12, seed=2)
    lines = [[token, EOS] for token in range(4, 20)]
    asked = options(beam, n_best=beam)
    sound = search(model, *batch(*lines), asked)
    broken = torch.rand(STATES, generator=torch.Generator().manual_seed(0)) < share
    model.table[broken] = math.nan
    found = search(model, *batch(*lines), asked)
    for line, hypotheses in zip(lines, found, strict=True):
        assert search(model, *batch(line), asked) == [hypotheses]
        for h in hypotheses:
            assert not math.isnan(h.score)
            assert h.score > -math.inf or h == Hypothesis([], -math.inf, [], finished=False)
        if share == 1.0:
            assert hypotheses == [Hypothesis([], -math.inf, [], finished=False)]
    if share < 1.0:
        assert any(hypotheses == healthy for hypotheses, healthy in zip(found, sound, strict=True))


def test_log_probabilities_are_float32_and_leave_out_what_may_not_be_written() -> None:
    logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(0)).bfloat16()
    log_probs = log_probabilities(logits.clone())
    assert log_probs.dtype == torch.float32
    assert (log_probs[:, [PAD, BOS]] == -math.inf).all()
    torch.testing.assert_close(log_probs.exp().sum(dim=-1), torch.ones(5))
    kept = [token for token in range(9) if token not in (PAD, BOS)]
    torch.testing.assert_close(log_probs[:, kept], logits[:, kept].float().log_softmax(dim=-1))
