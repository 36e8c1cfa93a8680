"""Sampling: the generator against known answers, the draws against the reference, and no word about neighbours."""

import math
from collections import Counter

import pytest
import torch
from fake_model import FakeModel, batch
from hypothesis import given, settings
from hypothesis import strategies as st

from zhuyi.config import DecodingConfig, changed
from zhuyi.decoding import search
from zhuyi.decoding.filters import apply_temperature, integer_weights, top_k, top_p
from zhuyi.decoding.sampling import draw, random_words
from zhuyi.errors import ConfigError
from zhuyi.model import reference
from zhuyi.text.tokenizer import EOS

ONES = 2**32 - 1
words = st.integers(0, ONES)


def sampling(**settings: object) -> DecodingConfig:
    return DecodingConfig(strategy="sampling", max_ratio=0, max_extra=12, **settings)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_known_answers(counter: list[int], key: list[int], answer: list[int]) -> None:
    """Those of Random123, the library of Salmon et al. 2011 (its file kat_vectors)."""
    assert reference.philox(counter, key) == answer


@settings(max_examples=100, deadline=None)
@given(words, st.lists(st.tuples(st.integers(0, 2**62), words), min_size=1, max_size=4), words)
def test_many_rows_of_words_are_the_reference(seed: int, rows: list[tuple[int, int]], step: int) -> None:
    lines, samples = torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
    expected = [reference.philox((step, sample, line % 2**32, line >> 32), (seed, 0))[0] for line, sample in rows]
    assert random_words(seed, lines, step, samples).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([0.01, 0.5, 1.0, 3.0]),
    st.sampled_from([0, 1, 3, 1000]),
    st.sampled_from([1.0, 0.9, 0.3]),
)
def test_the_distribution_that_is_drawn_from_is_the_reference(seed: int, temperature: float, k: int, p: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = (3 * torch.randn(2, 50, generator=generator)).log_softmax(dim=1)
    shaped = apply_temperature(log_probs, temperature)
    shaped = top_k(shaped, k) if k else shaped
    weights = integer_weights(top_p(shaped, p) if p < 1 else shaped)
    for row, of_row in zip(weights.tolist(), log_probs, strict=True):
        expected = reference.sampling_weights(of_row.double(), temperature, k, p)
        assert [weight > 0 for weight in row] == [weight > 0 for weight in expected] or p < 1
        assert row == pytest.approx(expected, rel=1e-4, abs=2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**30), min_size=1, max_size=6), words)
def test_the_threshold_is_exact(weights: list[int], word: int) -> None:
    weights = [*weights, 2**30]
    many = weights * 2**10  # sums beyond float32, and beyond what times a word would fit into 64 bits
    token = draw(torch.tensor([many]), torch.tensor([word])).item()
    threshold = word * sum(many) // 2**32
    assert sum(many[:token]) <= threshold < sum(many[: token + 1])


def test_a_draw_is_the_reference() -> None:
    model, (source, mask) = FakeModel(30, seed=4), batch([7, 8, EOS], [9, EOS])
    decoding = sampling(seed=11, n_best=3, temperature=1.3, top_k=20, top_p=0.95)
    lines = [5, 2**40 + 3]
    for row, found in zip(range(2), search(model, source, mask, decoding, 12, lines=lines), strict=True):
        expected = []
        for sample in range(3):
            text: list[int] = []
            while EOS not in text and len(text) < 12:
                log_probs = torch.tensor(model.log_probs(source[row], text), dtype=torch.float64)
                weights = reference.sampling_weights(log_probs, 1.3, 20, 0.95)
                text.append(reference.draw(weights, 11, lines[row], len(text), sample))
            expected.append(text)
        assert sorted(h.tokens + [EOS] * h.finished for h in found) == sorted(expected)


def test_scores_are_the_models_own_and_the_best_sample_is_first() -> None:
    """Whatever temperature, top-k and top-p do to the distribution."""
    model, (source, mask) = FakeModel(30, seed=4), batch([7, 8, EOS])
    [found] = search(model, source, mask, sampling(n_best=20, temperature=0.7, top_p=0.8, length_penalty=0.6), 12)
    assert len(found) == 20
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    for h in found:
        text = h.tokens + [EOS] * h.finished
        oracle = [model.log_probs(source[0], text[:i])[token] for i, token in enumerate(text)]
        assert h.token_logprobs == pytest.approx(oracle, rel=1e-4, abs=1e-5)
        assert h.score == pytest.approx(sum(oracle) / ((5 + len(text)) / 6) ** 0.6, rel=1e-4)


def chi_square(counts: Counter[int], probabilities: list[float]) -> float:
    total = sum(counts.values())
    assert set(counts) <= {token for token, probability in enumerate(probabilities) if probability > 0}
    return sum((counts[token] - total * p) ** 2 / (total * p) for token, p in enumerate(probabilities) if p > 0)


