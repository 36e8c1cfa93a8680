"""What a run reports: each event is a small, frozen record, and a listener is a function that takes one.

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
    """The data is ready, and was checked."""

    report: Report | TextReport
    """What `zhuyi check` says of it."""


@dataclass(frozen=True)
class Started:
    """The first update follows."""

    directory: Path
    """Of the run."""
    step: int
    """Updates that were made before, by the run that is resumed; 0 for a new one."""
    epoch: int
    """The epoch that the run is in, from 0."""
    seconds: float
    """Since the run began, in earlier processes."""
    parameters: int
    """Numbers that are learned."""
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
    """The weights have changed."""

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
    """That this update took, and nothing else."""
    micro_batches: int
    """How many parts each batch was cut into, so that it fits into the memory of the GPU."""
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
    """Something that the user should know."""

    text: str
    """A sentence. That of an interruption comes from a signal handler: a listener must take no lock for it."""
    warning: str = ""
    """What it warns of, in a few words before `text`; empty where it is no warning."""


@dataclass(frozen=True)
class Finished:
    """The run has ended. Of an interrupted one nothing but `step` and `seconds` is known."""

    step: int
    seconds: float
    interrupted: bool
    chosen: str
    """Which weights were kept, in words."""
    evaluations: Mapping[str, Evaluation]
    """By the name of the set: "dev", "test"."""
    int8: Int8Comparison | None
    """What int8 changes on the dev set; None without one, and where int8 cannot be computed."""
    before: Mapping[str, float]
    """Scores on the dev set of the model that the run began with, by metric; empty where it began with none."""


Event = Preparing | Checked | Started | Updated | Validated | Saved | Notice | Finished
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener that does nothing."""
