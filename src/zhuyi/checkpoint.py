"""A model in memory, as torch computes with it: a network between tokenizers. `directory` is how it lies on a disk."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from zhuyi.config import Config
from zhuyi.directory import StoredModel, check_shapes, read_model, write_model
from zhuyi.files import ADVICE
from zhuyi.model.broken import break_network
from zhuyi.model.shapes import SHAPES
from zhuyi.model.transformer import Network
from zhuyi.text.tokenizer import Tokenizers


@dataclass(frozen=True)
class Model:
    """A configuration, tokenizers and a network."""

    config: Config
    """Of the model and of the run that made it."""
    tokenizers: Tokenizers
    """Of both sides."""
    transformer: Network
    """The network, with its weights."""
    name: str = ""
    """Of the directory that it was read from; empty otherwise."""

    def stored(self) -> StoredModel:
        """The same without torch; the arrays share the memory of weights that are on the CPU."""
        weights = {name: weight.numpy() for name, weight in weights_of(self.transformer).items()}
        return StoredModel(self.config, self.tokenizers, weights)


def build_model(config: Config, tokenizers: Tokenizers) -> Model:
    """A model with fresh weights, drawn from torch's global generator, without the parts that `model.without` names."""
    targets = None if tokenizers.shared else len(tokenizers.target)
    network = SHAPES[config.model.shape](config.model, len(tokenizers.source), targets)
    break_network(network)
    return Model(config, tokenizers, network)


def weights_of(transformer: Network) -> dict[str, Tensor]:
    """Every learned tensor by name, on the CPU; a tied matrix has one name."""
    return {name: parameter.detach().cpu().contiguous() for name, parameter in transformer.named_parameters()}


def load_weights(transformer: Network, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into the model.

    Raises:
        CheckpointError: naming the first tensor that is missing, unknown or of another shape.
    """
    parameters = dict(transformer.named_parameters())
    check_shapes(weights, {name: tuple(parameter.shape) for name, parameter in parameters.items()})
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def model_of(stored: StoredModel) -> Model:
    """The model of a directory that has been read, in evaluation mode.

    Raises:
        CheckpointError: if the weights are not those of its configuration.
    """
    model = build_model(stored.config, stored.tokenizers)
    with stored.naming_the_file():
        load_weights(model.transformer, {name: torch.from_numpy(weight) for name, weight in stored.weights.items()})
    model.transformer.eval()
    return replace(model, name=stored.name)


def load_model(directory: str | Path) -> Model:
    """Read a model directory, every byte checked; the model is in evaluation mode.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    return model_of(read_model(directory))


def save_model(model: Model, directory: Path, card: str = "", advice: tuple[str, str] = ADVICE) -> None:
    """Write a model directory; an older model in it is replaced.

    Raises:
        CheckpointError: when it cannot be written; see `write_directory`.
    """
    write_model(model.stored(), directory, card, advice)
