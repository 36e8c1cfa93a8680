"""What every contract runs over: one small configuration for each row of each table, and batches to try them on.

A new row in a table of the model, or a new value of an option, is enumerated here by itself, and so inherits every
proof in this folder: a test that asks for `config` or `model` runs for each of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import get_args

import pytest
import torch
from torch import Tensor

from zhuyi.config import PRESETS, ModelConfig
from zhuyi.model.blocks import ACTIVATIONS, NORMS
from zhuyi.model.mixers import MIXERS
from zhuyi.model.positions import POSITIONS
from zhuyi.model.transformer import Transformer

SMALL = {
    "width": 16,
    "heads": 4,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "feed_forward": 24,
    "max_length": 16,
    # In use there is no dropout, wherever it is set.
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "feed_forward_dropout": 0.1,
}

TABLES = {"activation": ACTIVATIONS, "norm_kind": NORMS, "positions": POSITIONS, "mixer": MIXERS}


def options() -> dict[str, list]:
    """Every option of the model's architecture, and every value that it may have."""
    return {
        **{key: list(table) for key, table in TABLES.items()},
        "encoder_mixer": list(MIXERS),
        "decoder_mixer": list(MIXERS),
        **{key: list(get_args(ModelConfig.model_fields[key].annotation)) for key in ("norm", "bias", "tie")},
        "key_value_heads": [1, 2, 4],
        "decoder_layers": [1, 3],
        "kernel": [1, 5],
    }


def every_config() -> dict[str, ModelConfig]:
    """The presets `modern` and `paper` made small, and each of them with each option set to each value."""
    configs: dict[str, ModelConfig] = {}
    for preset in ("modern", "paper"):
        base = {**PRESETS[preset].get("model", {}), **SMALL}
        changes = [{}] + [{key: value} for key, values in options().items() for value in values]
        for change in changes:
            if "kernel" in change:
                change = {"mixer": "convolution", **change}
            config = ModelConfig(**{**base, **change})
            if config not in configs.values():
                configs["-".join([preset, *(f"{key}={value}" for key, value in change.items())])] = config
    return configs


CONFIGS = every_config()


@dataclass(frozen=True)
class Sentences:
    """A small batch: sources of 5, 7 and 2 tokens, targets of 6; what stands in the padding is noise."""

    source: Tensor
    source_mask: Tensor
    target_in: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.source, self.source_mask, self.target_in))


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request: pytest.FixtureRequest) -> ModelConfig:
    """Each configuration in turn."""
    return request.param


@pytest.fixture
def double() -> Iterator[None]:
    """Models made in this test are float64: equal means equal to ten digits."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@cache
def build(config: ModelConfig) -> Transformer:
    """A Transformer that is not in training, none of whose weights is at a special value such as 0 or 1."""
    torch.manual_seed(1)
    model = Transformer(config, 12, None if config.tie == "all" else 13).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


@pytest.fixture
def model(config: ModelConfig, double: None) -> Transformer:
    """The Transformer of `config`, in float64. All tests share it: copy what you change."""
    return build(config)


@pytest.fixture
def sentences() -> Sentences:
    """Three sentence pairs."""
    random = torch.Generator().manual_seed(2)
    source_mask = torch.arange(7) < torch.tensor([5, 7, 2])[:, None]
    return Sentences(
        torch.randint(12, (3, 7), generator=random), source_mask, torch.randint(12, (3, 6), generator=random)
    )
