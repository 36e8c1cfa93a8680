"""MarianMT (OPUS-MT), M2M-100 and NLLB, mBART, and BART of Hugging Face.

These are one architecture with one table of names, and differ in positions, norms and in the template of a sentence:

    MarianMT    post-norm; sinusoids, first all sines, then all cosines; a bias of the logits; begins with PAD
    M2M-100     pre-norm; sinusoids of tensor2tensor from position 2, kept here as a learned table; LANG source </s>
    mBART       pre-norm, and a norm after the embeddings; a learned table, whose first two rows are never used
    BART        as mBART, but post-norm and without the factor √width; <s> source </s>

Their tokens are read by `bart_text`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zhuyi.config import ModelConfig
from zhuyi.hub import licence_of
from zhuyi.interop.families.bart_text import has_one_embedding, read_text
from zhuyi.interop.families.foreign import Foreign, Text, architecture
from zhuyi.interop.families.hub_directory import exported_text, generation_defaults
from zhuyi.interop.families.weights import Arrays, Names, Weights, rows_of
from zhuyi.interop.reading.settings import Settings
from zhuyi.interop.reading.tensors import read_tensors

NAMES = Names(
    attention={"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"},
    parts={
        "mixer": "self_attn",
        "mixer_residual.norm": "self_attn_layer_norm",
        "cross": "encoder_attn",
        "cross_residual.norm": "encoder_attn_layer_norm",
        "feed_forward.inner": "fc1",
        "feed_forward.outer": "fc2",
        "feed_forward_residual.norm": "final_layer_norm",
    },
    block="model.{side}.layers.{layer}",
    norms={"norm": "model.{side}.layer_norm", "embedding_norm": "model.{side}.layernorm_embedding"},
)


@dataclass(frozen=True)
class Family:
    """What the models of one `model_type` have in common."""

    program: str
    architecture: str
    """The class of transformers that generates."""
    norm: str
    embedding_norm: bool
    positions: str
    first_position: int
    """The row of the first position in the table of positions."""
    has_table: bool
    """Whether that table is learned, and in the file; else it is of sinusoids, which are computed."""


FAMILIES = {
    "marian": Family("MarianMT", "MarianMTModel", "post", False, "sinusoidal", first_position=0, has_table=False),
    "pegasus": Family(
        "Pegasus", "PegasusForConditionalGeneration", "pre", False, "sinusoidal", first_position=0, has_table=False
    ),
    "m2m_100": Family(
        "M2M-100", "M2M100ForConditionalGeneration", "pre", False, "learned", first_position=2, has_table=False
    ),
    "blenderbot": Family(
        "Blenderbot", "BlenderbotForConditionalGeneration", "pre", False, "learned", first_position=0, has_table=True
    ),
    "mbart": Family("mBART", "MBartForConditionalGeneration", "pre", True, "learned", first_position=2, has_table=True),
    "bart": Family("BART", "BartForConditionalGeneration", "post", True, "learned", first_position=2, has_table=True),
}
EMBEDDINGS = ("model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
"""Of both sides, of the source and of the target."""
ACTIVATIONS = {"swish": "silu", "silu": "silu", "relu": "relu", "gelu": "gelu"}


def read(path: Path, config: Settings) -> Foreign:
    """The model in a directory of one of these families.

    Args:
        path: with the weights and the tokenizer's files.
        config: its config.json.

    Raises:
        CheckpointError: naming the file, and what is missing, damaged or has no counterpart.
    """
    family = FAMILIES[config.text("model_type")]
    model = _architecture(config, family)
    weights = Weights(read_tensors(path), str(path))
    text = exported_text(path, config) or read_text(path, config, family.program)
    model |= {"tie": _tie(weights, config, text), "output_bias": _has_output_bias(weights)}
    return Foreign(
        f"{family.program} of Hugging Face",
        model,
        text,
        _weights(weights, architecture(model, weights.where), family, text),
        generation_defaults(path, config),
        sines_first=family.positions == "sinusoidal",
        licence=licence_of(path),
    )


def _architecture(config: Settings, family: Family) -> dict[str, Any]:
    activation = ACTIVATIONS.get(str(config.get("activation_function", "relu")))
    if activation is None:
        raise config.unsupported("activation_function")
    heads = config.number("encoder_attention_heads")
    for key, wanted in (
        ("decoder_attention_heads", heads),
        ("decoder_ffn_dim", config.number("encoder_ffn_dim")),
    ):
        if config.get(key, wanted) != wanted:
            raise config.unsupported(key)
    return {
        "width": config.number("d_model"),
        "heads": heads,
        "encoder_layers": config.number("encoder_layers"),
        "decoder_layers": config.number("decoder_layers"),
        "feed_forward": config.number("encoder_ffn_dim"),
        "activation": activation,
        "dropout": config.real("dropout", 0.1),
        "attention_dropout": config.real("attention_dropout", 0.0),
        "feed_forward_dropout": config.real("activation_dropout", 0.0),
        "positions": family.positions,
        "embedding_scale": bool(config.get("scale_embedding", False)),
        "embedding_norm": family.embedding_norm,
        "norm": family.norm,
        "norm_kind": "layer",
        "bias": "all",
        "max_length": config.number("max_position_embeddings", 1024),
    }


def _tie(theirs: Weights, config: Settings, text: Text) -> str:
    """Which matrices over the vocabulary are one: the settings say so or, where the projection is none, the file."""
    has_one_vocabulary = text.source.rows == text.target.rows
    if config.get("tie_word_embeddings", True):
        return "all" if has_one_embedding(config) and has_one_vocabulary else "output"
    source, target = (_embedding(theirs, side) for side in ("encoder", "decoder"))
    is_one = source == target or np.array_equal(theirs.take(source), theirs.take(target))
    return "embeddings" if is_one and has_one_vocabulary else "none"


def _embedding(theirs: Weights, side: str) -> str:
    """The name of the embedding of a side."""
    shared, own = EMBEDDINGS[0], f"model.{side}.embed_tokens.weight"
    return own if theirs.has(own) else shared


def _has_output_bias(theirs: Weights) -> bool:
    """Whether the logits have a bias: most files have a vector of zeros."""
    return theirs.has("final_logits_bias") and bool(theirs.take("final_logits_bias").any())


def _weights(theirs: Weights, config: ModelConfig, family: Family, text: Text) -> Arrays:
    """All weights of a model, by our names."""
    ours = _matrices(theirs, text, config)
    for our, name in NAMES.ours_to_theirs(config).items():
        for kind in ("weight", "bias"):
            ours[f"{our}.{kind}"] = theirs.take(f"{name}.{kind}")
    if config.output_bias:
        ours["projection.bias"] = rows_of(theirs.take("final_logits_bias").flatten(), text.target)
    ours |= _positions(theirs, config, family)
    theirs.ensure_all_taken()
    return ours


def _matrices(theirs: Weights, text: Text, config: ModelConfig) -> Arrays:
    """Embeddings, and the projection where it is no embedding."""
    source, target = (_embedding(theirs, side) for side in ("encoder", "decoder"))
    if config.ties_embeddings:
        source = next(filter(theirs.has, EMBEDDINGS), source)
    ours = {"encoder.embedding.weight": rows_of(theirs.take(source), text.source)}
    if not config.ties_embeddings:
        ours["decoder.embedding.weight"] = rows_of(theirs.take(target), text.target)
    if not config.ties_output:
        ours["projection.weight"] = rows_of(theirs.take("lm_head.weight"), text.target)
    theirs.skip(*EMBEDDINGS, "lm_head.weight")  # the same matrices by other names
    return ours


def _positions(theirs: Weights, config: ModelConfig, family: Family) -> Arrays:
    """The tables of positions, where ours are learned; sinusoids of the file are left out."""
    names = {side: f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")}
    if not family.has_table:
        theirs.skip(*names.values())
    if family.positions == "sinusoidal":
        return {}
    first, length = family.first_position, config.max_length
    computed = sinusoid_halves(first + length, config.width)
    tables = {side: theirs.take(name) if family.has_table else computed for side, name in names.items()}
    return {f"{side}.positions.table": table[first:][:length] for side, table in tables.items()}


def sinusoid_halves(length: int, width: int) -> npt.NDArray[np.float32]:
    """Sines of tensor2tensor's wavelengths, then the cosines: `length width`."""
    wavelengths = 10000.0 ** (np.arange(width // 2) / max(width // 2 - 1, 1))
    angle = np.arange(length)[:, None] / wavelengths
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)
