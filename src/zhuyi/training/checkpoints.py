"""The checkpoints of a run: weights, optimiser state, states of the random generators and the run state at a step.

A checkpoint is a model directory (`checkpoints/step-000500/`, which every command accepts) with additional files:

    run_state.safetensors  the optimiser's moments, and the states of the random generators of each rank. The weights
                           of the model are the averaged ones, as validated: `optimizer.NAME.average` are the raw ones
    run_state.json         step, epoch, batches done in it, seconds, scores so far
    shard-....safetensors  of a sharded run: the moments, each part written by the rank that has it

A checkpoint can be read by any number of processes: torch.distributed.checkpoint gives each rank the parts that it
needs of the safetensors files. (This is its Hugging Face format. Its own format contains a pickle, and zhuyi never
loads a pickle.)
"""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from zhuyi.checkpoint import Model
from zhuyi.config import FILES, LANGUAGES, Config, DecodingConfig, TrainingConfig, changed, describe, readable
from zhuyi.directory import DECODING, WEIGHTS, load_config_of, model_files, read_config
from zhuyi.errors import CheckpointError, ConfigError, DamagedError
from zhuyi.files import MANIFEST, in_current_format, read_directory, write_directory
from zhuyi.model.transformer import Network
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training.distributed import ALONE, World, gather_weights, is_sharded
from zhuyi.training.events import Listener, Notice, ignore
from zhuyi.training.optimizers import Optimizer
from zhuyi.training.run_state import RUN_ADVICE, RunState
from zhuyi.training.warm_start import with_settings_of

RUN_STATE = "run_state.json"
RUN_TENSORS = "run_state.safetensors"
MAY_CHANGE = {
    *("training.steps", "training.epochs", "training.minutes", "training.save_every", "training.keep"),
    *("training.keep_at", "training.average", "training.average_of", "training.patience", "training.log_every"),
    *("training.tensorboard", "training.learning_rate", "training.warmup", "training.clip", "training.precision"),
    *("training.shard", "training.deterministic", "training.device"),
    *(f"data.{side}" for side in (*FILES, "mix")),  # but not the content of the files: see `RunState.data_digest`
    *(f"data.{side}" for side in LANGUAGES),
    *(f"decoding.{key}" for key in DecodingConfig.model_fields),
}
"""Settings that may change when a run is resumed."""