SHAPED: list[tuple[dict[str, float], list[float]]] = [
    ({}, [0.5, 0.25, 0.15, 0.1]),
    ({"temperature": 0.5}, [p * p / 0.345 for p in (0.5, 0.25, 0.15, 0.1)]),
    ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0]),
    ({"top_p": 0.8}, [5 / 9, 2.5 / 9, 1.5 / 9, 0]),
    ({"seed": 2**32 - 1}, [0.5, 0.25, 0.15, 0.1]),
]
"""Settings, and the probabilities that they make of 0.5, 0.25, 0.15 and 0.1."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "expected", "vary"),
    [
        pytest.param(*shaped, vary, marks=[pytest.mark.long] if shaped[0] and vary in ("step", "seed") else [])
        for shaped in SHAPED
        for vary in ("line", "sample", "step", "seed")
    ],
)
def test_frequencies_are_the_probabilities(settings: dict, expected: list[float], vary: str) -> None:
    """χ² with at most 3 degrees of freedom exceeds 16.3 once in a thousand times; these draws are always the same."""
    decoding, count = sampling(**settings), 20_000
    shaped = apply_temperature(torch.tensor([0.5, 0.25, 0.15, 0.1]).log()[None], decoding.temperature)
    shaped = top_p(top_k(shaped, decoding.top_k or 4), decoding.top_p)
    zeros, each = torch.zeros(count, dtype=torch.long), torch.arange(count)
    if vary in ("line", "sample"):
        at = (each, 3, zeros) if vary == "line" else (zeros, 3, each)
        drawn = random_words(decoding.seed, *at)
    else:
        drawn = torch.cat(
            [
                random_words(
                    *(decoding.seed, zeros[:1], int(i)) if vary == "step" else (int(i), zeros[:1], 3), zeros[:1]
                )
                for i in each[:1500]
            ]
        )
    tokens = draw(integer_weights(shaped).expand(len(drawn), -1), drawn)
    assert chi_square(Counter(tokens.tolist()), expected) < 16.3


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.permutations(range(5)), st.integers(1, 3))
def test_neither_company_nor_order_changes_a_draw(seed: int, order: list[int], n_best: int) -> None:
    sources = [[4, EOS], [5, 6, EOS], [7, EOS], [8, 9, 10, 11, EOS], [4, EOS]]
    model, decoding = FakeModel(20, seed), sampling(n_best=n_best, seed=seed)
    together = search(model, *batch(*sources), decoding, 12, lines=range(100, 105))
    mixed = search(model, *batch(*(sources[i] for i in order)), decoding, 12, lines=[100 + i for i in order])
    assert mixed == [together[i] for i in order]
    for number, source in enumerate(sources):
        assert search(model, *batch(source), decoding, 12, lines=[100 + number]) == [together[number]]
    more = search(
        model, *batch(*sources), decoding.model_copy(update={"n_best": n_best + 1}), 12, lines=range(100, 105)
    )
    assert all(h in wider for found, wider in zip(together, more, strict=True) for h in found)


def test_line_step_sample_and_seed_all_matter() -> None:
    model = FakeModel(100, seed=1, sharpness=0.1, eos=-100.0)
    sources = batch([4, EOS], [4, EOS])
    one, other = (found[0].tokens for found in search(model, *sources, sampling(), 12))
    assert one != other
    assert len(set(one)) > 1
    [found, _] = search(model, *sources, sampling(n_best=4), 12)
    assert len({tuple(h.tokens) for h in found}) == 4
    assert search(model, *sources, sampling(seed=2), 12)[0][0].tokens != one
    assert search(model, *sources, sampling(), 12)[0][0].tokens == one


def test_a_low_temperature_and_the_first_of_k_are_greedy_search() -> None:
    model, sources = FakeModel(30, seed=9), batch([4, EOS], [5, 6, EOS], [9, EOS])
    greedy = search(model, *sources, DecodingConfig(beam=1, max_ratio=0, max_extra=12), 12)
    assert search(model, *sources, sampling(top_k=1), 12) == greedy
    assert search(model, *sources, sampling(temperature=0.01), 12) == greedy
    assert search(model, *sources, sampling(top_p=1e-6, temperature=5.0), 12) == greedy


def test_not_a_number_harms_no_neighbour() -> None:
    model, sources = FakeModel(12, seed=2), batch(*([token, EOS] for token in range(4, 20)))
    decoding = sampling(n_best=2, top_k=5, top_p=0.9)
    sound = search(model, *sources, decoding, 12)
    model.table[torch.rand(len(model.table), generator=torch.Generator().manual_seed(0)) < 0.1] = math.nan
    found = search(model, *sources, decoding, 12)
    assert any(one == other for one, other in zip(found, sound, strict=True))
    assert all(1 <= len(hypotheses) <= 2 for hypotheses in found)
    assert not any(math.isnan(h.score) for hypotheses in found for h in hypotheses)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"temperature": 0.7}, 'decoding.temperature = 0.7 needs decoding.strategy = "sampling"'),
        ({"top_k": 5}, 'decoding.top_k = 5 needs decoding.strategy = "sampling"'),
        ({"top_p": 0.9}, 'decoding.top_p = 0.9 needs decoding.strategy = "sampling"'),
        ({"strategy": "sampling", "temperature": 0.0}, "decoding.temperature should be"),
        ({"strategy": "sampling", "top_p": 1.1}, "decoding.top_p should be"),
        ({"strategy": "sampling", "seed": 2**32}, "decoding.seed should be"),
        ({"strategy": "diverse"}, "decoding.strategy should be 'beam' or 'sampling', not 'diverse'"),
        ({"n_best": 9}, "decoding.n_best = 9 is more than decoding.beam = 5"),
    ],
)
def test_what_cannot_be_is_one_clear_line(settings: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")):
        changed(DecodingConfig(), settings)
    assert changed(DecodingConfig(), {"strategy": "sampling", "n_best": 9}).rows == 9
