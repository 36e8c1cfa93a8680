"""Chooses the number of CPU threads of a run: the fastest one, which is often 1 for a small model."""

import time
from collections.abc import Callable

import torch
from torch import nn

from zhuyi.config import TrainingConfig
from zhuyi.data.batches import collate, plan
from zhuyi.data.sequences import Sequences
from zhuyi.training.distributed import World
from zhuyi.training.events import Event, Listener, Notice, Updated
from zhuyi.training.run_state import RunState
from zhuyi.training.update import gradient


def set_threads(objective: nn.Module, data: Sequences, training: TrainingConfig, state: RunState, world: World) -> int:
    """Set the number of CPU threads, and return it.

    It is that of the configuration; or that of a resumed run, because the last bits of sums depend on it; or the
    fastest. With several processes, it is the number that torchrun has set.
    """
    threads = training.threads or state.threads
    if threads:
        torch.set_num_threads(threads)
        return threads
    if world.device.type != "cpu" or world.size > 1:
        return torch.get_num_threads()
    return try_threads(objective, data, training)


def try_threads(objective: nn.Module, data: Sequences, training: TrainingConfig) -> int:
    """Set the number of threads that is fastest for a batch now, and return it. Training state is not affected."""
    batch = collate(data, plan(data, training.tokens_per_batch, training.seed, epoch=0)[0])
    with torch.random.fork_rng([]):
        threads = fastest_threads(lambda: gradient(objective, [batch], batch.target_tokens))
    objective.zero_grad()
    return threads


class PaceWatch:
    """A listener that tries other numbers of threads when a run has become much slower.

    Args:
        try_again: sets the fastest number of threads, and returns it.
        state: of the run; its `threads` are updated.
        notify: gets a notice.
    """

    def __init__(self, try_again: Callable[[], int], state: RunState, notify: Listener) -> None:
        self._try_again, self._state, self._notify = try_again, state, notify
        self._pace = Pace()

    def __call__(self, event: Event) -> None:
        """Measure the speed of an update."""
        if not isinstance(event, Updated) or not self._pace.collapsed(event.tokens, event.update_seconds):
            return
        before, self._state.threads = self._state.threads, self._try_again()
        now = self._state.threads
        change = f"from {before} CPU threads to {now}" if before != now else f"{now} CPU threads are still the fastest"
        text = f"another program may have taken a core; {change}."
        self._notify(Notice(text, warning=f"Less than half as fast since step {event.step:,}"))


def fastest_threads(trial: Callable[[], object]) -> int:
    """Set torch to the number of CPU threads that runs `trial` fastest, and return it.

    The number is halved, beginning with the current one, as long as that is not slower. Threads wait for each other
    after every operation, and a small model has many short ones, so waiting may cost more than the threads save,
    especially on a busy machine.
    """
    threads = torch.get_num_threads()
    fastest = _seconds(trial)
    while threads > 1:
        torch.set_num_threads(threads // 2)
        seconds = _seconds(trial)
        if seconds > fastest:
            break
        threads, fastest = threads // 2, seconds
    torch.set_num_threads(threads)
    return threads


class Pace:
    """Detects that a run has become much slower, for instance because another program uses a core."""

    WINDOW_SECONDS = 10.0
    COLLAPSE = 0.5

    def __init__(self) -> None:
        self._usual = 0.0
        self._tokens, self._seconds = 0, 0.0

    def collapsed(self, tokens: int, seconds: float) -> bool:
        """Whether the last ten seconds of updates were less than half as fast as the fastest before.

        If they were, later updates are compared with their speed.

        Args:
            tokens: source and target tokens of the last update.
            seconds: duration of that update alone.
        """
        self._tokens += tokens
        self._seconds += seconds
        if self._seconds < self.WINDOW_SECONDS:
            return False
        rate = self._tokens / self._seconds
        collapsed = rate < self.COLLAPSE * self._usual
        self._usual = rate if collapsed else max(rate, self._usual)
        self._tokens, self._seconds = 0, 0.0
        return collapsed


def _seconds(trial: Callable[[], object]) -> float:
    """The shorter duration of two trials, after one to warm up."""
    trial()
    times = []
    for _ in range(2):
        start = time.perf_counter()
        trial()
        times.append(time.perf_counter() - start)
    return min(times)