class Checkpoints:
    """The checkpoints of one run, on disk.

    Args:
        directory: of the run; its checkpoints are in the subdirectory `checkpoints`.
        config: of the run.
        world: the processes of the run. All of them need access to `directory`, and all must call `save` and `restore`.

    Attributes:
        newest: the step that was saved or restored last; None if there is none.
        epoch: the epoch of that step.
    """

    def __init__(self, directory: Path, config: Config, world: World = ALONE) -> None:
        self._directory = directory / "checkpoints"
        self._seed = config.training.seed
        self._world = world
        self.newest: int | None = None
        self.epoch = 0

    def path(self, step: int) -> Path:
        """The directory of the checkpoint of a step."""
        return self._directory / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, which may be damaged, oldest first."""
        names = [path.name.removeprefix("step-") for path in self._directory.glob("step-*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def readable(self, notify: Listener = ignore) -> Iterator[tuple[int, dict[str, bytes]]]:
        """The steps and JSON files of the undamaged checkpoints, newest first. Damaged ones are reported."""
        for step in reversed(self.steps()):
            try:
                yield step, read_directory(self.path(step), lambda name: name.endswith(".json"))
            except DamagedError as error:
                notify(Notice(str(error), warning="Passing over a broken checkpoint"))

    def save(self, model: Model, trained: Network, optimizer: Optimizer, state: RunState) -> None:
        """Write a checkpoint, then remove those that are no longer needed.

        A checkpoint is a usable model, so this is called while the model has the averaged weights.

        Args:
            model: gives the configuration and the tokenizers.
            trained: the transformer with the parameters of `optimizer`: that of the model, or a sharded one.
            optimizer: gives the moments.
            state: of the run.

        Raises:
            CheckpointError: if the checkpoint cannot be written; older ones remain.
        """
        rng_states = _rng_states(self._world)
        gather_weights(trained, model.transformer, self._world)
        moments = _moments(trained, optimizer)
        shards = self._write_shards(moments) if is_sharded(trained) else []
        self._world.on_main(lambda: self._write(model, state, shards, {**({} if shards else moments), **rng_states}))
        self.newest, self.epoch = state.step, state.epoch

    def _write(self, model: Model, state: RunState, shards: list[Path], tensors: dict[str, Tensor]) -> None:
        files = model_files(model.stored(), card="A checkpoint of a training run.\n")
        files[RUN_TENSORS] = save_tensors({name: each.cpu().contiguous() for name, each in tensors.items()})
        files[RUN_STATE] = state.to_json()
        shutil.rmtree(self.path(state.step), ignore_errors=True)  # if it exists, it is damaged
        write_directory(self.path(state.step), files, shards, RUN_ADVICE)
        for step in set(self.steps()) - self._wanted(state, model.config.training):
            shutil.rmtree(self.path(step))

    def settings_of_run(self, config: Config, notify: Listener) -> tuple[Config, Tokenizers | None]:
        """The configuration and tokenizers of a resumed run, from the newest undamaged checkpoint.

        Settings that `config` does not set keep the values that the run has chosen. Settings that differ from those of
        the run, and may differ, are reported. `self.epoch` becomes the epoch of the checkpoint.

        Args:
            config: of the command that resumes the run.
            notify: gets a notice of the settings that differ.

        Returns:
            The configuration and the tokenizers; without a checkpoint, `config` and None.

        Raises:
            ConfigError: if a setting that must not change differs from that of the run.
        """
        for step, files in self.readable():
            then = read_config(self.path(step), files)
            if (start := then.training.start_from) is not None:  # that model may have been removed
                config = with_settings_of(then, config, "the run to be resumed")
                if readable(config.training.start_from or start) == start:
                    training = config.training.model_copy(update={"start_from": start})
                    config = config.model_copy(update={"training": training})
            before = then.decoding.model_dump()
            given = {key: value for key, value in config.decoding if value not in (None, before[key])}
            decoding = changed(self._kept(step, then.decoding), given)
            config = config.model_copy(update={"decoding": decoding})
            _same_settings(then, config, notify)
            self.epoch = RunState.from_json(files[RUN_STATE]).epoch
            return config, Tokenizers.load(files, self.path(step))
        return config, None

    def _kept(self, step: int, decoding: DecodingConfig) -> DecodingConfig:
        """The decoding settings of the model in the run's directory, if newer than the checkpoint; else `decoding`."""
        out = self._directory.parent
        try:
            if (out / DECODING).stat().st_mtime < (self.path(step) / MANIFEST).stat().st_mtime:
                return decoding  # the model is older than the checkpoint
            return load_config_of(out).decoding
        except (OSError, CheckpointError):  # there is no model, or it is damaged
            return decoding

    def restore(self, trained: Network, optimizer: Optimizer, notify: Listener) -> RunState | None:
        """Restore the newest undamaged checkpoint, and return its run state; None if there is none.

        Args:
            trained: as for `save`; gets the weights.
            optimizer: gets the moments.
            notify: gets a notice of each damaged checkpoint.
        """
        found = self._world.on_main(lambda: next((step for step, _ in self.readable(notify)), -1))
        newest = int(self._world.broadcast(-1 if found is None else found))
        if newest < 0:
            return None
        self.newest = newest
        directory = self.path(newest)
        with self._world.all_or_none(), in_current_format(directory) as whole, _named_in_utf8(whole) as path:
            _restore_tensors(trained, optimizer, path)
            optimizer.exchange()
            _restore_rng_states(path / RUN_TENSORS, self._world, self._seed, newest)
            state = RunState.from_json((path / RUN_STATE).read_bytes())
        for group in optimizer.param_groups:
            group["updates"] = state.step
        self.epoch = state.epoch
        return state

    def average(self, steps: list[int]) -> dict[str, Tensor]:
        """The mean of the weights of several checkpoints."""
        total: dict[str, Tensor] = {}
        for step in steps:
            files = read_directory(self.path(step), lambda name: name == WEIGHTS)
            for name, tensor in load_tensors(files[WEIGHTS]).items():
                total[name] = total[name] + tensor.double() if name in total else tensor.double()
        return {name: (tensor / len(steps)).float() for name, tensor in total.items()}

    def _write_shards(self, tensors: dict[str, Tensor]) -> list[Path]:
        """Write this rank's parts of `tensors`, and return the paths of the files of all ranks."""
        from torch.distributed.checkpoint.api import CheckpointException
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import save

        folder = self._directory / ".shards"
        self._world.on_main(lambda: shutil.rmtree(folder, ignore_errors=True))
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        with self._world.all_or_none():
            try:
                save(tensors, storage_writer=writer, process_group=self._world.patient)
            except CheckpointException as error:  # the same one on every rank
                causes = "; ".join(str(cause[0]) for cause in error.failures.values())
                raise CheckpointError(
                    f"{folder}: cannot write: {causes}; free some space and go on with --resume"
                ) from error
        return sorted(folder.glob("*.safetensors"))

    def _wanted(self, state: RunState, training: TrainingConfig) -> set[int]:
        """The steps to keep: those of `keep_at`, the newest, the best, and those to be averaged if the run ended now.

        Checkpoints of later steps were damaged when the run was resumed, and will be written again.
        """
        so_far = [step for step in self.steps() if step <= state.step]
        kept = set(so_far) & set(training.keep_at)
        best = state.best_steps(training.metric)[:1]
        return {*kept, *so_far[-training.keep :], *best, *state.averaged_steps(training)}


