"""The native engine in float32 finds what torch's finds, in every configuration that it knows."""

import math
import random
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, get_args

import pytest
import torch
from contracts.conftest import CONFIGS, SMALL, build, every

from zhuyi.checkpoint import build_model, weights_of
from zhuyi.config import Config, DecodingConfig, ModelConfig, Precision, Shape, StoppingRule, changed
from zhuyi.decoding.ensemble import Ensemble
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.engine.choice import engine_of
from zhuyi.engine.native import NativeEngine
from zhuyi.engine.packed import POSITIONS, PackedModel, unsupported
from zhuyi.engine.torch import TorchEngine
from zhuyi.errors import ZhuyiWarning
from zhuyi.model.transformer import Network
from zhuyi.text.tokenizer import Tokenizers

KNOWN = {name: config for name, config in CONFIGS.items() if unsupported(config) is None}
UNKNOWN = {name: config for name, config in CONFIGS.items() if name not in KNOWN}

ODD = {"width": 20, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 7, "max_length": 16}
"""Widths that are no multiple of anything."""

VARIED = {
    "rotary": ModelConfig(**ODD, key_value_heads=1, tie="none"),
    "sinusoidal": ModelConfig(**ODD, activation="gelu", positions="sinusoidal", norm_kind="layer", bias="all"),
    "decoder": ModelConfig(**ODD, shape="decoder", positions="learned", tie="none"),
}
"""Configurations for what does not depend on them."""

LIMITS = {"max_ratio": 0.5, "max_extra": 2}
GREEDY = DecodingConfig(beam=1, **LIMITS)
BEAM = DecodingConfig(beam=4, n_best=3, **LIMITS)
DECODINGS = {
    "greedy to the longest": DecodingConfig(beam=1, max_extra=100),
    "beam to the longest": DecodingConfig(beam=5, max_extra=100),
    "no length penalty": DecodingConfig(beam=4, n_best=3, length_penalty=0.0, **LIMITS),
    "filters": DecodingConfig(beam=3, n_best=2, no_repeat_ngram=2, max_repetition=4),
    "no early end": DecodingConfig(beam=3, n_best=2, max_repetition=2, min_length=9, max_ratio=0.0, max_extra=12),
    "greedy, and nothing is left": DecodingConfig(beam=1, no_repeat_ngram=1, min_length=40, max_extra=100),
    "a limit before the least length": DecodingConfig(beam=4, n_best=2, min_length=40, end_at_limit=True, **LIMITS),
    "one token": DecodingConfig(beam=4, n_best=4, max_ratio=0.0, max_extra=1),
    "a beam wider than the vocabulary": DecodingConfig(beam=9, n_best=9, max_ratio=0.0, max_extra=3),
    "power": DecodingConfig(beam=4, n_best=3, penalty="power", length_penalty=1.5, **LIMITS),
    "no unknown": DecodingConfig(beam=3, n_best=2, allow_unknown=False, end_at_limit=True, **LIMITS),
    "greedy to an end": DecodingConfig(beam=1, stop="huggingface", allow_unknown=False, end_at_limit=True, **LIMITS),
    **{
        f"{rule}{' to an end' if ended else ''}": DecodingConfig(
            beam=5, n_best=5, stop=rule, penalty="power", end_at_limit=ended, max_ratio=0.5, max_extra=4
        )
        for rule in get_args(StoppingRule)
        for ended in (False, True)
    },
    "Marian, a beam wider than the vocabulary": DecodingConfig(
        beam=9, n_best=9, stop="marian", max_ratio=0.0, max_extra=3
    ),
    "samples": DecodingConfig(strategy="sampling", n_best=3, **LIMITS),
    "long samples": DecodingConfig(strategy="sampling", n_best=3, min_length=6, end_at_limit=True, **LIMITS),
    "shaped samples": DecodingConfig(
        strategy="sampling", n_best=2, top_k=5, top_p=0.8, temperature=0.7, seed=7, no_repeat_ngram=1, **LIMITS
    ),
}
NOTHING = [Hypothesis([], -math.inf, [], finished=False)]


@dataclass(frozen=True)
class Engines:
    """Both engines, with the same weights."""

    torch: TorchEngine
    native: NativeEngine


def engines_of(model: Network, config: ModelConfig, precision: Precision = "float32") -> Engines:
    native = NativeEngine([packed(model, precision)], workers=1)
    return Engines(TorchEngine(model, config.max_length, "cpu"), native)


def packed(model: Network, precision: Precision = "float32") -> PackedModel:
    weights = {name: weight.numpy() for name, weight in weights_of(model).items()}
    return PackedModel(weights, model.config, precision)


def float32_model(config: ModelConfig) -> Network:
    """The model of the contracts, in float32, to be changed at will."""
    return build.__wrapped__(config)


@cache
def engines(config: ModelConfig) -> Engines:
    return engines_of(float32_model(config), config)


