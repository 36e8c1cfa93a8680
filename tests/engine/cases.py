"""Small models with random weights, and what torch decodes with them, as driver.cpp reads it.

python tests/engine/cases.py DIRECTORY      writes a file for each model
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from zhuyi.checkpoint import weights_of
from zhuyi.config import PRESETS, DecodingConfig, ModelConfig
from zhuyi.data.batches import pad_sources
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.engine.torch import TorchEngine
from zhuyi.model.shapes import SHAPES
from zhuyi.model.transformer import Network
from zhuyi.text.tokenizer import BOS, EOS

ACTIVATIONS = ("relu", "gelu", "silu", "swiglu", "geglu")
POSITIONS = ("none", "sinusoidal", "tensor2tensor", "learned", "rotary", "alibi")
STOPPING_RULES = ("bound", "huggingface", "huggingface-early", "marian")
"""In the order of the engine's C++."""

FIRST = 4
"""The first token that is not special."""

SMALL = {"width": 24, "heads": 2, "encoder_layers": 1, "decoder_layers": 2, "feed_forward": 40, "max_length": 24}
MODELS = {
    "modern": ("modern", SMALL, 70, None),
    "paper": ("paper", SMALL | {"width": 36, "heads": 3, "encoder_layers": 2, "decoder_layers": 1}, 19, 150),
    "alibi": (
        "modern",
        SMALL | {"positions": "alibi", "key_value_heads": 1, "activation": "gelu", "max_length": 40},
        33,
        None,
    ),
    "learned": (
        "paper",
        SMALL | {"positions": "learned", "norm_kind": "rms", "bias": "feed_forward", "tie": "none"},
        40,
        21,
    ),
    "marian": (
        "paper",
        SMALL | {"positions": "tensor2tensor", "activation": "silu", "bias": "all", "output_bias": True, "width": 36},
        40,
        None,
    ),
    "bart": (
        "paper",
        SMALL | {"activation": "geglu", "embedding_norm": True, "embedding_scale": False, "heads": 5, "head_width": 10},
        40,
        None,
    ),
    "decoder": ("modern", SMALL | {"shape": "decoder"}, 45, None),
    "decoder-learned": ("paper", SMALL | {"shape": "decoder", "positions": "learned", "tie": "none"}, 40, None),
}
"""By name: the preset, what is set in it, and the vocabularies. Widths and vocabularies fill no whole registers."""

DECODINGS: list[tuple[dict[str, Any], list[int]]] = [
    ({"beam": 1}, []),
    ({"beam": 1, "max_ratio": 0.4, "max_extra": 1}, []),
    ({"beam": 1}, [FIRST + 2, EOS]),
    ({"beam": 4, "n_best": 3}, []),
    ({"beam": 3, "n_best": 2, "length_penalty": 0.0}, [FIRST + 2, FIRST]),
    ({"beam": 2, "n_best": 2, "no_repeat_ngram": 2}, []),
    ({"beam": 3, "max_repetition": 4}, []),
    ({"beam": 3, "n_best": 3, "max_repetition": 4, "min_length": 9}, [FIRST + 2]),
    ({"beam": 70, "n_best": 40, "max_ratio": 0.1, "max_extra": 3}, []),  # more rows than a step has, and than tokens
    ({"beam": 4, "n_best": 4, "stop": "huggingface", "penalty": "power", "end_at_limit": True}, [FIRST + 2]),
    ({"beam": 3, "stop": "huggingface", "penalty": "power", "length_penalty": 0.6, "max_extra": 2}, []),
    ({"beam": 4, "n_best": 2, "stop": "huggingface-early", "penalty": "power"}, []),
    ({"beam": 5, "n_best": 5, "stop": "marian", "penalty": "power", "allow_unknown": False}, []),
    ({"strategy": "sampling", "n_best": 2}, [FIRST]),
    ({"strategy": "sampling", "n_best": 3, "top_k": 5, "top_p": 0.9, "temperature": 0.8, "seed": 2**32 - 1}, []),
]


def random_model(config: ModelConfig, source: int, target: int | None, broken: bool) -> Network:
    """No weight has a special value, and many outputs end before their limit. If broken, one token is not a number."""
    torch.manual_seed(1)
    model = SHAPES[config.shape](config, source, target).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        model.projection.weight[EOS] *= 2
        if broken:
            reader = next(iter(model.stacks().values()))
            reader.embedding.weight[FIRST + 1] = torch.nan
    return model


