"""How long an output may get, chosen from the data."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhuyi.config import DecodingConfig
from zhuyi.data.limits import choose_limits, count_over_limit, limits_of_model
from zhuyi.data.sequences import InMemory


@dataclass(frozen=True)
class Pairs:
    source_lengths: np.ndarray
    target_lengths: np.ndarray


def pairs(sources: list[int], targets: list[int]) -> Pairs:
    return Pairs(np.array(sources, np.uint16), np.array(targets, np.uint16))


def limits(chosen: DecodingConfig, *source_tokens: int) -> list[int]:
    return chosen.limits(np.array(source_tokens), max_length=10_000).tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 300)), min_size=1, max_size=200))
def test_all_but_one_in_a_thousand_fit(lengths: list[tuple[int, int]]) -> None:
    data = pairs(*map(list, zip(*lengths, strict=True)))
    chosen = choose_limits(DecodingConfig(), data)
    assert count_over_limit(chosen, data, max_length=10_000) <= 1
    assert DecodingConfig.model_validate(chosen.model_dump()) == chosen


def test_one_word_may_become_a_long_line() -> None:
    data = pairs([1] * 40, [81] * 40)
    assert limits(choose_limits(DecodingConfig(), data), 2)[0] >= 82


def test_one_outlier_moves_nothing() -> None:
    lengths = [1 + n % 30 for n in range(1000)]
    usual = choose_limits(DecodingConfig(), pairs(lengths, lengths))
    with_outlier = choose_limits(DecodingConfig(), pairs([*lengths, 1], [*lengths, 5000]))
    assert with_outlier == usual
    assert limits(usual, 11) <= [11 * 1.25 + 10 + 1]


def test_sides_of_like_length_are_not_allowed_three_times_as_much() -> None:
    lengths = [5 + n % 30 for n in range(500)]
    chosen = choose_limits(DecodingConfig(), pairs(lengths, [n + n % 3 for n in lengths]))
    assert limits(chosen, 100)[0] < 160


def test_targets_of_one_length_do_not_grow_with_their_source() -> None:
    chosen = choose_limits(DecodingConfig(), pairs([4 + n % 9 for n in range(100)], [10] * 100))
    assert limits(chosen, 1, 50) == [11 + 10, 11 + 10]


@pytest.mark.parametrize("given_", [{"max_ratio": 2.00049}, {"max_extra": 3}, {"max_ratio": 0.5, "max_extra": 1}])
def test_what_is_set_stays_and_the_rest_is_chosen_for_it(given_: dict[str, float]) -> None:
    lengths = [1 + n % 30 for n in range(1000)]
    chosen = choose_limits(DecodingConfig(**given_), pairs(lengths, [4 * n for n in lengths]))
    assert given_.items() <= chosen.model_dump().items()
    fits = count_over_limit(chosen, pairs(lengths, [4 * n for n in lengths]), max_length=10_000) == 0
    assert fits == (len(given_) == 1)


def test_lengths_of_two_bytes_do_not_wrap_around() -> None:
    chosen = choose_limits(DecodingConfig(), pairs([60_000, 65_534, 65_534], [1, 65_534, 65_534]))
    assert limits(chosen, 65_535)[0] == 10_000
    assert count_over_limit(chosen, pairs([65_534], [65_534]), max_length=65_535) == 0


def test_a_model_keeps_its_limits_where_the_new_pairs_fit() -> None:
    pairs = InMemory([[4] * 5] * 100, [[4] * 10] * 100)
    chosen = choose_limits(DecodingConfig(), pairs)
    wide, narrow = DecodingConfig(max_ratio=0.0, max_extra=30), DecodingConfig(max_ratio=1.5, max_extra=1)
    kept = limits_of_model(wide, chosen, pairs, 64)
    assert (kept.max_ratio, kept.max_extra) == (0.0, 30)
    higher = limits_of_model(narrow, chosen, pairs, 64)
    assert (higher.max_ratio, higher.max_extra) == (1.5, chosen.max_extra)
    assert limits_of_model(DecodingConfig(), chosen, pairs, 64) == chosen
