"""Every pair once an epoch, within the budget, with little padding, in an order that (seed, epoch) alone decides."""

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zhuyi.data import batches as module
from zhuyi.data.batches import Batch, ahead, collate, pad_sources, padding_share, plan, plan_in_order
from zhuyi.text.tokenizer import BOS, EOS, PAD


@dataclass
class Lists:
    """A corpus in memory."""

    sources: list[list[int]]
    targets: list[list[int]]

    def __post_init__(self) -> None:
        self.source_lengths = np.array([len(tokens) for tokens in self.sources], dtype=np.int32)
        self.target_lengths = np.array([len(tokens) for tokens in self.targets], dtype=np.int32)

    def source(self, pair: int) -> list[int]:
        return self.sources[pair]

    def target(self, pair: int) -> list[int]:
        return self.targets[pair]


def of_lengths(lengths: list[tuple[int, int]]) -> Lists:
    return Lists([[9] * source for source, _ in lengths], [[8] * target for _, target in lengths])


def natural(pairs: int, seed: int = 0) -> Lists:
    """Lengths like those of sentences: log-normal, and a target about as long as its source."""
    random = np.random.default_rng(seed)
    source = np.clip(random.lognormal(2.5, 0.4, pairs), 1, 200)
    target = np.clip(source * random.normal(1.05, 0.15, pairs), 1, 200)
    return of_lengths(list(zip(source.astype(int).tolist(), target.astype(int).tolist(), strict=True)))


def as_lists(batches: Sequence[np.ndarray]) -> list[list[int]]:
    return [pairs.tolist() for pairs in batches]


CORPORA = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60).map(of_lengths)


@settings(deadline=None, max_examples=60)
@given(CORPORA, st.integers(1, 200), st.integers(0, 5), st.integers(0, 5))
def test_each_pair_once_and_within_the_budget(corpus: Lists, budget: int, seed: int, epoch: int) -> None:
    for batches in (plan(corpus, budget, seed, epoch), plan_in_order(corpus, budget)):
        assert sorted(pair for pairs in as_lists(batches) for pair in pairs) == list(range(len(corpus.sources)))
        padding = total = 0
        for pairs in batches:
            batch = collate(corpus, pairs)
            cost = batch.source.numel() + batch.target_in.numel()
            assert cost <= budget or len(pairs) == 1
            padding += cost - batch.tokens
            total += cost
        assert padding_share(corpus, batches) == pytest.approx(padding / total if total else 0.0)


def test_a_pair_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    corpus = of_lengths([(3, 3), (500, 400), (3, 4), (2, 600)])
    sizes = {tuple(pairs) for pairs in as_lists(plan(corpus, 40, seed=1, epoch=0))}
    assert {(1,), (3,)} < sizes
    assert {0, 2} in [set(pairs) for pairs in sizes]


def test_a_corpus_lives_no_longer_than_its_plan() -> None:
    corpus = of_lengths([(3, 4), (5, 6)])
    planned, alive = plan(corpus, 400, seed=3, epoch=7), weakref.ref(corpus)
    del corpus
    assert alive() is not None
    del planned
    gc.collect()
    assert alive() is None


def test_the_same_seed_and_epoch_give_the_same_plan() -> None:
    corpus = natural(500)
    first = as_lists(plan(corpus, 400, seed=3, epoch=7))
    np.random.seed(1)
    torch.manual_seed(1)
    plan(corpus, 400, seed=3, epoch=6)
    assert as_lists(plan(corpus, 400, seed=3, epoch=7)) == first


@pytest.mark.parametrize(("seed", "epoch"), [(3, 8), (4, 7), (7, 3)])
def test_another_seed_or_epoch_gives_another_order_and_other_neighbours(seed: int, epoch: int) -> None:
    corpus = natural(500)
    one, other = as_lists(plan(corpus, 400, seed=3, epoch=7)), as_lists(plan(corpus, 400, seed=seed, epoch=epoch))
    assert one != other
    assert len({frozenset(pairs) for pairs in one} & {frozenset(pairs) for pairs in other}) < len(one) / 2


