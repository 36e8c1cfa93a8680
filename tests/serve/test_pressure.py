"""The bounded queue: when to come again follows from how fast it has been."""

from contextlib import suppress

import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from zhuyi.serve.pressure import LONGEST_WAIT, Queue
from zhuyi.serve.refusals import Refusal


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def wait_of(queue: Queue, characters: int) -> int:
    with pytest.raises(Refusal) as refused, queue.place(characters):
        pass
    assert refused.value.status == 429
    return int(refused.value.headers["Retry-After"])


def test_when_to_come_again_follows_from_the_speed() -> None:
    clock = Clock()
    queue = Queue(100, clock)
    with queue.place(80):
        assert wait_of(queue, 50) == 1  # nothing is known yet
        clock.now += 8  # 10 characters a second
    assert queue.taken == 0
    with queue.place(80):
        assert wait_of(queue, 50) == 3  # until 30 are done
        assert wait_of(queue, 100) == 8
        clock.now += 80_000
    with queue.place(100):
        assert 3 <= wait_of(queue, 30) <= LONGEST_WAIT


def test_a_request_that_fails_gives_its_place_back_and_says_nothing_of_the_speed() -> None:
    clock = Clock()
    queue = Queue(100, clock)
    with suppress(ValueError), queue.place(60):
        clock.now += 1000
        raise ValueError
    with queue.place(100):
        assert wait_of(queue, 50) == 1


def test_what_never_has_a_place_is_not_told_to_come_again() -> None:
    with pytest.raises(Refusal, match="at most 100 characters; this counts as 101") as refused, Queue(100).place(101):
        pass
    assert refused.value.status == 413
