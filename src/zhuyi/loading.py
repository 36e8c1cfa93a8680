"""From a model directory to a translator and back: a translator is a configuration, tokenizers and an engine.

Torch is loaded only for what it is needed for: `engine.choice` says when.
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
    """The translator of a model directory, or of an ensemble.

    Args:
        directory: as `train` writes it; or `hub:USER/NAME[@REVISION]`, a model of the Hugging Face hub.
        others: models whose probabilities are averaged with its own, step by step; it says how to search.
        device: where to compute: "auto" (the GPU if there is one), "cpu" or "cuda".
        engine: overrides `decoding.engine` of the model's configuration: "auto", "native" or "torch".
        precision: overrides `decoding.precision`: "float32", "bf16" or "int8".
        workers: overrides `decoding.workers`: threads of the native engine.

    Raises:
        CheckpointError: if the directory is missing, incomplete or damaged.
        ConfigError: if there is no such device, engine or precision, if the engine "native" cannot run the model, or if
            the models have different shapes, tokenizers or [text], and so cannot be an ensemble.
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
    """The translator of a model in memory, by torch, whose weights it uses: it does not copy them.

    Raises:
        ConfigError: if there is no such device.
    """
    from zhuyi.engine.torch import TorchEngine

    engine = TorchEngine(model.transformer, model.config.model.max_length, device)
    return Translator(model.config, model.tokenizers, engine, model.name)


def with_torch(translator: Translator) -> Translator:
    """The same translator with torch's engine, whose weights can be saved and looked into.

    It is the translator itself, if it has that engine; otherwise its model is read again, for the CPU.

    Raises:
        CheckpointError: if the directory that it was loaded from does not hold its model any more.
        ConfigError: if it was not loaded from a directory, or is an ensemble.
    """
    from zhuyi.engine.torch import TorchEngine

    if isinstance(translator.engine, TorchEngine) and len(translator.origins) <= 1:
        return translator
    if translator.origin is None:
        name = translator.name or type(translator.engine).__name__
        raise ConfigError(
            f"{name} has no weights of its own to be saved or looked into: load one model with engine='torch'"
        )
    engine = TorchEngine.of([translator.origin.read()], "cpu")
    return Translator(translator.config, translator.tokenizers, engine, translator.name, translator.origins)


def save(translator: Translator, directory: str | Path) -> None:
    """Write the model of a translator to a directory that `load` reads, with its decoding settings.

    Args:
        translator: that was loaded, or whose engine is torch's.
        directory: is made if it does not exist; a model in it is replaced.

    Raises:
        CheckpointError: as `ensure_replaceable`.
        ConfigError: if the engine has no weights that could be written.
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