def sentences(*lengths: int) -> list[list[int]]:
    draw = random.Random(3)
    return [[draw.randrange(4, 12) for _ in range(length)] for length in lengths]


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    assert [[(one.tokens, one.finished) for one in each] for each in found] == [
        [(one.tokens, one.finished) for one in each] for each in expected
    ]
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-5, abs=1e-5)
        assert one.token_logprobs == pytest.approx(other.token_logprobs, rel=1e-5, abs=1e-5)


@every(KNOWN)
def test_native_finds_what_torch_finds(config: ModelConfig) -> None:
    both, sources = engines(config), sentences(5, 1, 15, 8)
    for decoding in (GREEDY, DECODINGS["samples"]):
        assert_same(both.native.decode(sources, decoding), both.torch.decode(sources, decoding))
    assert_same(both.native.decode(sources, BEAM, prefix=[7, 5]), both.torch.decode(sources, BEAM, prefix=[7, 5]))


@every(KNOWN)
def test_the_loss_is_that_of_torch(config: ModelConfig) -> None:
    both, sources, targets = engines(config), sentences(5, 1, 15, 8, 0), sentences(2, 15, 1, 0, 9)
    assert both.native.loss(sources, targets) == pytest.approx(both.torch.loss(sources, targets), rel=1e-5)


@every(VARIED)
@pytest.mark.parametrize("decoding", DECODINGS.values(), ids=DECODINGS)
def test_whatever_the_search_native_finds_what_torch_finds(config: ModelConfig, decoding: DecodingConfig) -> None:
    both, sources, lines = engines(config), sentences(5, 1, 15, 8), [3, 2**33, 0, 7]
    assert_same(both.native.decode(sources, decoding, lines), both.torch.decode(sources, decoding, lines))


@cache
def ensembles(shape: Shape) -> Engines:
    """Both engines, with the same three models."""
    configs = [
        ModelConfig(**ODD, shape=shape, tie="none"),
        ModelConfig(**SMALL, shape=shape, tie="none", norm="post", positions="sinusoidal", key_value_heads=1),
        ModelConfig(**{**ODD, "decoder_layers": 3, "max_length": 14}, shape=shape, tie="none", activation="gelu"),
    ]
    models = [float32_model(config) for config in configs]
    native = NativeEngine([packed(model) for model in models], workers=1)
    assert native.max_length == 14
    return Engines(TorchEngine(Ensemble(models), native.max_length, "cpu"), native)


ENSEMBLED: tuple[Shape, ...] = ("encoder-decoder", "decoder")


@pytest.mark.parametrize(
    ("shape", "decoding"),
    [
        pytest.param(shape, decoding, id=f"{shape}-{name}", marks=[pytest.mark.long] if (i + j) % 2 else [])
        for i, shape in enumerate(ENSEMBLED)
        for j, (name, decoding) in enumerate(DECODINGS.items())
    ],
)
def test_of_an_ensemble_native_finds_what_torch_finds(shape: Shape, decoding: DecodingConfig) -> None:
    both, sources, lines = ensembles(shape), sentences(5, 1, 13, 8), [3, 2**33, 0, 7]
    assert_same(both.native.decode(sources, decoding, lines), both.torch.decode(sources, decoding, lines))
    assert_same(
        both.native.decode(sources, decoding, prefix=[7, 5]), both.torch.decode(sources, decoding, prefix=[7, 5])
    )


@pytest.mark.parametrize("shape", ENSEMBLED)
def test_the_loss_of_an_ensemble_is_that_of_torch(shape: Shape) -> None:
    both, sources = ensembles(shape), sentences(5, 1, 13, 8)
    assert both.native.loss(sources, sources[::-1]) == pytest.approx(both.torch.loss(sources, sources[::-1]), rel=1e-5)


@every(VARIED)
@pytest.mark.parametrize("prefix", [[7], [7, 3, 5], [1, 1, 1, 1, 1, 1], [0], [9] * 30])
def test_whatever_the_prefix_native_finds_what_torch_finds(config: ModelConfig, prefix: list[int]) -> None:
    both, sources = engines(config), sentences(5, 1, 12)
    for rule in get_args(StoppingRule):
        decoding = changed(BEAM, {"stop": rule})
        assert_same(
            both.native.decode(sources, decoding, prefix=prefix), both.torch.decode(sources, decoding, prefix=prefix)
        )


@every(VARIED)
@pytest.mark.parametrize("decoding", DECODINGS.values(), ids=DECODINGS)
def test_without_a_source_native_continues_a_prefix_as_torch_does(
    config: ModelConfig, decoding: DecodingConfig
) -> None:
    both, lines = engines(config), [3, 2**33]
    for prefix in ([], [7, 3, 5]):
        found = both.native.decode([[], []], decoding, lines, prefix)
        assert_same(found, both.torch.decode([[], []], decoding, lines, prefix))


