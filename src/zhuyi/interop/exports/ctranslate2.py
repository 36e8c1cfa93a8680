"""zhuyi → CTranslate2: a directory that `ctranslate2.Translator` opens.

CTranslate2 (OpenNMT) describes a model as a tree of specifications whose leaves are arrays. The functions below fill
that tree, each from one kind of module:

    Stack                 embedding, the table of positions that are added, blocks, and the final norm
    MultiHeadAttention    linear = [query; key; value], output (self), or query, [key; value], output (cross)
    FeedForward           linear_0 = inner, linear_1 = outer; gated: linear_0 = gate, linear_0_noact = inner
    projection            and its bias, which excludes PAD and BOS: they are never written

What the two programs do not have in common is refused by the name of its key.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from zhuyi.checkpoint import Model
from zhuyi.config import ModelConfig
from zhuyi.engine.protocol import Tokens
from zhuyi.errors import ConfigError
from zhuyi.interop.exports.libraries import library
from zhuyi.model.attention import SelfAttention
from zhuyi.model.blocks import ACTIVATIONS, Block, RMSNorm
from zhuyi.model.positions import Learned, Positions, Relative, Sinusoidal
from zhuyi.model.stack import Stack
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import BOS, EOS, PAD, SPECIALS, UNK, Tokenizers
from zhuyi.version import __version__

PRECISIONS = ("float32", "int8", "int16", "float16")
FILES = frozenset(
    {
        *("model.bin", "config.json", "README.md", "tokenizer.json", "tokenizer.source.json", "tokenizer.target.json"),
        *("shared_vocabulary.json", "source_vocabulary.json", "target_vocabulary.json"),
    }
)
"""The names of all files that a directory may hold."""
ACTIVATION = {"relu": "RELU", "gelu": "GELU", "silu": "SWISH", "swiglu": "SWISH", "geglu": "GELUTanh"}
"""The names of activations, ours and CTranslate2's; a gate is an option of its own there."""
EXPRESSIBLE = {
    "encoder_mixer": ("attention",),
    "decoder_mixer": ("attention",),
    "positions": ("sinusoidal", "tensor2tensor", "learned", "rotary", "relative", "none"),
    "activation": tuple(ACTIVATION),
    "norm": ("pre", "post"),
    "norm_kind": ("layer", "rms"),
}
"""The values that CTranslate2 can compute, of each option that has others."""
NEVER = -6e4
"""As a bias of a token's logit: its probability is exactly 0. In float16 there are no numbers below -65504."""
BATCH = 32
"""Sentences that CTranslate2 decodes side by side."""


