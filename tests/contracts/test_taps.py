"""Every intermediate value has its name; to look changes nothing, and to replace changes the rest."""

import pytest
import torch
from torch.testing import assert_close

from zhuyi.config import ModelConfig
from zhuyi.model.mixers import MIXERS
from zhuyi.model.tap import SILENT, Recording
from zhuyi.model.transformer import Transformer

ATTENTION = {"queries", "keys", "values", "scores", "mask", "weights", "context", "output"}
ROTATED = {"rotated_queries", "rotated_keys"}
BIASED = {"alibi": {"bias"}, "relative": {"bias"}}
MIXER_NAMES = {"attention": ATTENTION | ROTATED, "convolution": {"gated", "output"}, "recurrence": {"states", "output"}}
RESIDUAL = {"norm", "residual"}


def self_names(config: ModelConfig, causal: bool) -> set[str]:
    mixer = config.mixer_of(causal)
    bias = BIASED.get(config.positions, set()) if mixer == "attention" else set()
    return MIXER_NAMES[mixer] | bias | RESIDUAL


def expected_names(config: ModelConfig) -> set[str]:
    encoder = {
        "self": self_names(config, causal=False),
        "feed_forward": {"inner", "output"} | RESIDUAL,
    }
    decoder = {**encoder, "self": self_names(config, causal=True), "cross": ATTENTION | RESIDUAL}
    if config.shape == "decoder":
        del decoder["cross"]
    stacks = [("encoder", config.encoder_layers, encoder), ("decoder", config.decoder_layers, decoder)]
    stacks = [each for each in stacks if each[0] in config.shape]
    names = {f"{stack}.{name}" for stack, _, _ in stacks for name in ("embedding", "input", "output")}
    names |= {"logits", *(["pooled"] if config.shape == "encoder" and config.labels == "line" else [])}
    for stack, layers, parts in stacks:
        names |= {f"{stack}.{n}.{part}.{name}" for n in range(layers) for part in parts for name in parts[part]}
    return names


@torch.no_grad()
def test_every_name_is_there_and_looking_changes_nothing(config, model, sentences):
    tap = Recording()
    assert torch.equal(model(*sentences, tap), model(*sentences))
    assert tap.values.keys() == expected_names(config)
    for name, value in tap.values.items():
        if name.endswith(".weights"):
            assert_close(value.sum(dim=-1), torch.ones(value.shape[:-1]))
            mask = tap.values[name.removesuffix("weights") + "mask"].expand_as(value)
            assert torch.equal(value > 0, mask)


@pytest.mark.slow
@pytest.mark.parametrize("mixer", MIXERS)
@torch.no_grad()
def test_replacing_any_value_changes_the_output(mixer, sentences):
    torch.manual_seed(1)
    config = ModelConfig(width=16, heads=4, encoder_layers=1, decoder_layers=1, feed_forward=24, mixer=mixer)
    model = Transformer(config, 12).eval()
    plain = Recording()
    logits = model(*sentences, plain)
    for name in plain.values:
        tap = Recording({name: lambda value: ~value if value.dtype == torch.bool else value + torch.randn_like(value)})
        assert not torch.allclose(model(*sentences, tap), logits, equal_nan=True), name
        assert not torch.equal(tap.values[name], plain.values[name]), "the record holds what was used"


def test_silent_tap_hands_back_the_very_object():
    value = torch.zeros(1)
    assert SILENT("any", value) is value
    assert SILENT.within("anywhere") is SILENT
