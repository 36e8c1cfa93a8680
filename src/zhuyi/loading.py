"""A translator, put together from a model directory: its configuration, its tokenizers and an engine."""

from pathlib import Path

from zhuyi.checkpoint import Model, load_model
from zhuyi.engine.torch import TorchEngine
from zhuyi.errors import ConfigError
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
