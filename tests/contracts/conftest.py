"""What every contract runs over: one small configuration for each row of each table, and batches to try them on.

A new row in a table of the model, or a new value of an option, is enumerated here by itself, and so inherits every
proof in this folder: a test that asks for `config` or `model` runs for each of them.

pytest tests/contracts             all of the encoder–decoder, some of the other shapes, which share its parts
pytest -m long tests/contracts     the rest
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import get_args

import pytest
import torch
from _pytest.mark import ParameterSet
from torch import Tensor

from zhuyi.config import PRESETS, ModelConfig
from zhuyi.model.blocks import ACTIVATIONS, NORMS
from zhuyi.model.mixers import MIXERS
from zhuyi.model.positions import POSITIONS
from zhuyi.model.shapes import SHAPES
from zhuyi.model.transformer import Network

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
        **{key: [False, True] for key in ("embedding_scale", "embedding_norm", "final_norm", "output_bias")},
        "key_value_heads": [1, 2, 4],
        "head_width": [6],
        "norm_epsilon": [0.1],
        "decoder_layers": [1, 3],
        "kernel": [1, 5],
    }


VARIANTS = [{"shape": shape} for shape in SHAPES] + [{"shape": "encoder", "labels": "token"}]
"""The shapes, and what they may give."""


def every_config() -> tuple[dict[str, ModelConfig], set[str]]:
    """The presets `modern` and `paper` made small, in every shape, and with each option at each value.

    Of the shapes that share all their parts with the first one, `paper` is tried as it is. Also gives the names of what
    only the long lap tries: in these shapes, all but one value of each option; and with a label for each token, which
    differs from one for each line in the output alone, all values.
    """
    configs: dict[str, ModelConfig] = {}
    long: set[str] = set()
    tried: list[tuple[dict[str, str], str]] = []
    changes = [{}] + [{key: value} for key, values in options().items() for value in values]
    for preset, variant, change in product(("modern", "paper"), VARIANTS, changes):
        if "kernel" in change:
            change = {"mixer": "convolution", **change}
        without = OF_ANOTHER_SHAPE.get(variant["shape"], "nothing")
        if any(key.startswith(without) for key in change) or (preset == "paper" and change and variant != VARIANTS[0]):
            continue
        config = ModelConfig(**{**PRESETS[preset].get("model", {}), **SMALL, **variant, **change})
        if config not in configs.values():
            named = {**(variant if variant != VARIANTS[0] else {}), **change}
            name = "-".join([preset, *(f"{key}={value}" for key, value in named.items())])
            configs[name] = config
            if variant != VARIANTS[0] and change:
                option = variant, list(change)[-1]
                if option in tried or "labels" in variant:
                    long.add(name)
                tried.append(option)
    return configs, long


OF_ANOTHER_SHAPE = {"decoder": "encoder_", "encoder": "decoder_"}
"""How the options begin that a shape has no use for."""


CONFIGS, LONG = every_config()


def cases(configs: Mapping[str, ModelConfig]) -> list[ParameterSet]:
    """Parameters of a test that runs for each of these configurations."""
    return [
        pytest.param(config, id=name, marks=[pytest.mark.slow, pytest.mark.long] if name in LONG else [])
        for name, config in configs.items()
    ]


def every(configs: Mapping[str, ModelConfig]) -> pytest.MarkDecorator:
    """For a test of these configurations only."""
    return pytest.mark.parametrize("config", cases(configs))


def of_shapes(*shapes: str) -> pytest.MarkDecorator:
    """For a test of these shapes only."""
    return every({name: config for name, config in CONFIGS.items() if config.shape in shapes})


writing = of_shapes("encoder-decoder", "decoder")
"""For a test of what writes token by token."""


@dataclass(frozen=True)
class Sentences:
    """A small batch: sources of 5, 7 and 2 tokens, targets of 6; what stands in the padding is noise."""

    source: Tensor
    source_mask: Tensor
    target_in: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.source, self.source_mask, self.target_in))


@pytest.fixture(params=cases(CONFIGS))
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
def build(config: ModelConfig) -> Network:
    """A model that is not in training, none of whose weights is at a special value such as 0 or 1."""
    torch.manual_seed(1)
    model = SHAPES[config.shape](config, 12, None if config.tie == "all" or config.shape == "decoder" else 13).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


@pytest.fixture
def model(config: ModelConfig, double: None) -> Network:
    """The model of `config`, in float64. All tests share it: copy what you change."""
    return build(config)


@pytest.fixture
def sentences() -> Sentences:
    """Three sentence pairs."""
    random = torch.Generator().manual_seed(2)
    source_mask = torch.arange(7) < torch.tensor([5, 7, 2])[:, None]
    return Sentences(
        torch.randint(12, (3, 7), generator=random), source_mask, torch.randint(12, (3, 6), generator=random)
    )
