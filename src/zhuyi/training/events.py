"""The events that a run reports. An event is a small, frozen record, and a listener is a function that takes one.

    def listener(event: Event) -> None:
        if isinstance(event, Updated):
            print(event.step, event.loss)

Listeners are called in the order in which they were given, and the run waits for them. An exception that one raises
ends the run. Each of several processes has its own listeners: those of rank 0 get every event, the others no `Checked`,
no `Validated` and not all notices.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zhuyi.data.check import Report, TextReport
from zhuyi.data.prepare import Preparing as Preparing
from zhuyi.evaluation import Evaluation
from zhuyi.training.int8 import Int8Comparison


@dataclass(frozen=True)
class Checked:
    """The data has been prepared and checked."""

    report: Report | TextReport
    """The report of `zhuyi check` on it."""


@dataclass(frozen=True)
class Started:
    """The first update follows."""

    directory: Path
    """Of the run."""
    step: int
    """Updates that a resumed run has already made; 0 for a new run."""
    epoch: int
    """The current epoch, from 0."""
    seconds: float
    """Duration of the run in earlier processes."""
    parameters: int
    """Number of learned parameters."""
    device: str
    bf16: bool
    """Whether matrix products are computed in bf16."""
    processes: int
    threads: int
    """Of the CPU, in each process."""
    batches: int
    """In an epoch."""
    padding: float
    """Share of the positions of all batches that are padding, in [0, 1]."""


@dataclass(frozen=True)
class Updated:
    """An update of the weights has been made."""

    step: int
    """Updates made so far, this one included."""
    loss: float
    """Plain cross entropy, in nats a target token."""
    norm: float
    """Norm of the gradient, before it was clipped."""
    learning_rate: float
    source_tokens: int
    """Of the update in all processes: EOS counted, padding not."""
    target_tokens: int
    """Of the update in all processes: EOS counted, padding not."""
    positions: int
    """Source and target positions of this process's batches, padding counted."""
    passes: float
    """Passes over the data so far, in epochs."""
    seconds: float
    """Since the run began, validations and earlier processes included."""
    update_seconds: float
    """Duration of this update alone."""
    micro_batches: int
    """The number of parts that each batch is divided into, to fit into the memory of the GPU."""
    share: float
    """Share of the budget that is used; 1 or more at the end."""

    @property
    def tokens(self) -> int:
        """Source and target tokens."""
        return self.source_tokens + self.target_tokens


@dataclass(frozen=True)
class Validated:
    """The model was scored on the dev set."""

    step: int
    seconds: float
    """Since the run began; validations are not deducted."""
    loss: float
    """Plain cross entropy on the dev set, in nats a target token."""
    scores: Mapping[str, float]
    """By the name of the metric."""
    sample: tuple[str, str, str]
    """A source line of the dev set, its reference and its translation."""


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on the disk."""

    step: int
    seconds: float
    """Since the run began, this checkpoint included."""
    directory: Path
    """Of the checkpoint."""


@dataclass(frozen=True)
class Notice:
    """Information for the user."""

    text: str
    """A sentence. The notice of an interruption comes from a signal handler, where a listener must not take a lock."""
    warning: str = ""
    """The subject of a warning, to be shown before `text`; empty if this is not a warning."""


@dataclass(frozen=True)
class Finished:
    """The run has ended. If it was interrupted, `chosen`, `evaluations` and `int8` are empty."""

    step: int
    seconds: float
    interrupted: bool
    chosen: str
    """A description of the weights that are kept."""
    evaluations: Mapping[str, Evaluation]
    """By the name of the set: "dev", "test"."""
    int8: Int8Comparison | None
    """Comparison of int8 with float32 on the dev set; None without a dev set, or if int8 cannot be computed."""
    before: Mapping[str, float]
    """Scores on the dev set of the model that the run started from, by metric; empty if there is none."""


Event = Preparing | Checked | Started | Updated | Validated | Saved | Notice | Finished
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener that does nothing."""
