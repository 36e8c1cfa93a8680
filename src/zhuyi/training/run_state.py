"""Where a run stands: its position in the data, its scores so far, and what they depend on."""

import json
from dataclasses import asdict, dataclass, field

from zhuyi.config import Metric, TrainingConfig
from zhuyi.errors import CheckpointError
from zhuyi.evaluation import better

NOISE_PER_CENT = 1.0
"""By how much a score must be better than the worst one before it counts more than the dev loss."""

RUN_ADVICE = ("choose another directory with --out", "free some space and go on with --resume")
"""What to do where the files of a run cannot be written, and where the disk is full; see `files.ADVICE`."""


@dataclass
class RunState:
    """The one thing of a run that changes, weights and optimiser state aside. A checkpoint has it as JSON."""

    step: int = 0
    """Updates made."""
    epoch: int = 0
    """The epoch that the run is in, from 0."""
    batches: int = 0
    """Batches of the epoch that were trained on."""
    passes: float = 0.0
    """Passes over the data, in epochs."""
    seconds: float = 0.0
    """Since the run began, over all of its processes."""
    waited: int = 0
    """Validations since the best one."""
    threads: int = 0
    """CPU threads; 0 before they are chosen."""
    micro_batches: int = 1
    """How many parts a batch is cut into, so that each fits into the memory of the GPU."""
    fingerprint: str = ""
    """Of what computes the run, as `precision.fingerprint` gives it: only the same one gives the same bytes."""
    data_digest: str = ""
    """Of the training and dev lines."""
    segmentation: int = 0
    """A checksum of how BPE-dropout has segmented this epoch."""
    dev_lines: int = 0
    """How many lines a validation scores, before and after a resumption."""
    engine: str = ""
    """Which engine decodes in validations, before and after a resumption; empty before the native one was tried."""
    scores: dict[int, float] = field(default_factory=dict)
    """The decoded score of each validation, by its step."""
    losses: dict[int, float] = field(default_factory=dict)
    """The dev loss of each validation, by its step."""
    before: dict[str, float] = field(default_factory=dict)
    """The scores on all dev lines of the weights that the run began with, where they are another model's: by metric."""
    licence: str | None = None
    """Of the model that the run began with, as its card says."""
    aim: float = 0.0
    """The loss that training aims at: see `objective.aim`."""

    def best_steps(self, metric: Metric) -> list[int]:
        """Validated steps, best first."""
        return sorted(self.scores, key=lambda step: (*self.rank(metric, self.scores[step], self.losses[step]), step))

    def rank(self, metric: Metric, score: float, loss: float) -> tuple[float, float]:
        """What to sort validations by: the best score, and of equal scores the loss that is nearest to the aim.

        Equal scores are common: BLEU is 0 on words and other short lines, exact match is 0 at first and 100 in the end.
        Scores within `NOISE_PER_CENT` of the worst count as equal too: they only say which repetitions an untrained
        model happens to write. With label smoothing, a loss below the aim is that of a model which is surer than it was
        asked to be, as it may be in the middle of a run.
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
            CheckpointError: if it is another version's.
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
