"""Decides when a run validates and when it ends: budgets, patience, and Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from zhuyi.config import TrainingConfig
from zhuyi.training.events import Listener, Notice
from zhuyi.training.run_state import RunState

VALIDATIONS = 20
"""The number of validations and checkpoints of a run, unless `training.save_every` is set."""
TRAIN_TO_VALIDATION_RATIO = 3
"""With a budget in minutes, training between two validations lasts at least this many times as long as the first."""


def share_used(training: TrainingConfig, state: RunState) -> float:
    """Share of the budget that is used; 1 or more if the steps, the epochs or the minutes are used up."""
    shares = [0.0]
    if training.steps is not None:
        shares.append(state.step / training.steps)
    if training.epochs is not None:
        shares.append(state.passes / training.epochs)
    if training.minutes is not None:
        shares.append(state.seconds / 60 / training.minutes)
    return max(shares)


def out_of_patience(training: TrainingConfig, state: RunState) -> bool:
    """Whether `training.patience` validations in a row were no better than the best one."""
    return training.patience is not None and state.waited >= training.patience


def is_due(training: TrainingConfig, state: RunState, before: float, after: float, not_before: float) -> bool:
    """Whether to validate and save after an update.

    Args:
        training: of the run.
        state: after the update.
        before: the share of the budget that was used before the update.
        after: the share of the budget that is used after it.
        not_before: with a budget in minutes, the earliest time of the next validation, in seconds of the run.
    """
    if state.step in training.keep_at:
        return True
    if training.save_every is not None:
        return state.step % training.save_every == 0
    if training.minutes is not None and state.seconds < not_before:
        return False
    return int(after * VALIDATIONS) > int(before * VALIDATIONS)


@contextmanager
def interruption(notify: Listener) -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C or SIGTERM, which end the run after its update. A second one ends it at once.

    The signal handler itself gives the notice, so that it appears before the end of the update. Outside of the main
    thread, where Python delivers no signals, the list stays empty.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        notify(
            Notice(
                "Stopping after this step (and its validation, if it has one), and saving. "
                "Press Ctrl-C again to stop at once, without what came after the last checkpoint."
            )
        )

    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, note) for number in signals]
    except ValueError:
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
