"""What a run is at one moment, and the checkpoints that bring it back: weights, optimiser, chance, data position.

A checkpoint is a model directory (`checkpoints/step-000500/`, which every verb takes) with a few files more:

    training.safetensors   the optimiser's moments, and the state of the random generators of each rank
    training.json          step, epoch, batches done in it, seconds, scores so far
    shard-....safetensors  where the run is sharded: the moments, in parts, each written by the rank that has it

Any number of processes reads any checkpoint: torch.distributed.checkpoint puts together for each rank what it needs of
the safetensors files. (That is its Hugging Face format. Its own has a pickle in it, and no pickle is ever loaded.)
"""

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from zhuyi.checkpoint import (
    DECODING,
    MANIFEST,
    WEIGHTS,
    Model,
    load_config_of,
    model_files,
    read_config,
    read_directory,
    write_directory,
)
from zhuyi.config import FILES, Config, DecodingConfig, Metric, TrainingConfig, changed, describe, readable
from zhuyi.errors import CheckpointError, ConfigError, DamagedError
from zhuyi.evaluation import better
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training.distributed import ALONE, World, gather_weights, is_sharded
from zhuyi.training.optimizers import Optimizer

MAY_CHANGE = {
    *("training.steps", "training.epochs", "training.minutes", "training.save_every", "training.keep"),
    *("training.average", "training.average_of", "training.patience", "training.log_every"),
    *("training.tensorboard", "training.learning_rate", "training.warmup", "training.clip", "training.precision"),
    *("training.shard", "training.deterministic", "training.device"),
    *(f"data.{side}" for side in FILES),  # what is in the files must not: see `Progress.data`
    *(f"decoding.{key}" for key in DecodingConfig.model_fields),
}
"""Settings that a resumed run may have other than the run that it goes on with."""


NOISE = 1.0
"""Per cent by which a score must be better than the worst before it counts more than the dev loss."""


