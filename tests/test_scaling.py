"""The calculator of `benchmarks/scaling.py` against real models, and against common sense."""

from typing import Any

import pytest
import scaling
import scaling_checks as checks
import torch
from contracts.conftest import CONFIGS
from scaling import H200, estimate, model_of
from torch.utils.flop_counter import FlopCounterMode

from zhuyi.config import ModelConfig, TrainingConfig, build_config
from zhuyi.model.transformer import Transformer
from zhuyi.training.optimizers import Optimizer


def configured(**model: Any) -> ModelConfig:
    return build_config({"model": model}).model


@pytest.mark.parametrize("size", scaling.SIZES)
def test_sizes_are_what_they_are_called(size: str) -> None:
    named = float(size[:-1]) * {"M": 1e6, "B": 1e9}[size[-1]]
    assert scaling.parts_of(model_of(size), scaling.VOCABULARY).total == pytest.approx(named, rel=0.07)


COUNTED = {
    name: config
    for name, config in CONFIGS.items()
    if (config.shape, config.encoder_mixer, config.decoder_mixer) == ("encoder-decoder", "attention", "attention")
}
"""Both presets with each option at each value, as far as the calculator counts it."""


@pytest.mark.parametrize("target_vocabulary", [None, 700])
@pytest.mark.parametrize("config", COUNTED.values(), ids=COUNTED.keys())
def test_parameters_are_counted_exactly(config: ModelConfig, target_vocabulary: int | None) -> None:
    with torch.device("meta"):
        real = Transformer(config, 1000, target_vocabulary)
    parts = scaling.parts_of(config, 1000, target_vocabulary)
    assert parts.total == real.parameter_count()
    assert parts.vectors == sum(parameter.numel() for parameter in real.parameters() if parameter.dim() < 2)


def test_the_state_is_counted_exactly() -> None:
    (row,) = checks.state()
    assert row["predicted"] == row["measured"]


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        {"width": 64, "heads": 2, "feed_forward": 160, "encoder_layers": 2, "decoder_layers": 1},
        {"width": 64, "heads": 4, "feed_forward": 96, "activation": "relu", "dropout": 0.0, "norm_kind": "layer"},
        {"width": 64, "heads": 4, "feed_forward": 96, "key_value_heads": 2, "activation": "gelu"},
        {"width": 64, "heads": 4, "feed_forward": 96, "feed_forward_dropout": 0.2, "activation": "relu"},
        {"width": 64, "heads": 4, "feed_forward": 96, "head_width": 24, "activation": "geglu", "embedding_norm": True},
        {"width": 64, "heads": 4, "feed_forward": 96, "activation": "silu", "positions": "relative"},
    ],
)
def test_what_autograd_keeps_is_counted(model: dict[str, Any], bf16: bool) -> None:
    config = configured(**model)
    predicted = scaling.activation_bytes(config, checks.TOKENS, bf16)
    predicted += scaling.copies_bytes(config, checks.SMALL_VOCABULARY, bf16)
    assert predicted == pytest.approx(checks.kept_bytes(config, bf16), rel=0.01)


@pytest.mark.parametrize("gpus", [1, 8, 64, 512])
def test_larger_models_cost_more(gpus: int) -> None:
    for shard in (False, True):
        found = [estimate(model_of(size), H200, gpus, shard) for size in scaling.SIZES]
        for what in ("parameters", "memory", "step_seconds"):
            values = [getattr(each, what) for each in found]
            assert values == sorted(values), what


@pytest.mark.parametrize("size", scaling.SIZES)
def test_more_gpus_hold_and_do_less_each(size: str) -> None:
    for shard in (False, True):
        found = [estimate(model_of(size), H200, gpus, shard) for gpus in (2, 8, 64, 512)]
        for what in ("memory", "products_seconds"):
            values = [getattr(each, what) for each in found]
            assert values == sorted(values, reverse=True), what
    assert estimate(model_of(size), H200, 64, True).memory < estimate(model_of(size), H200, 64, False).memory


def test_one_gpu_sends_nothing() -> None:
    assert estimate(model_of("1B"), H200, 1).wire == 0
    assert estimate(model_of("1B"), H200, 2).wire > 0


def test_flop_are_six_for_each_parameter_that_a_token_meets() -> None:
    """Of an encoder and decoder of one size each token meets about a half, but for attention's own products."""
    model = model_of("1B")
    parts = scaling.parts_of(model, scaling.VOCABULARY)
    met = parts.encoder + parts.decoder + parts.projection
    assert scaling.flop(model, scaling.VOCABULARY, 2, length=0) == 6 * met
    assert scaling.flop(model, scaling.VOCABULARY, 2, length=25) < 1.02 * 6 * met


@pytest.mark.parametrize("options", [{}, {"key_value_heads": 2}, {"head_width": 6, "activation": "geglu"}])
def test_muons_products_are_those_that_it_makes(options: dict[str, Any]) -> None:
    model = configured(width=32, feed_forward=48, heads=4, encoder_layers=2, decoder_layers=1, **options)
    transformer = Transformer(model, 50)
    for parameter in transformer.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer = Optimizer(transformer, TrainingConfig(optimizer="muon"))
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    assert counter.get_total_flops() == scaling.muon_flop(model)
