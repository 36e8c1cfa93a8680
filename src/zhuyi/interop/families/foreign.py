"""What an importer makes of a model: the same in our terms, before it is written as a model directory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from zhuyi.checkpoint import build_model
from zhuyi.config import LANGUAGES, ModelConfig, build_config, is_bcp47
from zhuyi.directory import StoredModel, check_shapes
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.interop.families.weights import Arrays, halves_together, permuted
from zhuyi.interop.tokenizers.vocabulary import Vocabulary
from zhuyi.text.tokenizer import Tokenizers


@dataclass(frozen=True)
class Text:
    """Tokenizers of another program in our terms, and where each token has its row in that program's matrices."""

    tokenizers: Tokenizers
    """Of both sides."""
    source: Vocabulary
    target: Vocabulary
    settings: dict[str, Any]
    """The section [text]."""
    languages: tuple[str | None, str | None] = (None, None)
    """Of source and target, where the model names one; what is no language tag, such as ROMANCE, is not kept."""


@dataclass(frozen=True)
class Foreign:
    """A model of another program in our terms."""

    program: str
    """Whose model it is, such as "MarianMT of Hugging Face"."""
    model: dict[str, Any]
    """The section [model] of its configuration."""
    text: Text
    weights: Arrays
    """By our names; a tied matrix stands once."""
    decoding: dict[str, Any]
    """The section [decoding]."""
    sines_first: bool = False
    """Whether its sinusoids are all sines, then all cosines: the coordinates of `weights` are in that order too."""
    licence: str | None = None
    """What is found about it beside the model."""


def architecture(model: dict[str, Any], where: str) -> ModelConfig:
    """The section [model] of a model of another program.

    Raises:
        CheckpointError: naming `where` it is from and the setting, if zhuyi has no such model.
    """
    try:
        return build_config({"model": model}).model
    except ConfigError as error:
        raise CheckpointError(f"{where}: zhuyi has no such model: {error}") from error


def as_stored(foreign: Foreign, where: str) -> StoredModel:
    """The model as a model directory has it, checked against the network that its configuration describes.

    Args:
        foreign: what was read.
        where: the file or directory that it is from, for messages.

    Raises:
        CheckpointError: naming `where`, if they do not fit, or zhuyi has no such model.
    """
    text = foreign.text
    tree = {"model": foreign.model, "text": text.settings, "decoding": foreign.decoding}
    try:
        config = build_config(tree)
    except ConfigError as error:
        raise CheckpointError(f"{where}: zhuyi has no such model: {error}") from error
    if foreign.sines_first and (width := config.model.width) % 2:
        raise CheckpointError(f"{where}: zhuyi has no such model: model.width = {width} is odd, with sines and cosines")
    languages = {key: tag for key, tag in zip(LANGUAGES, text.languages, strict=True) if is_bcp47(tag)}
    config = config.model_copy(update={"data": config.data.model_copy(update=languages)})
    with torch.device("meta"):  # shapes alone
        network = build_model(config, text.tokenizers).transformer
    wanted = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    try:
        check_shapes(foreign.weights, wanted)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: its weights are not those that its settings describe: {error}") from error
    weights = foreign.weights
    if foreign.sines_first:
        order = halves_together(config.model.width)
        weights = {name: permuted(name, array, order) for name, array in weights.items()}
    # What was transposed lies in columns, which a file of weights does not know.
    weights = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in weights.items()}
    return StoredModel(config, text.tokenizers.with_templates_of(config.text), weights)
