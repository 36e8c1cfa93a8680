"""What a run is at one moment, and the checkpoints that bring it back: weights, optimiser, chance, data position.

A checkpoint is a model directory (`checkpoints/step-000500/`, which every verb takes) with two files more:

    training.safetensors   the optimiser's moments, and the state of the random generators
    training.json          step, epoch, batches done in it, seconds, scores so far
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from zhuyi.checkpoint import WEIGHTS, Model, load_weights, model_files, read_config, read_directory, write_directory
from zhuyi.config import FILES, Config, Metric, TrainingConfig, describe
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.evaluation import better
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training.optimizers import Optimizer

MAY_CHANGE = {
    *("training.steps", "training.epochs", "training.minutes", "training.save_every", "training.keep"),
    *("training.average", "training.average_of", "training.patience", "training.log_every"),
    *("training.tensorboard", "training.learning_rate", "training.warmup", "training.clip", "training.precision"),
    *(f"data.{side}" for side in FILES),  # what is in the files must not: see `Progress.data`
    *("decoding.beam", "decoding.length_penalty", "decoding.n_best", "decoding.max_ratio"),
}
"""Settings that a resumed run may have other than the run that it goes on with."""


@dataclass
class Progress:
    """Where a run stands.

    `batches` counts those done in `epoch`, and `passes` is both in one number; `seconds` is the time spent training,
    validation included; `scores` is the dev score of each checkpoint by step; `waited` counts validations since the
    best one, `losses` is the dev loss of each; `threads` is how many of the CPU's it uses; `data` is a digest of what
    it is trained and validated on.
    """

    step: int = 0
    epoch: int = 0
    batches: int = 0
    passes: float = 0.0
    seconds: float = 0.0
    waited: int = 0
    threads: int = 0
    data: str = ""
    scores: dict[int, float] = field(default_factory=dict)
    losses: dict[int, float] = field(default_factory=dict)

    def best_steps(self, metric: Metric) -> list[int]:
        """Validated steps, best first."""
        return sorted(self.scores, key=lambda step: (*rank(metric, self.scores[step], self.losses[step]), step))

    def averaged_steps(self, training: TrainingConfig) -> list[int]:
        """Validated steps whose weights are to be averaged, as `training.average` and `average_of` say."""
        ranked = self.best_steps(training.metric) if training.average_of == "best" else sorted(self.scores)[::-1]
        return ranked[: training.average]

    def to_json(self) -> bytes:
        """For `training.json`."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Progress":
        """From `training.json`."""
        values = json.loads(content)
        for name in ("scores", "losses"):
            values[name] = {int(step): value for step, value in values[name].items()}
        return cls(**values)


def rank(metric: Metric, score: float, loss: float) -> tuple[float, float]:
    """What to sort validations by: the best score, and of equal scores the lowest loss.

    Equals are common: BLEU is 0 on words and other short lines, exact match is 0 at first and 100 in the end.
    """
    return (-score if better(metric, 1.0, 0.0) else score), loss


class Checkpoints:
    """The checkpoints of one run, on disk.

    Args:
        directory: the run's; they are in `checkpoints` below it.
        config: of the run: how many are kept.

    Attributes:
        newest: the step that was saved or restored last, if any.
    """

    def __init__(self, directory: Path, config: Config) -> None:
        self._directory = directory / "checkpoints"
        self._training = config.training
        self.newest: int | None = None

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is, or will be."""
        return self._directory / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """Steps with a checkpoint, oldest first; whether they are whole, reading tells."""
        names = [path.name.removeprefix("step-") for path in self._directory.glob("step-*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def whole(self, console: Console | None = None) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Steps and files of the checkpoints that can be read, newest first; `console` is told of the others."""
        for step in reversed(self.steps()):
            try:
                yield step, read_directory(self.path(step))
            except CheckpointError as error:
                if console is not None:
                    console.print(f"[yellow]Passing over a broken checkpoint:[/] {error}")

    def save(self, model: Model, optimizer: Optimizer, progress: Progress) -> None:
        """Write the checkpoint of this moment, then remove those that are no longer wanted.

        Raises:
            CheckpointError: when it cannot be written; the older ones are whole.
        """
        with optimizer.averaged():  # a checkpoint is a model to be used: its weights are those that were validated
            files = model_files(model, card="A checkpoint of a training run.\n")
            files["training.safetensors"] = save_tensors({**_moments(model.transformer, optimizer), **_chance()})
        files["training.json"] = progress.to_json()
        write_directory(self.path(progress.step), files)
        self.newest = progress.step
        for step in set(self.steps()) - self._wanted(progress):
            shutil.rmtree(self.path(step))

    def tokenizers(self, config: Config) -> Tokenizers | None:
        """Those of the newest checkpoint that is whole; None if there is none.

        Raises:
            ConfigError: if `config` has a setting that must not change, other than the run that is gone on with.
        """
        for step, files in self.whole():
            _same_settings(read_config(self.path(step), files), config)
            return Tokenizers.load(self.path(step))
        return None

    def restore(self, model: Model, optimizer: Optimizer, console: Console) -> Progress | None:
        """Bring back the newest checkpoint that is whole; None if there is none."""
        for step, files in self.whole(console):
            load_weights(model.transformer, load_tensors(files[WEIGHTS]))
            tensors = load_tensors(files["training.safetensors"])
            _restore_moments(model.transformer, optimizer, tensors)
            optimizer.exchange()
            _restore_chance(tensors)
            self.newest = step
            return Progress.from_json(files["training.json"])
        return None

    def average(self, steps: list[int]) -> dict[str, Tensor]:
        """The mean of the weights of several checkpoints."""
        total: dict[str, Tensor] = {}
        for step in steps:
            for name, tensor in load_tensors(read_directory(self.path(step))[WEIGHTS]).items():
                total[name] = total[name] + tensor.double() if name in total else tensor.double()
        return {name: (tensor / len(steps)).float() for name, tensor in total.items()}

    def _wanted(self, progress: Progress) -> set[int]:
        """The newest ones, the best one, and those that would be averaged if the run ended now.

        Later ones than this step were broken when the run was resumed: it is about to write them again.
        """
        newest = [step for step in self.steps() if step <= progress.step][-self._training.keep :]
        best = progress.best_steps(self._training.metric)[:1]
        return {*newest, *best, *progress.averaged_steps(self._training)}


def _same_settings(then: Config, now: Config) -> None:
    before = {f"{section}.{key}": value for section, key, value, _ in describe(then)}
    for section, key, value, _ in describe(now):
        name = f"{section}.{key}"
        if section and name not in MAY_CHANGE and before[name] != value:
            raise ConfigError(
                f"{name} = {value!r}, but the run to be resumed has {before[name]!r}: set it back, or start another "
                "run with another --out"
            )


def _moments(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    return {
        f"optimizer.{name}.{moment}": tensor.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        for moment, tensor in optimizer.state[parameter].items()
    }


def _restore_moments(model: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        prefix = f"optimizer.{name}."
        optimizer.state[parameter] = {
            key.removeprefix(prefix): tensor.to(parameter.device)
            for key, tensor in tensors.items()
            if key.startswith(prefix) and "." not in key.removeprefix(prefix)
        }


def _chance() -> dict[str, Tensor]:
    states = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random.cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_chance(tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available() and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])
