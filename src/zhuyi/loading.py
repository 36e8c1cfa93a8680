"""From a model directory to a translator and back: a translator is a configuration, tokenizers and an engine.

Torch is imported only if it is needed: see `engine.choice`.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zhuyi.config import changed
from zhuyi.directory import ensure_replaceable, model_files, read_model
from zhuyi.engine.choice import engine_of
from zhuyi.errors import ConfigError
from zhuyi.files import write_directory
from zhuyi.hub import card_head, licence_file, licence_of
from zhuyi.translator import Translator

if TYPE_CHECKING:
    from zhuyi.checkpoint import Model


def load(
    directory: str | Path,
    *others: str | Path,
    device: str = "auto",
    engine: str | None = None,
    precision: str | None = None,
    workers: int | None = None,
) -> Translator:
    """Load a model, or several as an ensemble.

    Args:
        directory: as `train` writes it; or `hub:USER/NAME[@REVISION]`, a model of the Hugging Face hub.
        others: further models of an ensemble, which averages the probabilities of all at each step. Its settings are
            those of the first model.
        device: where to compute: "auto" (the GPU if there is one), "cpu" or "cuda".
        engine: overrides `decoding.engine` of the model's configuration: "auto", "native" or "torch".
        precision: overrides `decoding.precision`: "float32", "bf16" or "int8".
        workers: overrides `decoding.workers`: threads of the native engine.

    Raises:
        CheckpointError: if a directory is missing, incomplete or damaged.
        ConfigError: if there is no such device, engine or precision, if the engine "native" does not support the model,
            or if the models cannot form an ensemble because their shapes, tokenizers or [text] differ.
    """
    model, further = read_model(directory), [read_model(other) for other in others]
    given = {"engine": engine, "precision": precision, "workers": workers}
    decoding = changed(model.config.decoding, {key: value for key, value in given.items() if value is not None})
    model = replace(model, config=model.config.model_copy(update={"decoding": decoding}))
    models = (model, *further)
    shortest = min(each.config.model.max_length for each in models)
    config = model.config.model_copy(update={"model": model.config.model.model_copy(update={"max_length": shortest})})
    name, origins = " + ".join(each.name for each in models), [each.origin for each in models if each.origin]
    return Translator(config, model.tokenizers, engine_of(model, device, further), name, origins)


def build_translator(model: "Model", device: str = "auto") -> Translator:
    """The translator of a model in memory, with torch's engine, which shares the weights of the model.

    Raises:
        ConfigError: if there is no such device.
    """
    from zhuyi.engine.torch import TorchEngine

    engine = TorchEngine(model.transformer, model.config.model.max_length, device)
    return Translator(model.config, model.tokenizers, engine, model.name)


def with_torch(translator: Translator) -> Translator:
    """The same translator with torch's engine, whose weights can be saved and looked into.

    Returns the translator itself if it has that engine. Otherwise its model is read again, for the CPU.

    Raises:
        CheckpointError: if its directory no longer holds the model that was loaded.
        ConfigError: if it was not loaded from a directory, or is an ensemble.
    """
    from zhuyi.engine.torch import TorchEngine

    if isinstance(translator.engine, TorchEngine) and len(translator.origins) <= 1:
        return translator
    if translator.origin is None:
        name = translator.name or type(translator.engine).__name__
        raise ConfigError(f"{name} has no weights that can be saved or looked into: load one model with engine='torch'")
    engine = TorchEngine.of([translator.origin.read()], "cpu")
    return Translator(translator.config, translator.tokenizers, engine, translator.name, translator.origins)


def save(translator: Translator, directory: str | Path) -> None:
    """Write the model of a translator to a directory that `load` reads, with its decoding settings.

    Args:
        translator: one that was loaded, or has torch's engine.
        directory: created if it does not exist; a model in it is replaced.

    Raises:
        CheckpointError: as `ensure_replaceable`.
        ConfigError: as `with_torch`.
    """
    from zhuyi.checkpoint import Model
    from zhuyi.engine.torch import TorchEngine

    directory, engine = Path(directory), with_torch(translator).engine
    assert isinstance(engine, TorchEngine)
    ensure_replaceable(directory)
    model = Model(translator.config, translator.tokenizers, engine.network)
    card = f"# A zhuyi model\n\nSaved by `zhuyi.save` from {translator.name or 'memory'}.\n"
    origin = translator.origin.directory if translator.origin else None
    licence, file = (licence_of(origin), licence_file(origin)) if origin else (None, {})
    write_directory(directory, model_files(model.stored(), card_head(model.config, licence) + card) | file)