def test_the_order_of_the_batches_does_not_go_by_length() -> None:
    corpus = natural(3000)
    longest = [max(corpus.target_lengths[pairs]) for pairs in plan(corpus, 400, seed=1, epoch=0)]
    assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.3


@pytest.mark.parametrize("budget", [1024, 4096])
def test_little_padding_on_lengths_like_those_of_sentences(budget: int) -> None:
    corpus = natural(20_000)
    for batches in (plan(corpus, budget, seed=1, epoch=0), plan_in_order(corpus, budget)):
        assert 0 < padding_share(corpus, batches) < 0.08
        smaller = [
            len(pairs) for pairs in batches if (corpus.source_lengths[pairs].max() + 2) * len(pairs) < budget / 4
        ]
        assert len(smaller) <= 2  # nearly all batches are full


def test_in_order_is_longest_first_and_without_chance() -> None:
    corpus = natural(300)
    batches = plan_in_order(corpus, 300)
    assert as_lists(batches) == as_lists(plan_in_order(corpus, 300))
    longest = [int(corpus.target_lengths[pairs].max()) for pairs in batches]
    assert longest == sorted(longest, reverse=True)


def test_bos_and_eos_stand_where_they_are_said_to() -> None:
    corpus = Lists([[5, 6, 7], [5]], [[10], [11, 12]])
    batch = collate(corpus, np.array([1, 0]))
    assert batch.source.tolist() == [[5, EOS, PAD, PAD], [5, 6, 7, EOS]]
    assert batch.source_mask.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.target_in.tolist() == [[BOS, 11, 12], [BOS, 10, PAD]]
    assert batch.target_out.tolist() == [[11, 12, EOS], [10, EOS, PAD]]
    assert batch.pairs.tolist() == [1, 0]
    assert (batch.source_tokens, batch.target_tokens, batch.tokens) == (6, 5, 11)
    assert batch.source.dtype == batch.target_in.dtype == batch.target_out.dtype == torch.int64


def test_empty_sides_still_have_their_ends() -> None:
    batch = collate(Lists([[]], [[]]), np.array([0]))
    assert (batch.source.tolist(), batch.target_in.tolist(), batch.target_out.tolist()) == ([[EOS]], [[BOS]], [[EOS]])


def test_tokens_may_be_arrays() -> None:
    """As the store gives them: views of int32."""
    rows = [np.array([5, 6], dtype=np.int32), np.array([], dtype=np.int32)]
    source, mask = pad_sources(rows)
    assert (source.tolist(), mask.tolist()) == ([[5, 6, EOS], [EOS, PAD, PAD]], [[True] * 3, [True, False, False]])


def test_no_pairs_are_no_batches() -> None:
    assert list(plan(of_lengths([]), 100, seed=1, epoch=0)) == []
    assert plan_in_order(of_lengths([]), 100) == []
    assert padding_share(of_lengths([]), []) == 0.0


def cut_one_by_one(lengths: list[tuple[int, int]], budget: int) -> list[int]:
    """Sizes of the batches of pairs in this order: the definition, pair by pair."""
    sizes, longest = [0], (0, 0)
    for source, target in lengths:
        wider = (max(longest[0], source + 1), max(longest[1], target + 1))
        if sizes[-1] and (sizes[-1] + 1) * sum(wider) > budget:
            sizes.append(0)
            wider = (source + 1, target + 1)
        sizes[-1] += 1
        longest = wider
    return sizes


