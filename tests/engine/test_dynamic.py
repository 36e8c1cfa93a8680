"""Dynamic batching: what waits is decoded together, and what nobody waits for is not decoded."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import Any

import pytest

from zhuyi.config import DecodingConfig
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.engine.dynamic import MAX_SOURCES, DynamicBatches

GREEDY, BEAM = DecodingConfig(beam=1), DecodingConfig(beam=2)


class Gate:
    """A `decode` that waits until it may, and remembers what it was given together."""

    def __init__(self) -> None:
        self.batches: list[tuple[Any, ...]] = []
        self.begun, self.may = threading.Event(), threading.Event()

    def __call__(
        self, sources: Sequence[Sequence[int]], decoding: DecodingConfig, lines: Any, prefix: Sequence[int]
    ) -> list[list[Hypothesis]]:
        self.begun.set()
        assert self.may.wait(timeout=60)
        if [0] in sources:
            raise MemoryError
        self.batches.append((list(sources), decoding, list(lines), prefix))
        return [[Hypothesis(list(source), -1.0, [-1.0], False)] for source in sources]


def submitted(gate: Gate, *sources: tuple[int, DecodingConfig]) -> list["Future[list[Hypothesis]]"]:
    """The first is being decoded, and the others wait."""
    batches = DynamicBatches()
    first = batches.submit(gate, [99], GREEDY, 0, ())
    assert gate.begun.wait(timeout=60)
    return [first, *(batches.submit(gate, [each], decoding, each, ()) for each, decoding in sources)]


def tokens(future: "Future[list[Hypothesis]]") -> list[int]:
    return future.result(timeout=60)[0].tokens


def test_what_waits_is_decoded_together_by_its_settings() -> None:
    gate = Gate()
    futures = submitted(gate, (1, GREEDY), (2, BEAM), (3, GREEDY))
    gate.may.set()
    assert [tokens(future) for future in futures] == [[99], [1], [2], [3]]
    assert gate.batches == [
        ([[99]], GREEDY, [0], ()),
        ([[1], [3]], GREEDY, [1, 3], ()),
        ([[2]], BEAM, [2], ()),
    ]


def test_a_batch_has_a_bound() -> None:
    gate = Gate()
    futures = submitted(gate, *((each + 1, GREEDY) for each in range(MAX_SOURCES + 1)))
    gate.may.set()
    assert not wait(futures, timeout=60).not_done
    assert [len(batch[0]) for batch in gate.batches] == [1, MAX_SOURCES, 1]


def test_a_source_that_is_cancelled_is_not_decoded() -> None:
    gate = Gate()
    futures = submitted(gate, (1, GREEDY), (2, GREEDY))
    assert futures[1].cancel()
    assert not futures[0].cancel()  # its batch has begun
    gate.may.set()
    assert tokens(futures[2]) == [2]
    assert [batch[0] for batch in gate.batches] == [[[99]], [[2]]]


def test_a_failure_is_that_of_its_batch_alone() -> None:
    gate = Gate()
    futures = submitted(gate, (0, GREEDY), (1, GREEDY), (2, BEAM))
    gate.may.set()
    for future in futures[1:3]:
        with pytest.raises(MemoryError):
            future.result(timeout=60)
    assert tokens(futures[3]) == [2]
