"""The state of a run: its position in the data, its scores so far, and what they depend on."""

import json
from dataclasses import asdict, dataclass, field

from zhuyi.config import Metric, TrainingConfig
from zhuyi.errors import CheckpointError
from zhuyi.evaluation import better

NOISE_PER_CENT = 1.0
"""Scores that are better than the worst possible score by no more than this are ranked by the dev loss."""

RUN_ADVICE = ("choose another directory with --out", "free some space and go on with --resume")
"""What to do if the files of a run cannot be written, and if the disk is full: see `files.ADVICE`."""


@dataclass
class RunState:
    """Everything that changes during a run, except for weights and optimiser state. Checkpoints store it as JSON."""

    step: int = 0
    """Updates made."""
    epoch: int = 0
    """The current epoch, from 0."""
    batches: int = 0
    """Batches of the epoch that are done."""
    passes: float = 0.0
    """Passes over the data, in epochs."""
    seconds: float = 0.0
    """Duration of the run, including earlier processes."""
    waited: int = 0
    """Validations since the best one."""
    threads: int = 0
    """CPU threads; 0 before they are chosen."""
    micro_batches: int = 1
    """The number of parts that a batch is divided into, to fit into the memory of the GPU."""
    fingerprint: str = ""
    """The `precision.fingerprint` of the run. A resumed run is exact only if it is the same."""
    data_digest: str = ""
    """Of the training and dev lines."""
    segmentation: int = 0
    """A checksum of the segmentation of this epoch by BPE-dropout."""
    dev_lines: int = 0
    """The number of lines that each validation scores, also after the run is resumed."""
    engine: str = ""
    """The engine that decodes in validations, also after the run is resumed; empty before the first one."""
    scores: dict[int, float] = field(default_factory=dict)
    """The decoded score of each validation, by its step."""
    losses: dict[int, float] = field(default_factory=dict)
    """The dev loss of each validation, by its step."""
    before: dict[str, float] = field(default_factory=dict)
    """The scores, on all dev lines, of the model that the run started from, by metric; empty if there is none."""
    licence: str | None = None
    """The licence of the model that the run started from, according to its card."""
    aim: float = 0.0
    """The dev loss that is ideal: see `objective.aim`."""

    def best_steps(self, metric: Metric) -> list[int]:
        """Validated steps, best first."""
        return sorted(self.scores, key=lambda step: (*self.rank(metric, self.scores[step], self.losses[step]), step))

    def rank(self, metric: Metric, score: float, loss: float) -> tuple[float, float]:
        """The key to sort validations by, best first: the score and, for equal scores, how far the loss is from `aim`.

        Equal scores are common: BLEU is 0 for words and other short lines; exact match is 0 at first and may be 100 at
        the end. Scores within `NOISE_PER_CENT` of the worst count as equal too, since they depend on the repetitions
        that an untrained model happens to write. With label smoothing, a loss below `aim` shows a model that is more
        certain than its targets, as it may be in the middle of a run.
        """
        worst_first = better(metric, 1.0, 0.0)
        counted = -max(score, NOISE_PER_CENT) if worst_first else min(score, 100.0 - NOISE_PER_CENT)
        return counted, abs(loss - self.aim)

    def averaged_steps(self, training: TrainingConfig) -> list[int]:
        """Validated steps whose weights are to be averaged, as `training.average` and `average_of` say."""
        ranked = self.best_steps(training.metric) if training.average_of == "best" else sorted(self.scores)[::-1]
        return ranked[: training.average]

    def to_json(self) -> bytes:
        """For `run_state.json`."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> "RunState":
        """From `run_state.json`.

        Raises:
            CheckpointError: if another version of zhuyi has written it.
        """
        try:
            values = json.loads(content)
            for name in ("scores", "losses"):
                values[name] = {int(step): value for step, value in values[name].items()}
            return cls(**values)
        except (TypeError, KeyError) as error:
            raise CheckpointError(
                "the run to be resumed was made by another version of zhuyi: go on with that one, or start another run "
                "with another --out"
            ) from error