@settings(deadline=None, max_examples=60)
@given(CORPORA, st.integers(1, 300), st.sampled_from([1, 1 << 22]))
def test_batches_are_as_full_as_can_be(corpus: Lists, budget: int, table: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MAX_TABLE_ENTRIES", table)
        batches = plan_in_order(corpus, budget)[::-1]
    order = np.concatenate([np.arange(0), *batches])
    lengths = list(zip(corpus.source_lengths[order].tolist(), corpus.target_lengths[order].tolist(), strict=True))
    if lengths:
        assert [len(pairs) for pairs in batches] == cut_one_by_one(lengths, budget)


@pytest.mark.parametrize("pairs", [1, 199, 200, 201, 1234])
def test_pools(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of several pools: every pair once, from some blocks at a time, in another deal each epoch."""
    monkeypatch.setattr(module, "POOL_PAIRS", 200)
    monkeypatch.setattr(module, "BLOCK_PAIRS", 10)
    corpus = natural(pairs)
    batches = plan(corpus, 400, seed=1, epoch=0)
    assert sorted(np.concatenate(list(batches))) == list(range(pairs))
    pools = [{pair // 10 for made in pool.batches() for pair in made} for pool in batches._pools]
    assert len(pools) == max(1, round(pairs / 200))
    assert sum(map(len, pools)) == len(set.union(*pools))  # a block is in one pool alone
    if len(pools) > 1:
        assert pools != [
            {pair // 10 for made in pool.batches() for pair in made} for pool in plan(corpus, 400, 1, 1)._pools
        ]


def test_any_place_of_a_plan_can_be_reached_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POOL_PAIRS", 200)
    monkeypatch.setattr(module, "BLOCK_PAIRS", 10)
    corpus = natural(1234)
    whole = as_lists(list(plan(corpus, 400, seed=1, epoch=0)))
    batches = plan(corpus, 400, seed=1, epoch=0)
    for place in (len(whole) - 1, 0, len(whole) // 2, -1):
        assert batches[place].tolist() == whole[place]
    assert as_lists(batches[10:30]) == whole[10:30]
    with pytest.raises(IndexError):
        batches[len(batches)]


def test_a_plan_of_short_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the store gives them: unsigned numbers of two bytes, which must not wrap around."""
    corpus = natural(2000)
    short = Lists(corpus.sources, corpus.targets)
    short.source_lengths = corpus.source_lengths.astype(np.uint16)
    short.target_lengths = corpus.target_lengths.astype(np.uint16)
    for make in (lambda of: plan(of, 400, 1, 0), lambda of: plan_in_order(of, 400)):
        assert as_lists(make(corpus)) == as_lists(make(short))
        assert padding_share(corpus, make(corpus)) == padding_share(short, make(short))


@pytest.mark.slow
def test_a_plan_of_a_large_corpus_is_small() -> None:
    """Not a copy of the corpus, for two million pairs."""
    lengths = np.random.default_rng(0).integers(1, 60, (2, 2_000_000), dtype=np.uint16)
    corpus = of_lengths([])
    corpus.source_lengths, corpus.target_lengths = lengths
    batches = plan(corpus, 8192, seed=1, epoch=0)
    tracemalloc.start()
    plan(corpus, 8192, seed=1, epoch=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6  # of one pool: its pairs in eight bytes each, a few times over
    assert sum(len(pairs) for pairs in batches._pools[0].batches()) == module.POOL_PAIRS


def test_made_ahead_in_the_same_order() -> None:
    assert list(ahead(range(100))) == list(range(100))
    assert list(ahead([])) == []


def test_what_goes_wrong_ahead_is_raised_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("three")

    made = ahead(items())
    assert (next(made), next(made)) == (1, 2)
    with pytest.raises(KeyError, match="three"):
        next(made)


def test_a_thread_that_is_not_needed_any_more_ends() -> None:
    made = ahead(iter(int, 1), count=3)
    assert next(made) == 0
    assert any(thread.name == "batches" for thread in threading.enumerate())
    made.close()
    assert not any(thread.name == "batches" for thread in threading.enumerate())


def test_a_batch_moves_as_one() -> None:
    batch = collate(of_lengths([(2, 3)]), np.array([0]))
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved, Batch)
    assert {t.device.type for t in (moved.source, moved.source_mask, moved.target_in, moved.target_out)} == {"meta"}
    assert moved.pairs is batch.pairs
