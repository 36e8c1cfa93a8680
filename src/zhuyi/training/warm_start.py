"""A run that begins with the weights and tokenizers of another model (`training.start_from`): a warm start.

Vocabulary and architecture are that model's. The moments of the optimiser, the moving average, the schedule and the
random state are new.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zhuyi.checkpoint import load_model
from zhuyi.config import LANGUAGES, Config, changed
from zhuyi.errors import ConfigError
from zhuyi.model.transformer import Network
from zhuyi.text.tokenizer import Tokenizers

MAY_DIFFER = {
    *("model.dropout", "model.attention_dropout", "model.feed_forward_dropout", "model.max_length", "model.tie"),
    "text.bpe_dropout",
}
"""Settings of [model] and [text] that may be others than the model's: they leave most of its weights what they are."""


@dataclass(frozen=True)
class WarmStart:
    """What a run begins with."""

    config: Config
    """Of the run, with the settings of the model that it begins with."""
    tokenizers: Tokenizers
    """Of that model."""
    weights: dict[str, Tensor]
    """Of that model, under every name that a matrix has: a tied one has several."""


def warm_start(config: Config, directory: str | Path) -> WarmStart:
    """Settings, tokenizers and weights of a run that begins with the model in `directory`.

    Raises:
        ConfigError: if a setting that was given contradicts the model's, naming it and both values.
        CheckpointError: if the model is missing, incomplete or damaged.
    """
    model = load_model(directory)
    weights = {name: each.detach() for name, each in model.transformer.named_parameters(remove_duplicate=False)}
    return WarmStart(with_settings_of(model.config, config, str(directory)), model.tokenizers, weights)


def with_settings_of(model: Config, config: Config, name: str) -> Config:
    """`config` with what it leaves unset of [model], [text] and the languages as in `model`, which is called `name`.

    Raises:
        ConfigError: if it has a setting that must not differ, and does.
    """
    sections = {}
    for section in ("model", "text"):
        theirs, ours = getattr(model, section), getattr(config, section)
        given = {key: getattr(ours, key) for key in type(ours).model_fields if key in ours.model_fields_set}
        given = {key: value for key, value in given.items() if value not in (None, getattr(theirs, key))}
        for key, value in given.items():
            if f"{section}.{key}" not in MAY_DIFFER:
                raise ConfigError(
                    f"{section}.{key} = {value!r}, but {name} has {getattr(theirs, key)!r}: leave it out, or begin "
                    "with another model"
                )
        sections[section] = changed(theirs, given)
    tags = {key: getattr(config.data, key) or getattr(model.data, key) for key in LANGUAGES}
    return config.model_copy(update={**sections, "data": changed(config.data, tags)})


@torch.no_grad()
def load_what_fits(transformer: Network, weights: dict[str, Tensor]) -> list[str]:
    """Copy `weights` into the model, and give the names of its weights that are not theirs.

    Those are the ones of another shape, which stay as they are, and matrices that are tied now and were not.
    """
    for name, parameter in transformer.named_parameters():
        if name in weights and weights[name].shape == parameter.shape:
            parameter.copy_(weights[name])
    found = transformer.named_parameters(remove_duplicate=False)
    return [name for name, parameter in found if name not in weights or not parameter.cpu().equal(weights[name])]
