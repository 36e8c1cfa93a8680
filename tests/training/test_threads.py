import time

import pytest
import torch

from zhuyi.training.events import Event, Notice, Updated
from zhuyi.training.run_state import RunState
from zhuyi.training.threads import PaceWatch, fastest_threads


def test_fewer_threads_are_taken_where_they_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that says what each number of threads costs; torch is left at the cheapest."""
    before = torch.get_num_threads()
    costs, now = {8: 5.0, 4: 3.0, 2: 4.0, 1: 1.0}, [0.0]
    current = [8]
    monkeypatch.setattr(torch, "get_num_threads", lambda: current[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: current.__setitem__(0, threads))
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def trial() -> None:
        now[0] += costs[current[0]]

    assert fastest_threads(trial) == 4  # 2 is slower than 4: nobody asks about 1
    assert current == [4]
    monkeypatch.undo()
    assert torch.get_num_threads() == before


def updated(step: int, seconds: float) -> Updated:
    return Updated(
        step=step,
        loss=1.0,
        norm=1.0,
        learning_rate=0.1,
        source_tokens=50,
        target_tokens=50,
        positions=100,
        passes=0.0,
        seconds=0.0,
        update_seconds=seconds,
        micro_batches=1,
        share=0.0,
    )


def test_a_run_that_becomes_much_slower_tries_its_threads_again() -> None:
    """Another program takes a core after 30 updates: once the speed of ten seconds is less than half of the usual."""
    state, notices = RunState(threads=2), list[Event]()
    watch = PaceWatch(lambda: 1, state, notices.append)
    for step in range(1, 31):
        watch(updated(step, 1.0))
    assert (state.threads, notices) == (2, [])
    for step in range(31, 61):
        watch(updated(step, 5.0))
    assert state.threads == 1
    [notice] = notices
    assert isinstance(notice, Notice)
    assert "since step 32" in notice.warning
    assert "from 2 CPU threads to 1" in notice.text
