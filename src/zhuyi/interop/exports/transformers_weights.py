"""The weights of a model by the names of transformers, and the settings of its class.

The tables of names are those by which `bart` and `t5` import, read in the other direction. What is only written
in another way there is written so: a bias that a model has not is zero, each head has its own copy of the keys and
values of its group, and the embeddings of two vocabularies stand one below the other in one matrix.
"""

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from zhuyi.config import ModelConfig
from zhuyi.interop.exports.joint_tokenizer import JointTokenizer
from zhuyi.interop.families import bart, t5
from zhuyi.interop.families.weights import Arrays, halves_together, permuted
from zhuyi.model.blocks import ACTIVATIONS
from zhuyi.model.positions import Positions, Relative
from zhuyi.model.transformer import Transformer


@dataclass(frozen=True)
class Written:
    """A model in the terms of one of the library's classes."""

    config: dict[str, Any]
    weights: Arrays


def as_bart(transformer: Transformer, tokenizer: JointTokenizer, name: str) -> Written:
    """A model as BART and its relatives have it.

    Args:
        transformer: the model.
        tokenizer: whose ids the rows of its matrices have.
        name: the `model_type`, one of `bart.FAMILIES`.
    """
    config, family = transformer.config, bart.FAMILIES[name]
    order = halves_together(config.width).argsort() if family.positions == "sinusoidal" else np.arange(config.width)
    embedding, projection = _matrices(transformer, tokenizer)
    weights = {
        "model.shared.weight": embedding[:, order],
        **_bart_blocks(transformer, order),
        **_bart_positions(transformer, family.first_position, order),
    }
    if projection is not None:
        weights |= dict.fromkeys(bart.EMBEDDINGS, embedding[:, order])  # nothing is tied
        weights["lm_head.weight"] = projection[:, order]
    bias = transformer.projection.bias
    biases = np.zeros(len(embedding), np.float32)
    biases[: tokenizer.target] = 0 if bias is None else _array(bias)
    weights["final_logits_bias"] = biases[None]
    return Written(_bart_settings(config, family.architecture, len(embedding), projection is None), weights)


def _bart_blocks(transformer: Transformer, order: npt.NDArray[np.int64]) -> Arrays:
    """Maps and norms; a bias that a model has not is zero."""
    ours = {key: permuted(key, array, order) for key, array in _arrays(transformer).items()}
    weights = {}
    for our, their in bart.NAMES.ours_to_theirs(transformer.config).items():
        weights[f"{their}.weight"] = ours[f"{our}.weight"]
        weights[f"{their}.bias"] = ours.get(f"{our}.bias", np.zeros(len(ours[f"{our}.weight"]), np.float32))
    return weights


def _bart_positions(transformer: Transformer, first: int, order: npt.NDArray[np.int64]) -> Arrays:
    """The tables of positions, whose first one has the row `first`; zeros, without positions."""
    config, tables = transformer.config, {}
    for side, stack in transformer.stacks().items():
        table = np.zeros((first + config.max_length, config.width), np.float32)
        if type(stack.positions) is not Positions:
            table[first:] = _array(cast(torch.Tensor, stack.positions.table))[:, order]
        tables[f"model.{side}.embed_positions.weight"] = table
    return tables


def _bart_settings(config: ModelConfig, architecture: str, vocabulary: int, tied: bool) -> dict[str, Any]:
    activations = {ours: theirs for theirs, ours in bart.ACTIVATIONS.items()}
    of_sides = {"attention_heads": config.heads, "ffn_dim": config.feed_forward, "layerdrop": 0.0}
    return {
        "architectures": [architecture],
        "d_model": config.width,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        **{f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in of_sides.items()},
        "activation_function": activations[config.activation],
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.feed_forward_dropout,
        "scale_embedding": config.embedding_scale,
        "max_position_embeddings": config.max_length,
        "tie_word_embeddings": tied,
        "share_encoder_decoder_embeddings": True,
        "decoder_vocab_size": vocabulary,
        "forced_eos_token_id": None,
    }


def as_t5(transformer: Transformer, tokenizer: JointTokenizer) -> Written:
    """A model as T5 has it: see `t5`; arguments as of `as_bart`."""
    config = transformer.config
    embedding, projection = _matrices(transformer, tokenizer)
    divides = projection is None and config.embedding_scale
    scale = np.float32(math.sqrt(config.width) if config.embedding_scale else 1)
    weights = {"shared.weight": embedding * scale, **_t5_blocks(transformer), **_t5_positions(transformer)}
    if not divides:
        weights["lm_head.weight"] = embedding if projection is None else projection
    return Written(_t5_settings(config, divides), weights)


def _t5_blocks(transformer: Transformer) -> Arrays:
    """Maps and norms; T5 does not divide scores by √d_head, so the queries are divided."""
    config, ours = transformer.config, _arrays(transformer)
    gated = ACTIVATIONS[config.activation].gated
    weights = {}
    for our, their in t5.NAMES.ours_to_theirs(config).items():
        if our.endswith(".inner") and gated:
            weights[f"{their}_0.weight"] = ours[our.replace("inner", "gate") + ".weight"]
            their += "_1"
        scale = np.float32(config.head_width**-0.5 if our.endswith(".query") else 1)
        weights[f"{their}.weight"] = ours[f"{our}.weight"] * scale
    return weights


def _t5_positions(transformer: Transformer) -> Arrays:
    """The tables of relative positions; zeros, without positions."""
    tables = {}
    for side, stack in transformer.stacks().items():
        table = np.zeros((Relative.BUCKETS, transformer.config.heads), np.float32)
        if isinstance(stack.positions, Relative):
            table = _array(stack.positions.table)
        tables[f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = table
    return tables


def _t5_settings(config: ModelConfig, divides: bool) -> dict[str, Any]:
    """The settings; `divides` says whether the logits are divided by √d."""
    activations = {ours: theirs for theirs, ours in t5.ACTIVATIONS.items()}
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "d_model": config.width,
        "d_kv": config.head_width,
        "d_ff": config.feed_forward,
        "num_heads": config.heads,
        "num_layers": config.encoder_layers,
        "num_decoder_layers": config.decoder_layers,
        "feed_forward_proj": activations[config.activation],
        "dropout_rate": config.dropout,
        "layer_norm_epsilon": config.norm_epsilon,
        "relative_attention_num_buckets": Relative.BUCKETS,
        "relative_attention_max_distance": Relative.FARTHEST,
        "n_positions": config.max_length,
        "tie_word_embeddings": divides,
    }


def _matrices(
    transformer: Transformer, tokenizer: JointTokenizer
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """The embedding of all ids, and the projection where it is another matrix; no output has the source's own ids."""
    source, target = _array(transformer.encoder.embedding.weight), _array(transformer.decoder.embedding.weight)
    embedding = np.concatenate([target, source[tokenizer.others]])
    if transformer.projection.weight is transformer.decoder.embedding.weight:
        return embedding, None
    return embedding, np.pad(_array(transformer.projection.weight), ((0, len(tokenizer.others)), (0, 0)))


def _arrays(transformer: Transformer) -> Arrays:
    """Our weights by name; each head has keys and values of its own."""
    config = transformer.config
    arrays = {name: _array(parameter) for name, parameter in transformer.named_parameters()}
    for name, array in arrays.items():
        if name.rsplit(".", 2)[-2] in ("key", "value"):
            groups = array.reshape(config.groups, config.head_width, *array.shape[1:])
            arrays[name] = groups.repeat(config.heads // config.groups, axis=0).reshape(-1, *array.shape[1:])
    return arrays


def _array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy()