def _same_settings(then: Config, now: Config, notify: Listener) -> None:
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
        notify(Notice(f"Other than before: {', '.join(others)}."))


@contextmanager
def _named_in_utf8(directory: Path) -> Iterator[Path]:
    """A path of the directory that safetensors can open: a symbolic link, if its own path is not UTF-8."""
    if readable(str(directory)) == str(directory):
        yield directory
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "link")
        link.symlink_to(directory.resolve())
        yield link


def _moments(trained: Network, optimizer: Optimizer) -> dict[str, Tensor]:
    return {
        f"optimizer.{name}.{moment}": tensor.detach()
        for name, parameter in trained.named_parameters()
        for moment, tensor in optimizer.state.get(parameter, {}).items()  # frozen parameters have none
    }


def _restore_tensors(trained: Network, optimizer: Optimizer, directory: Path) -> None:
    """Load weights and moments; each rank reads the parts that it needs."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(directory))
    stored = reader.read_metadata().state_dict_metadata
    tensors: dict[str, Tensor] = {}
    for name, parameter in trained.named_parameters():
        tensors[name] = parameter.detach()
        if not parameter.requires_grad:  # frozen
            continue
        optimizer.state[parameter] = {}
        for key, entry in stored.items():
            moment = key.removeprefix(f"optimizer.{name}.")
            if moment == key or "." in moment:
                continue
            assert isinstance(entry, TensorStorageMetadata)
            scalar = torch.zeros((), device=parameter.device)  # such as the number of steps
            like = parameter.detach() if entry.size == parameter.shape else scalar
            tensors[key] = optimizer.state[parameter][moment] = torch.zeros_like(like)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no process group is used, which is intended
        load(tensors, storage_reader=reader, no_dist=True)


def _rng_states(world: World) -> dict[str, Tensor]:
    """The states of the random generators of all ranks, by name. Those of rank 0 are named as in a single process."""
    states = {"random.cpu": torch.get_rng_state()}
    if world.device.type == "cuda":
        states["random.cuda"] = torch.cuda.get_rng_state()
    return {
        _of_rank(name, rank): of_rank
        for name, state in states.items()
        for rank, of_rank in enumerate(world.gather(state))
    }


def _restore_rng_states(path: Path, world: World, seed: int, step: int) -> None:
    """Restore the random generators of this rank; they are seeded anew if the run had fewer ranks."""
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
