"""The weights of a model by the names of transformers, and the settings of its class.

The tables of names are those by which `huggingface` and `t5` import, read in the other direction. What is only written
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
from zhuyi.interop import huggingface, t5
from zhuyi.interop.foreign import halves_together, permuted
from zhuyi.interop.joint_tokenizer import JointTokenizer
from zhuyi.model.blocks import ACTIVATIONS
from zhuyi.model.positions import Positions, Relative
from zhuyi.model.transformer import Transformer

Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Written:
    """A model in the terms of one of the library's classes."""

    config: dict[str, Any]
    weights: Arrays


def as_bart(transformer: Transformer, tokenizer: JointTokenizer, name: str) -> Written:
    """A model as BART and its relatives have it."""
    config, family = transformer.config, huggingface.FAMILIES[name]
    ours = _arrays(transformer)
    table = _table(transformer.encoder.positions, config), _table(transformer.decoder.positions, config)
    embedding, projection = _matrices(transformer, tokenizer)
    order = halves_together(config.width).argsort() if family.positions == "sinusoidal" else np.arange(config.width)
    ours = {key: permuted(key, array, order) for key, array in ours.items()}
    weights = {"model.shared.weight": embedding[:, order]}
    for our, their in huggingface.NAMES.ours_to_theirs(config).items():
        weights[f"{their}.weight"] = ours[f"{our}.weight"]
        weights[f"{their}.bias"] = ours.get(f"{our}.bias", np.zeros(len(ours[f"{our}.weight"]), np.float32))
    for side, rows in zip(("encoder", "decoder"), table, strict=True):
        unused = np.zeros((family.first_position, config.width), np.float32)
        weights[f"model.{side}.embed_positions.weight"] = np.concatenate([unused, rows[:, order]])
    if projection is not None:
        weights |= dict.fromkeys(huggingface.EMBEDDINGS, embedding[:, order])  # nothing is tied
        weights["lm_head.weight"] = projection[:, order]
    bias = ours.get("projection.bias", np.zeros(tokenizer.target, np.float32))
    weights["final_logits_bias"] = np.pad(bias, (0, len(embedding) - len(bias)))[None]
    activations = {ours: theirs for theirs, ours in huggingface.ACTIVATIONS.items()}
    settings = {
        **{"architectures": [family.architecture], "d_model": config.width},
        **{"encoder_layers": config.encoder_layers, "decoder_layers": config.decoder_layers},
        **{f"{side}_attention_heads": config.heads for side in ("encoder", "decoder")},
        **{f"{side}_ffn_dim": config.feed_forward for side in ("encoder", "decoder")},
        **{f"{side}_layerdrop": 0.0 for side in ("encoder", "decoder")},
        **{"activation_function": activations[config.activation], "dropout": config.dropout},
        **{"attention_dropout": config.attention_dropout, "activation_dropout": config.feed_forward_dropout},
        **{"scale_embedding": config.embedding_scale, "max_position_embeddings": config.max_length},
        **{"tie_word_embeddings": projection is None, "share_encoder_decoder_embeddings": True},
        **{"decoder_vocab_size": len(embedding), "forced_eos_token_id": None},
    }
    return Written(settings, weights)


def as_t5(transformer: Transformer, tokenizer: JointTokenizer, name: str) -> Written:
    """A model as T5 has it: see `t5`."""
    config, ours = transformer.config, _arrays(transformer)
    embedding, projection = _matrices(transformer, tokenizer)
    root = np.float32(math.sqrt(config.width))
    divides = projection is None and config.embedding_scale
    weights = {"shared.weight": embedding * root if config.embedding_scale else embedding}
    if not divides:
        weights["lm_head.weight"] = embedding if projection is None else projection
    gated = ACTIVATIONS[config.activation].gated
    for our, their in t5.NAMES.ours_to_theirs(config).items():
        if our.endswith(".inner") and gated:
            weights[f"{their}_0.weight"] = ours[our.replace("inner", "gate") + ".weight"]
            their += "_1"
        scale = np.float32(config.head_width**-0.5 if our.endswith(".query") else 1)
        weights[f"{their}.weight"] = ours[f"{our}.weight"] * scale
    for side, stack in transformer.stacks().items():
        is_relative = isinstance(stack.positions, Relative)
        table = (
            _array(cast(torch.Tensor, stack.positions.table))
            if is_relative
            else np.zeros((Relative.BUCKETS, config.heads), np.float32)
        )
        weights[f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = table
    activations = {ours: theirs for theirs, ours in t5.ACTIVATIONS.items()}
    settings = {
        **{"architectures": ["T5ForConditionalGeneration"], "d_model": config.width, "d_kv": config.head_width},
        **{"d_ff": config.feed_forward, "num_heads": config.heads, "num_layers": config.encoder_layers},
        **{"num_decoder_layers": config.decoder_layers, "feed_forward_proj": activations[config.activation]},
        **{"dropout_rate": config.dropout, "layer_norm_epsilon": config.norm_epsilon},
        **{"relative_attention_num_buckets": Relative.BUCKETS, "relative_attention_max_distance": Relative.FARTHEST},
        **{"n_positions": config.max_length, "tie_word_embeddings": divides},
    }
    return Written(settings, weights)


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


def _table(positions: Positions, config: ModelConfig) -> npt.NDArray[np.float32]:
    """What is added at each position; nothing, without positions."""
    if type(positions) is Positions:
        return np.zeros((config.max_length, config.width), np.float32)
    return _array(cast(torch.Tensor, positions.table))


def _array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy()