@every({name: config for name, config in KNOWN.items() if config.shape == "decoder"})
def test_native_streams_what_torch_streams(config: ModelConfig) -> None:
    both = engines(config)
    for line, text in enumerate([[], [7], [5, 9, 4, 8, 6, 10, 11, 5, 7]]):
        for decoding in (GREEDY, DECODINGS["shaped samples"]):
            found = list(both.native.stream(text, decoding, line))
            assert found == list(both.torch.stream(text, decoding, line))
            assert len(text) + len(found) < config.max_length


@pytest.mark.slow
@every(VARIED)
def test_a_long_source_and_a_long_output(config: ModelConfig) -> None:
    both = engines(config.model_copy(update={"max_length": 256}))
    sources, prefix = sentences(255, 3, 254), sentences(220)[0]
    for decoding in (DecodingConfig(beam=1, max_extra=256), DecodingConfig(beam=3, n_best=3, max_extra=256)):
        found = both.native.decode(sources, decoding, prefix=prefix)
        assert max(len(best.tokens) for [best, *_] in found) >= 220
        assert_same(found, both.torch.decode(sources, decoding, prefix=prefix))


BROKEN = {
    "a token of sources": ("encoder.embedding.weight", 7),
    "a number of a token of sources": ("encoder.embedding.weight", (7, 3)),
    "a token of outputs": ("decoder.embedding.weight", 9),
    "the logit of a token": ("projection.weight", 6),
    "a number of the projection": ("projection.weight", (6, 3)),
    "a key": ("encoder.blocks.0.mixer.key.weight", (2, 5)),
    "a value": ("decoder.blocks.1.mixer.value.weight", (2, 5)),
    "a number of the feed-forward layer": ("encoder.blocks.1.feed_forward.inner.weight", (2, 5)),
    "a norm": ("decoder.blocks.0.mixer_residual.norm.weight", 4),
    "all": ("encoder.embedding.weight", slice(None)),
}
"""Where there is NaN: in a weight, at a place. In the decoder shape the same weight belongs to the one stack."""
NAN = torch.tensor(0x7FFFFFFF, dtype=torch.int32).view(torch.float32)
"""That of GPUs: rounded to bf16 like a number, it would become 0."""


@pytest.mark.parametrize(("name", "place"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("shape", ["encoder-decoder", "decoder"])
def test_where_the_model_gives_no_number_there_is_nothing_as_with_torch(
    shape: Shape, norm: str, name: str, place: Any
) -> None:
    config = ModelConfig(**SMALL, shape=shape, norm=norm, tie="none")
    model = float32_model(config)
    with torch.no_grad():
        model.get_parameter(name if shape == "encoder-decoder" else name.replace("encoder", "decoder"))[place] = NAN
    sources, targets = [[7], [8, 9], [5, 7, 6], [4, 5, 6, 11, 10]], sentences(3, 9, 1, 4)
    by_torch = engines_of(model, config).torch
    expected = [by_torch.decode(sources, decoding) for decoding in (GREEDY, BEAM, DECODINGS["samples"])]
    loss = by_torch.loss(sources, targets)
    for precision in get_args(Precision):
        native = engines_of(model, config, precision).native
        found = [native.decode(sources, decoding) for decoding in (GREEDY, BEAM, DECODINGS["samples"])]
        assert [[each == NOTHING for each in one] for one in found] == [
            [each == NOTHING for each in one] for one in expected
        ]
        assert math.isnan(native.loss(sources, targets)) == math.isnan(loss)
        if precision == "float32":
            for one, other in zip(found, expected, strict=True):
                assert_same(one, other)


@every(UNKNOWN)
def test_what_native_does_not_know_is_named(config: ModelConfig) -> None:
    settings = {
        "shape": config.shape if config.shape == "encoder" else None,
        "encoder_mixer": config.mixer_of(causal=False) if config.shape == "encoder-decoder" else None,
        "decoder_mixer": config.mixer_of(causal=True),
        "positions": config.positions,
    }
    key, value = next((key, value) for key, value in settings.items() if value not in (None, "attention", *POSITIONS))
    assert unsupported(config) == f'it has no model.{key} = "{value}"'


def test_native_is_not_asked_for_what_it_does_not_know() -> None:
    config = Config(model=next(iter(UNKNOWN.values())))
    model = build_model(config, Tokenizers.train(config.text, ["a b"], ["c d"])).stored()
    with pytest.warns(ZhuyiWarning, match="torch computes.*positions"):
        assert isinstance(engine_of(model, "cpu"), TorchEngine)


def test_every_configuration_is_known_but_for_mixers_relative_positions_and_encoders() -> None:
    others = ("convolution", "recurrence", "kernel", "relative", "shape=encoder")
    assert {name for name in CONFIGS if any(other in name for other in others)} == {*UNKNOWN}