@dataclass
class Progress:
    """Where a run stands.

    `batches` counts those done in `epoch`, and `passes` is both in one number; `seconds` is the time spent training,
    validation included; `scores` is the dev score of each checkpoint by step; `waited` counts validations since the
    best one, `losses` is the dev loss of each; `threads` is how many of the CPU's it uses; `pieces` is how many a batch
    is cut into, to fit into memory; `dev_lines` is how many lines a validation looks at, before and after a resumption;
    `engine` is what computes it, and the same bytes can only be had of the same; `data` is a digest of what it is
    trained and validated on, and `cut` of how BPE-dropout has cut it in this epoch.
    """

    step: int = 0
    epoch: int = 0
    batches: int = 0
    passes: float = 0.0
    seconds: float = 0.0
    waited: int = 0
    threads: int = 0
    pieces: int = 1
    engine: str = ""
    data: str = ""
    cut: int = 0
    dev_lines: int = 0
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
        """From `training.json`.

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


def rank(metric: Metric, score: float, loss: float) -> tuple[float, float]:
    """What to sort validations by: the best score, and of equal scores the lowest loss.

    Equals are common: BLEU is 0 on words and other short lines, exact match is 0 at first and 100 in the end. Within
    `NOISE` of the worst, scores are equal too: there they say which repetitions a model without skill happens to write.
    """
    return (-max(score, NOISE) if better(metric, 1.0, 0.0) else min(score, 100.0 - NOISE)), loss


class Checkpoints:
    """The checkpoints of one run, on disk.

    Args:
        directory: the run's; they are in `checkpoints` below it.
        config: of the run: how many are kept.
        world: the processes of the run. They all see `directory`; saving and restoring takes all of them.

    Attributes:
        newest: the step that was saved or restored last, if any.
        epoch: the one that it was in.
    """

    def __init__(self, directory: Path, config: Config, world: World = ALONE) -> None:
        self._directory = directory / "checkpoints"
        self._training = config.training
        self._world = world
        self.newest: int | None = None
        self.epoch = 0

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is, or will be."""
        return self._directory / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """Steps with a checkpoint, oldest first; whether they are whole, reading tells."""
        names = [path.name.removeprefix("step-") for path in self._directory.glob("step-*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def whole(self, console: Console | None = None) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Steps and small files of the checkpoints that can be read, newest first; `console` is told of the others."""
        for step in reversed(self.steps()):
            try:
                yield step, read_directory(self.path(step), lambda name: name.endswith(".json"))
            except DamagedError as error:
                if console is not None:
                    console.print(f"[yellow]Passing over a broken checkpoint:[/] {error}")

    def save(self, model: Model, trained: Transformer, optimizer: Optimizer, progress: Progress) -> None:
        """Write the checkpoint of this moment, then remove those that are no longer wanted.

        Args:
            model: its configuration and tokenisers.
            trained: the transformer whose parameters `optimizer` has: the model's own, or a sharded one.
            optimizer: with its moments.
            progress: of this moment.

        Raises:
            CheckpointError: when it cannot be written; the older ones are whole.
        """
        chance = _chance(self._world)
        with optimizer.averaged():  # a checkpoint is a model to be used: its weights are those that were validated
            gather_weights(trained, model.transformer, self._world)
            moments = _moments(trained, optimizer)
            shards = self._write_shards(moments) if is_sharded(trained) else []
            with self._world.united():
                if self._world.is_main:
                    files = model_files(model, card="A checkpoint of a training run.\n")
                    kept = {} if shards else {name: tensor.cpu().contiguous() for name, tensor in moments.items()}
                    files["training.safetensors"] = save_tensors({**kept, **chance})
                    files["training.json"] = progress.to_json()
                    shutil.rmtree(self.path(progress.step), ignore_errors=True)  # if it is there, then it is broken
                    write_directory(self.path(progress.step), files, shards)
                    for step in set(self.steps()) - self._wanted(progress):
                        shutil.rmtree(self.path(step))
        self.newest, self.epoch = progress.step, progress.epoch

    def begun(self, config: Config, console: Console) -> tuple[Config, Tokenizers | None]:
        """Configuration and tokenizers of the run: those of the newest checkpoint that is whole, if there is one.

        Its epoch is noted; what it chose and `config` leaves open stays as it is. `console` shows settings that
        may be others than the run's, and are.

        Raises:
            ConfigError: if `config` has a setting that must not change, other than the run that is gone on with.
        """
        for step, files in self.whole():
            then = read_config(self.path(step), files)
            before = then.decoding.model_dump()
            given = {key: value for key, value in config.decoding if value not in (None, before[key])}
            decoding = changed(self._kept(step, then.decoding), given)
            config = config.model_copy(update={"decoding": decoding})
            _same_settings(then, config, console)
            self.epoch = Progress.from_json(files["training.json"]).epoch
            return config, Tokenizers.load(self.path(step))
        return config, None

    def _kept(self, step: int, decoding: DecodingConfig) -> DecodingConfig:
        """What the owner kept in the model of the run's directory after the checkpoint of `step`, or `decoding`."""
        out = self._directory.parent
        try:
            if (out / DECODING).stat().st_mtime < (self.path(step) / MANIFEST).stat().st_mtime:
                return decoding  # the model is older than the checkpoint
            return load_config_of(out).decoding
        except (OSError, CheckpointError):  # there is none, or none that is whole
            return decoding

    def restore(self, trained: Transformer, optimizer: Optimizer, console: Console) -> Progress | None:
        """Bring back the newest checkpoint that is whole; None if there is none. `trained` is that of `save`."""
        newest = -1
        with self._world.united():
            if self._world.is_main:
                newest = next((step for step, _ in self.whole(console)), newest)
        newest = int(self._world.told(newest))
        if newest < 0:
            return None
        self.newest = newest
        with self._world.united(), _named_in_utf8(self.path(newest)) as path:
            _restore_tensors(trained, optimizer, path)
            optimizer.exchange()
            _restore_chance(path / "training.safetensors", self._world, self._training.seed, newest)
            progress = Progress.from_json((self.path(newest) / "training.json").read_bytes())
        self.epoch = progress.epoch
        return progress

    def average(self, steps: list[int]) -> dict[str, Tensor]:
        """The mean of the weights of several checkpoints."""
        total: dict[str, Tensor] = {}
        for step in steps:
            files = read_directory(self.path(step), lambda name: name == WEIGHTS)
            for name, tensor in load_tensors(files[WEIGHTS]).items():
                total[name] = total[name] + tensor.double() if name in total else tensor.double()
        return {name: (tensor / len(steps)).float() for name, tensor in total.items()}

    def _write_shards(self, tensors: dict[str, Tensor]) -> list[Path]:
        """Write what this rank has of `tensors`; gives the files of all ranks."""
        from torch.distributed.checkpoint.api import CheckpointException
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import save

        folder = self._directory / ".shards"
        with self._world.united():
            if self._world.is_main:
                shutil.rmtree(folder, ignore_errors=True)
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        with self._world.united():
            try:
                save(tensors, storage_writer=writer, process_group=self._world.patient)
            except CheckpointException as error:  # the same one on every rank
                causes = "; ".join(str(cause[0]) for cause in error.failures.values())
                raise CheckpointError(
                    f"{folder}: cannot write: {causes}; free some space and go on with --resume"
                ) from error
        return sorted(folder.glob("*.safetensors"))

    def _wanted(self, progress: Progress) -> set[int]:
        """The newest ones, the best one, and those that would be averaged if the run ended now.

        Later ones than this step were broken when the run was resumed: it is about to write them again.
        """
        newest = [step for step in self.steps() if step <= progress.step][-self._training.keep :]
        best = progress.best_steps(self._training.metric)[:1]
        return {*newest, *best, *progress.averaged_steps(self._training)}


def _same_settings(then: Config, now: Config, console: Console) -> None:
    before = {f"{section}.{key}": value for section, key, value, _ in describe(then)}
    others = []
    for section, key, value, _ in describe(now):
        name = f"{section}.{key}"
        if not section or before[name] == value:
            continue
        if name in MAY_CHANGE:
            others.append(f"{name} = {value!r} (it was {before[name]!r})")
        else:
            raise ConfigError(
                f"{name} = {value!r}, but the run to be resumed has {before[name]!r}: give it the settings of that "
                "run again, or start another run with another --out"
            )
    if others:
        console.print(f"Other than before: {', '.join(others)}.", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _named_in_utf8(directory: Path) -> Iterator[Path]:
    """The directory under a name that safetensors can open: another one, where its own is not UTF-8."""
    if readable(str(directory)) == str(directory):
        yield directory
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "link")
        link.symlink_to(directory.resolve())
        yield link


def _moments(trained: Transformer, optimizer: Optimizer) -> dict[str, Tensor]:
    return {
        f"optimizer.{name}.{moment}": tensor.detach()
        for name, parameter in trained.named_parameters()
        for moment, tensor in optimizer.state[parameter].items()
    }


def _restore_tensors(trained: Transformer, optimizer: Optimizer, directory: Path) -> None:
    """Weights and moments, of which each rank reads the parts that it has."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(directory))
    stored = reader.read_metadata().state_dict_metadata
    tensors: dict[str, Tensor] = {}
    for name, parameter in trained.named_parameters():
        tensors[name] = parameter.detach()
        optimizer.state[parameter] = {}
        for key, what in stored.items():
            moment = key.removeprefix(f"optimizer.{name}.")
            if moment == key or "." in moment:
                continue
            assert isinstance(what, TensorStorageMetadata)
            one = torch.zeros((), device=parameter.device)  # such as the number of steps
            like = parameter.detach() if what.size == parameter.shape else one
            tensors[key] = optimizer.state[parameter][moment] = torch.zeros_like(like)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it reads alone is meant: each rank knows what it needs
        load(tensors, storage_reader=reader, no_dist=True)


def _chance(world: World) -> dict[str, Tensor]:
    """The state of every rank's generators. Those of rank 0 bear no number, as in a run of one process."""
    states = {"random.cpu": torch.get_rng_state()}
    if world.device.type == "cuda":
        states["random.cuda"] = torch.cuda.get_rng_state()
    return {
        _of_rank(name, rank): each for name, state in states.items() for rank, each in enumerate(world.gather(state))
    }


def _restore_chance(path: Path, world: World, seed: int, step: int) -> None:
    """This rank's generators; new ones where the run had fewer ranks."""
    cpu, cuda = _of_rank("random.cpu", world.rank), _of_rank("random.cuda", world.rank)
    with safe_open(path, "pt") as file:
        names = set(file.keys())
        world.seed(seed, step)
        if cpu in names:
            torch.set_rng_state(file.get_tensor(cpu))
        if cuda in names and world.device.type == "cuda":
            torch.cuda.set_rng_state(file.get_tensor(cuda))


def _of_rank(name: str, rank: int) -> str:
    return f"{name}.rank-{rank}" if rank else name
