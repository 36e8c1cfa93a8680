"""From a model directory to a translator and back: a translator is a configuration, tokenizers and an engine."""

from pathlib import Path

from zhuyi.checkpoint import Model, load_model, save_model
from zhuyi.directory import checkpoints
from zhuyi.engine.torch import TorchEngine
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.files import MANIFEST
from zhuyi.translator import Translator

ENGINES = ("auto", "torch")
PRECISIONS = ("auto", "float32")


def load(directory: str | Path, *, device: str = "auto", engine: str = "auto", precision: str = "auto") -> Translator:
    """The translator of a model directory.

    Args:
        directory: as `train` writes it.
        device: where to compute: "auto" (the GPU if there is one), "cpu" or "cuda".
        engine: what computes: "torch", which is what "auto" takes.
        precision: of the computation: "float32", which is what "auto" takes.

    Raises:
        CheckpointError: if the directory is missing, incomplete or damaged.
        ConfigError: if there is no such device, engine or precision.
    """
    for key, value, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise ConfigError(f"{key} {value!r} is not one of {', '.join(known)}")
    return build_translator(load_model(directory), device)


def build_translator(model: Model, device: str = "auto") -> Translator:
    """The translator of a model in memory, whose weights it uses: it does not copy them.

    Raises:
        ConfigError: if there is no such device.
    """
    engine = TorchEngine(model.transformer, model.config.model.max_length, device)
    return Translator(model.config, model.tokenizers, engine, model.name)


def save(translator: Translator, directory: str | Path) -> None:
    """Write the model of a translator to a directory that `load` reads, with its decoding settings.

    Args:
        translator: whose engine is torch's.
        directory: is made if it does not exist; a model in it is replaced.

    Raises:
        CheckpointError: if the directory holds a training run, or other files and no model, or cannot be written.
        ConfigError: if the engine has no weights that could be written.
    """
    directory, engine = Path(directory), translator.engine
    if not isinstance(engine, TorchEngine):
        raise ConfigError(f"{type(engine).__name__} has no weights to be saved: load the model with engine='torch'")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / MANIFEST).exists():
        raise CheckpointError(f"{directory} holds files and no model: choose another directory")
    if checkpoints(directory):
        raise CheckpointError(f"{directory} holds a training run, which could not be resumed: choose another directory")
    model = Model(translator.config, translator.tokenizers, engine.transformer, translator.name)
    save_model(model, directory, card=f"# A zhuyi model\n\nSaved by `zhuyi.save` from {translator.name or 'memory'}.\n")