class CTranslate2Directory:
    """A directory that `write` wrote, run by CTranslate2 on the CPU.

    Args:
        directory: what `write` wrote.
        tokenizers: of the model.
    """

    def __init__(self, directory: Path, tokenizers: Tokenizers) -> None:
        self._translator = library("ctranslate2", "ctranslate2").Translator(str(directory))
        self._source, self._target = tokenizers.source.names, tokenizers.target.names
        self._ids = {token: i for i, token in enumerate(self._target)}
        self._given = [self._target[token] for token in tokenizers.target.template.prefix]

    def decode(self, sources: Sequence[Tokens], limit: int) -> list[list[int]]:
        """The output of greedy search for each source, without EOS; at most `limit` tokens, EOS counted."""
        found = self._translator.translate_batch(
            self._pieces(self._source, sources),
            [self._given] * len(sources) if self._given else None,
            beam_size=1,
            min_decoding_length=0,
            max_decoding_length=limit,
            max_input_length=0,
            max_batch_size=BATCH,
        )
        return [[self._ids[token] for token in result.hypotheses[0]] for result in found]

    def log_probabilities(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> list[list[float]]:
        """The log-probability of each token of each target, and of EOS after them.

        Args:
            sources: each of 1 to `max_length` − 1 tokens.
            targets: one for each source, of at most as many tokens.
        """
        source, target = self._pieces(self._source, sources), self._pieces(self._target, targets)
        scored = self._translator.score_batch(source, target, max_input_length=0, max_batch_size=BATCH)
        return [result.log_probs for result in scored]

    @staticmethod
    def _pieces(vocabulary: list[str], lines: Sequence[Tokens]) -> list[list[str]]:
        return [[vocabulary[token] for token in line] for line in lines]


def write(model: Model, directory: Path, precision: str) -> None:
    """Write a model into an empty directory.

    Args:
        model: with its weights, on any device.
        directory: is there, and empty.
        precision: one of `PRECISIONS`. In "int8" and "int16" CTranslate2 quantises the rows of matrices.

    Raises:
        ConfigError: naming the key, if CTranslate2 cannot compute this model.
        MissingExtra: if `ctranslate2` is not installed.
    """
    transformer, tokenizers = cast(Transformer, model.transformer), model.tokenizers
    config = transformer.config
    _ensure_expressible(config)
    if tokenizers.source.template.suffix:
        raise ConfigError("text.source_suffix: CTranslate2 ends every source with EOS; use zhuyi itself")
    specification = _specification(config)
    _fill_stack(specification.encoder, specification.encoder.embeddings[0], transformer.encoder, config)
    _fill_stack(specification.decoder, specification.decoder.embeddings, transformer.decoder, config)
    _fill_linear(specification.decoder.projection, transformer.projection)
    if transformer.projection.bias is None:
        specification.decoder.projection.bias = np.zeros(len(tokenizers.target), np.float32)
    specification.decoder.projection.bias[[PAD, BOS]] = NEVER

    specification.register_source_vocabulary(tokenizers.source.names)
    specification.register_target_vocabulary(tokenizers.target.names)
    settings = specification.config
    settings.unk_token, settings.bos_token, settings.eos_token = (SPECIALS[token] for token in (UNK, BOS, EOS))
    settings.decoder_start_token, settings.add_source_eos = SPECIALS[BOS], True
    settings.layer_norm_epsilon = config.norm_epsilon
    settings.add_attribute("zhuyi", __version__)

    specification.validate()
    specification.optimize(quantization=None if precision == "float32" else precision)
    specification.save(str(directory))
    for name, tokenizer in zip(tokenizers.files(), (tokenizers.source, tokenizers.target), strict=False):
        (directory / name).write_text(tokenizer.engine_to_json(), encoding="utf-8", newline="\n")
    card = _card(tokenizers, config.max_length, model.config.decoding.min_length)
    (directory / "README.md").write_text(card, encoding="utf-8", newline="\n")


def _ensure_expressible(config: ModelConfig) -> None:
    for key, known in EXPRESSIBLE.items():
        if (value := getattr(config, key)) not in known:
            raise ConfigError(f'model.{key} = "{value}": CTranslate2 has only {", ".join(known)}; use zhuyi itself')


def _specification(config: ModelConfig) -> Any:
    """The empty tree of a model's specification."""
    specs = library("ctranslate2", "ctranslate2").specs
    options: dict[str, Any] = {
        "rms_norm": config.norm_kind == "rms",
        "activation": specs.common_spec.Activation[ACTIVATION[config.activation]],
        "ffn_glu": ACTIVATIONS[config.activation].gated,
        "layernorm_embedding": config.embedding_norm,
        "no_final_norm": not config.final_norm,
    }
    if config.head_width * config.heads != config.width:
        options["head_dim"] = config.head_width
    if config.groups != config.heads:
        options["num_heads_kv"] = config.groups
    if config.positions == "rotary":
        options |= {"rotary_dim": 0, "rotary_interleave": False}  # all of a head's width; i is paired with i + half
    if config.positions == "relative":
        options["relative_attention_bias"] = True
    spec = specs.transformer_spec
    return spec.TransformerSpec(
        spec.TransformerEncoderSpec(config.encoder_layers, config.heads, **options),
        spec.TransformerDecoderSpec(config.decoder_layers, config.heads, **options),
    )


def _fill_stack(specification: Any, embedding: Any, stack: Stack, config: ModelConfig) -> None:
    embedding.weight = _array(stack.embedding.weight)
    specification.scale_embeddings = config.embedding_scale  # by √width
    specification.pre_norm = config.norm == "pre"  # only now: with post-norm, a new specification has no final norm
    if isinstance(stack.positions, Sinusoidal | Learned):
        specification.position_encodings.encodings = _array(stack.positions.table)
    elif type(stack.positions) is Positions:
        specification.position_encodings.encodings = np.zeros((config.max_length, config.width), np.float32)
    for layer, block in zip(specification.layer, cast(Iterable[Block], stack.blocks), strict=True):
        _fill_block(layer, block)
        if isinstance(stack.positions, Relative):  # the same numbers in all layers
            layer.self_attention.relative_attention_bias = _array(stack.positions.table)
            layer.self_attention.relative_attention_max_distance = np.int32(Relative.FARTHEST)
    if config.embedding_norm:
        _fill_norm(specification.layernorm_embedding, stack.embedding_norm)
    if config.final_norm:
        _fill_norm(specification.layer_norm, stack.norm)


def _fill_block(layer: Any, block: Block) -> None:
    mixer, cross = block.mixer, block.cross if block.has_cross else None
    assert isinstance(mixer, SelfAttention)
    _fill_linear(layer.self_attention.linear[0], mixer.query, mixer.key, mixer.value)
    _fill_linear(layer.self_attention.linear[1], mixer.output)
    _fill_norm(layer.self_attention.layer_norm, block.mixer_residual.norm)
    if cross is not None:
        _fill_linear(layer.attention.linear[0], cross.query)
        _fill_linear(layer.attention.linear[1], cross.key, cross.value)
        _fill_linear(layer.attention.linear[2], cross.output)
        _fill_norm(layer.attention.layer_norm, block.cross_residual.norm)
    feed_forward = block.feed_forward
    if feed_forward.activation.gated:
        _fill_linear(layer.ffn.linear_0, feed_forward.gate)
        _fill_linear(layer.ffn.linear_0_noact, feed_forward.inner)
    else:
        _fill_linear(layer.ffn.linear_0, feed_forward.inner)
    _fill_linear(layer.ffn.linear_1, feed_forward.outer)
    _fill_norm(layer.ffn.layer_norm, block.feed_forward_residual.norm)


def _fill_linear(specification: Any, *maps: nn.Linear) -> None:
    """One linear map, or several of one input, their outputs side by side."""
    specification.weight = np.concatenate([_array(each.weight) for each in maps])
    if maps[0].bias is not None:
        specification.bias = np.concatenate([_array(each.bias) for each in maps])


def _fill_norm(specification: Any, norm: nn.Module) -> None:
    assert isinstance(norm, nn.LayerNorm | RMSNorm)
    specification.gamma = _array(norm.weight)
    if isinstance(norm, nn.LayerNorm):
        specification.beta = _array(norm.bias)


def _array(tensor: Tensor) -> npt.NDArray[np.float32]:
    """A copy: quantising changes it in place."""
    return tensor.detach().float().cpu().numpy().copy()


def _card(tokenizers: Tokenizers, max_length: int, min_length: int) -> str:
    """The README.md of a directory."""
    names = [*tokenizers.files()]
    common = {"source": names[0], "target": names[-1], "limit": max_length, "least": max(min_length - 1, 0)}
    source, target = tokenizers.source.names, tokenizers.target.names
    (of_source, of_target), longest = tokenizers.templates, max_length - 1
    pieces = {
        "source_prefix": [source[token] for token in of_source.prefix],
        "target_prefix": [target[token] for token in of_target.prefix],
    }
    tags = dict.fromkeys([*(source[token] for token in of_source.tags), *(target[token] for token in of_target.tags)])
    if not any(pieces.values()) and not tags:
        plain = {"prefixes": "", "line": f"line.tokens[:{longest}]", "given": "", "written": "", "about": ""}
        return CARD.format(**common, **plain)
    longest -= len(pieces["source_prefix"])
    prefixed = {
        "prefixes": "".join(f"{name} = {value}\n" for name, value in pieces.items()),
        "line": f"[*source_prefix, *line.tokens[:{longest}]] if line.tokens else []",
        "given": ', "target_prefix": [target_prefix] * len(lines)',
        "written": "[len(target_prefix):]",
        "about": ABOUT_TEMPLATE.format(tags=", ".join(f"`{tag}`" for tag in tags) or "none"),
    }
    return CARD.format(**common, **prefixed)


CARD = """# A zhuyi model for CTranslate2

Written by `zhuyi export`. It needs `pip install ctranslate2 tokenizers`, and no torch:

```python
import ctranslate2
from tokenizers import Tokenizer

directory = "."  # this one
source = Tokenizer.from_file(f"{{directory}}/{source}")
target = Tokenizer.from_file(f"{{directory}}/{target}")
translator = ctranslate2.Translator(directory)
{prefixes}

def translate(lines, beam_size=1):
    tokens = [{line} for line in source.encode_batch(lines, add_special_tokens=False)]
    options = {{"min_decoding_length": {least}, "max_decoding_length": {limit}, "max_input_length": 0{given}}}
    found = translator.translate_batch(tokens, beam_size=beam_size, length_penalty=0, max_batch_size=32, **options)
    return [target.decoder.decode(each.hypotheses[0]{written}) for each in found]


print(translate(["A line of text."]))
```

- CTranslate2 adds EOS to the source, and never writes PAD or BOS, as zhuyi.
- `min_decoding_length` is that of the model (`decoding.min_length`), without EOS. The default of 1 forbids an empty
  output.
- A model that may not write UNK (`decoding.allow_unknown = false`) needs `disable_unk=True`.
- With `beam_size=1`, it writes what `zhuyi translate --beam 1` writes. With larger beams, the two agree at a length
  penalty of 0 only: CTranslate2's is that of `decoding.penalty = "power"`, and it has another rule for the end of a
  search. Even there, zhuyi's answer may be a better one: its beam never loses the prefix of greedy search.
- zhuyi also ends an output at `decoding.max_ratio` · source + `decoding.max_extra` tokens, and where it repeats itself
  (`decoding.max_repetition`). CTranslate2 ends it at `max_decoding_length` only.
{about}"""

ABOUT_TEMPLATE = """\
- `source_prefix` and `target_prefix` are the pieces that stand before every line, as in the model's settings ([text]);
  a blank line has none. For another language, put its tag there. Tags: {tags}.
"""