def write(path: Path, name: str) -> list[Hypothesis]:
    """Write the cases of a model of MODELS; all hypotheses that are expected of it."""
    preset, changes, source, target = MODELS[name]
    config = ModelConfig(**PRESETS[preset].get("model", {}) | changes)
    model = random_model(config, source, target, broken="learned" in name)
    found: list[Hypothesis] = []
    with path.open("w", encoding="utf-8") as file:
        for words in _words(config, model, source, target or source, found):
            print(*(f"{word:.9g}" if isinstance(word, float) else word for word in words), file=file)
    return found


def _words(
    config: ModelConfig, model: Network, source: int, target: int, found: list[Hypothesis]
) -> Iterator[Sequence[object]]:
    weights = weights_of(model)
    if config.shape == "encoder-decoder":
        weights.setdefault("decoder.embedding.weight", weights["encoder.embedding.weight"])
    weights.setdefault("projection.weight", weights["decoder.embedding.weight"])
    yield config.width, config.heads, config.groups, config.head_width
    yield (config.encoder_layers if config.shape == "encoder-decoder" else 0,)
    yield config.decoder_layers, config.feed_forward, ACTIVATIONS.index(config.activation)
    yield POSITIONS.index(config.positions), int(config.norm == "pre"), int(config.norm_kind == "rms")
    yield int(config.embedding_scale), int(config.embedding_norm), int(config.final_norm)
    yield config.max_length, source, target, config.norm_epsilon
    yield (len(weights),)
    for name, weight in weights.items():
        rows, columns = weight.shape if weight.ndim == 2 else (1, len(weight))
        yield name, rows, columns
        yield weight.flatten().tolist()

    random = Random(2)
    engine = TorchEngine(model, config.max_length, "cpu")
    lengths = [0, 1, 2, 3, 5, 8, 13, config.max_length - 1]
    yield (len(DECODINGS) + 1,)
    for number, (settings, prefix) in enumerate(DECODINGS):
        decoding, some = DecodingConfig(**settings), lengths[number % 2 :: 2]
        sources = [[random.randrange(FIRST, source) for _ in range(length)] for length in some]
        limits = decoding.limits(np.array(some) + 1, config.max_length).tolist()
        lines = [random.randrange(2**40) for _ in sources]
        hypotheses = engine.decode(sources, decoding, lines, prefix)
        yield _settings(decoding)
        yield (len(sources),)
        for tokens, limit, line, alternatives in zip(sources, limits, lines, hypotheses, strict=True):
            yield from _sentence(tokens, prefix, limit, line, alternatives)
            found += alternatives

    # The log-probabilities of a given target, over all tokens: training's loss.
    yield _settings(DecodingConfig(beam=1, max_repetition=0), every_token=True)
    yield (len(lengths),)
    for length in lengths:
        tokens, forced = ([random.randrange(FIRST, n) for _ in range(length)] for n in (source, target))
        padded, mask = pad_sources([tokens])
        with torch.inference_mode():
            log_probs = model(padded, mask, torch.tensor([[BOS, *forced]])).log_softmax(dim=-1)[0]
        each = log_probs.gather(1, torch.tensor([*forced, EOS])[:, None]).flatten().tolist()
        failed = Hypothesis([], -torch.inf, [], finished=False)
        best = (
            failed
            if torch.isnan(log_probs).any()
            else Hypothesis(forced, sum(each) / ((5 + length + 1) / 6), each, finished=True)
        )
        yield from _sentence(tokens, [*forced, EOS], length + 1, 0, [best])


def _settings(decoding: DecodingConfig, every_token: bool = False) -> Sequence[object]:
    counts = (decoding.rows, decoding.n_best, decoding.top_k)
    counts += (decoding.no_repeat_ngram, decoding.max_repetition, decoding.min_length)
    rules = (decoding.penalty == "power", STOPPING_RULES.index(decoding.stop))
    rules += (decoding.end_at_limit, not decoding.allow_unknown)
    shares = (decoding.length_penalty, decoding.temperature, decoding.top_p)
    return (
        int(decoding.strategy == "sampling"),
        *counts,
        *map(int, (every_token, *rules)),
        *map(float, shares),
        decoding.seed,
    )


def _sentence(
    source: Sequence[int], prefix: Sequence[int], limit: int, line: int, found: Sequence[Hypothesis]
) -> Iterator[Sequence[object]]:
    yield len(source) + 1, *source, EOS
    yield len(prefix), *prefix, limit, line, len(found)
    for one in found:
        tokens = [*one.tokens, EOS] if one.finished else one.tokens
        yield one.score, int(one.finished), len(tokens), *tokens, *one.token_logprobs


if __name__ == "__main__":
    for name in MODELS:
        write(Path(sys.argv[1], f"{name}.txt"), name)
