"""What a run is at one moment, and the checkpoints that bring it back: weights, optimiser, chance, data position.

A checkpoint is a model directory (`checkpoints/step-000500/`, which every verb takes) with two files more:

    training.safetensors   the optimiser's moments, and the state of the random generators
    training.json          step, epoch, batches done in it, seconds, scores so far
"""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from zhuyi.checkpoint import WEIGHTS, Model, load_weights, model_files, read_directory, write_directory
from zhuyi.config import Config, Metric, describe
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.evaluation import better
from zhuyi.text.tokenizer import Tokenizers

MAY_CHANGE = {
    *("training.steps", "training.epochs", "training.minutes", "training.save_every", "training.keep"),
    *("training.average", "training.average_of", "training.patience", "training.log_every"),
    *("training.tensorboard", "training.metric", "data.test_source", "data.test_target"),
    *("decoding.beam", "decoding.length_penalty", "decoding.n_best", "decoding.max_ratio"),
}
"""Settings that a resumed run may have other than the run that it goes on with."""


@dataclass
class Progress:
    """Where a run stands.

    `batches` counts those done in `epoch`; `seconds` is the time spent training, validation included; `scores` is the
    dev score of each checkpoint by step; `waited` counts validations since the best one.
    """

    step: int = 0
    epoch: int = 0
    batches: int = 0
    seconds: float = 0.0
    saved: int = 0
    waited: int = 0
    scores: dict[int, float] = field(default_factory=dict)

    def best_steps(self, metric: Metric) -> list[int]:
        """Validated steps, best first; of equals, the earlier."""
        sign = -1 if better(metric, 1.0, 0.0) else 1
        return sorted(self.scores, key=lambda step: (sign * self.scores[step], step))

    def to_json(self) -> bytes:
        """For `training.json`."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Progress":
        """From `training.json`."""
        values = json.loads(content)
        values["scores"] = {int(step): score for step, score in values["scores"].items()}
        return cls(**values)


class Checkpoints:
    """The checkpoints of one run, on disk.

    Args:
        directory: the run's; they are in `checkpoints` below it.
        config: of the run: how many are kept.
    """

    def __init__(self, directory: Path, config: Config) -> None:
        self._directory = directory / "checkpoints"
        self._training = config.training

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is, or will be."""
        return self._directory / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """Steps with a checkpoint, oldest first; whether they are whole, reading tells."""
        return sorted(int(path.name.removeprefix("step-")) for path in self._directory.glob("step-*"))

    def save(self, model: Model, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Write the checkpoint of this moment, then remove those that are no longer wanted.

        Raises:
            CheckpointError: when it cannot be written; the older ones are whole.
        """
        files = model_files(model, card="A checkpoint of a training run.\n")
        files["training.safetensors"] = save_tensors({**_moments(model.transformer, optimizer), **_chance()})
        files["training.json"] = progress.to_json()
        write_directory(self.path(progress.step), files)
        for step in set(self.steps()) - self._wanted(progress):
            shutil.rmtree(self.path(step))

    def tokenizers(self) -> Tokenizers | None:
        """Those of the newest checkpoint that is whole; None if there is none."""
        for step in reversed(self.steps()):
            try:
                read_directory(self.path(step))
            except CheckpointError:
                continue
            return Tokenizers.load(self.path(step))
        return None

    def restore(self, model: Model, optimizer: torch.optim.Optimizer, console: Console) -> Progress | None:
        """Bring back the newest checkpoint that is whole; None if there is none.

        Raises:
            ConfigError: if the run was made with another setting that must not change.
        """
        for step in reversed(self.steps()):
            try:
                files = read_directory(self.path(step))
            except CheckpointError as error:
                console.print(f"[yellow]Passing over a broken checkpoint:[/] {error}")
                continue
            _same_settings(Config.model_validate_json(files["config.json"]), model.config)
            load_weights(model.transformer, load_tensors(files[WEIGHTS]))
            tensors = load_tensors(files["training.safetensors"])
            _restore_moments(model.transformer, optimizer, tensors)
            _restore_chance(tensors)
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
        """The newest ones, the best one and, if the best are averaged, these."""
        best = progress.best_steps(self._training.metric)
        best = best[: self._training.average if self._training.average_of == "best" else 1]
        newest = self.steps()[-max(self._training.keep, self._training.average) :]
        return {*newest, *best}


def _same_settings(then: Config, now: Config) -> None:
    before = {f"{section}.{key}": value for section, key, value, _ in describe(then)}
    for section, key, value, _ in describe(now):
        name = f"{section}.{key}"
        if section and name not in MAY_CHANGE and before[name] != value:
            raise ConfigError(
                f"{name} = {value!r}, but the run to be resumed has {before[name]!r}: set it back, or start another "
                "run with another --out"
            )


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"optimizer.{name}.{moment}": tensor.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        for moment, tensor in optimizer.state[parameter].items()
    }


def _restore_moments(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
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
