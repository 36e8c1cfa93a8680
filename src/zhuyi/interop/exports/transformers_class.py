"""Which class of transformers computes a model.

The tables of the values that each class can compute come from those by which `bart` and `t5` import.
"""

import json
from collections.abc import Mapping
from typing import Any

from zhuyi.config import ModelConfig
from zhuyi.errors import ConfigError
from zhuyi.interop.families import bart, t5

ADDED = ("sinusoidal", "tensor2tensor", "learned", "none")
"""Positions that are a table, which is added to the embeddings."""


def _accepted(family: bart.Family) -> dict[str, tuple[Any, ...]]:
    """The values of each option that has others, of which a family of BART's relatives can compute a model."""
    return {
        "encoder_mixer": ("attention",),
        "decoder_mixer": ("attention",),
        "positions": ADDED if family.has_table else (family.positions,),
        "activation": tuple(dict.fromkeys(bart.ACTIVATIONS.values())),
        "norm": (family.norm,),
        "norm_kind": ("layer",),
        "norm_epsilon": (1e-5,),
        "final_norm": (family.norm == "pre",),
        "embedding_norm": (family.embedding_norm,),
    }


ACCEPTED: dict[str, dict[str, tuple[Any, ...]]] = {
    **{
        name: _accepted(family)
        for name, family in bart.FAMILIES.items()
        if family.positions == "sinusoidal" or family.has_table
    },
    "t5": {
        "encoder_mixer": ("attention",),
        "decoder_mixer": ("attention",),
        "positions": ("relative", "none"),
        "activation": tuple(t5.ACTIVATIONS.values()),
        "bias": ("none",),
        "output_bias": (False,),
        "norm": ("pre",),
        "norm_kind": ("rms",),
        "final_norm": (True,),
        "embedding_norm": (False,),
    },
}
"""By `model_type`: the values that its class can compute, of each option that has others."""
PROGRAMS = {**{name: family.program for name, family in bart.FAMILIES.items()}, **t5.PROGRAMS}


def class_of(config: ModelConfig) -> str:
    """The `model_type` that computes a model.

    Raises:
        ConfigError: if there is none, naming the first key that keeps the nearest one from it.
    """
    found = {name: _differences(config, name, accepted) for name, accepted in ACCEPTED.items()}
    name, differences = min(found.items(), key=lambda item: len(item[1]))
    if differences:
        raise ConfigError(f"{differences[0]}; use --to onnx or ctranslate2")
    return name


def _differences(config: ModelConfig, name: str, accepted: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """What a class computes otherwise than a model, in words."""
    program = PROGRAMS[name]
    found = [
        f"model.{key} = {json.dumps(value)}: {program}, the nearest class of transformers, has only "
        f"{', '.join(each if isinstance(each, str) else json.dumps(each) for each in values)}"
        for key, values in accepted.items()
        if (value := getattr(config, key)) not in values
    ]
    if name != "t5" and config.heads * config.head_width != config.width:
        found.append(f"model.head_width = {config.head_width}: {program} of transformers has width / heads alone")
    if config.positions == "sinusoidal" and config.width % 2:
        found.append(f"model.width = {config.width}: {program} of transformers has sinusoids of an even width alone")
    if name == "t5" and config.decoder_layers > config.encoder_layers:  # 5.24 makes a cache for as many layers
        found.append(
            f"model.decoder_layers = {config.decoder_layers}: {program} of transformers has at most as many as layers "
            f"of the encoder, {config.encoder_layers}"
        )
    return found
