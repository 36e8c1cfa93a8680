"""T5, mT5 and ByT5 of Hugging Face (Raffel et al. 2020; Xue et al. 2021; Xue et al. 2022).

What differs from the Transformer of 2017 is an option here (RMSNorm before each sublayer, a gated GELU, relative
positions, a head width of its own), or is moved into weights, exactly:

    scores are not divided by √d_head            W_q · √d_head
    tied embeddings are not multiplied by √d,    E / √d: the first factor is taken back by our √d, and the second is
    and the logits are divided by √d             in the projection, which is the same matrix

Where the projection is a matrix of its own (T5 1.1, mT5, ByT5), nothing is scaled. What begins an output is PAD there,
and BOS here: a copy of its row.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zhuyi.config import ModelConfig
from zhuyi.errors import CheckpointError
from zhuyi.hub import licence_of
from zhuyi.interop.families.foreign import Foreign, Text, architecture
from zhuyi.interop.families.hub_directory import exported_text, generation_defaults
from zhuyi.interop.families.weights import Arrays, Names, Weights, rows_of
from zhuyi.interop.reading.settings import Settings
from zhuyi.interop.reading.tensors import read_tensors
from zhuyi.interop.tokenizers import sentencepiece
from zhuyi.interop.tokenizers.tokenizer_json import read_sentencepiece
from zhuyi.interop.tokenizers.vocabulary import MOST_PIECES, Vocabulary
from zhuyi.text.special import BYTES
from zhuyi.text.tokenizer import Tokenizer, Tokenizers

PROGRAMS = {"t5": "T5", "mt5": "mT5"}
"""By `model_type`; ByT5 is a T5 with another tokenizer."""
ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "silu": "silu", "gated-gelu": "geglu", "gated-silu": "swiglu"}
"""By `feed_forward_proj`. The GELU of a gate is the one with tanh, in both programs."""
NAMES = Names(
    attention={"query": "q", "key": "k", "value": "v", "output": "o"},
    parts={
        "mixer": "layer.0.SelfAttention",
        "mixer_residual.norm": "layer.0.layer_norm",
        "cross": "layer.1.EncDecAttention",
        "cross_residual.norm": "layer.1.layer_norm",
        "feed_forward.inner": "layer.1.DenseReluDense.wi",
        "feed_forward.outer": "layer.1.DenseReluDense.wo",
        "feed_forward_residual.norm": "layer.1.layer_norm",
    },
    residual_of_decoder={
        "feed_forward.inner": "layer.2.DenseReluDense.wi",
        "feed_forward.outer": "layer.2.DenseReluDense.wo",
        "feed_forward_residual.norm": "layer.2.layer_norm",
    },
    block="{side}.block.{layer}",
    norms={"norm": "{side}.final_layer_norm"},
)
EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
SENTINELS = 100
"""`<extra_id_0>` ... that T5's tokenizer adds to the pieces of SentencePiece, the first one last."""
LONGEST = 1024
"""Tokens of a sequence where the directory names no limit: relative positions have none."""


def read(path: Path, config: Settings) -> Foreign:
    """The model in a directory of one of these families.

    Args:
        path: with the weights and, but for ByT5, spiece.model or tokenizer.json.
        config: its config.json.

    Raises:
        CheckpointError: naming the file, and what is missing, damaged or has no counterpart.
    """
    named = Settings(path, "tokenizer_config.json", optional=True)
    of_bytes = named.get("tokenizer_class") == "ByT5Tokenizer"
    weights = Weights(read_tensors(path), str(path))
    embedding = _embedding(weights, path)
    text = exported_text(path, config) or (_bytes if of_bytes else _pieces)(path, config, named, len(embedding))
    decoding = generation_defaults(path, config)
    model = _architecture(config, named, decoding["max_extra"] + 1)
    sizes = architecture(model, weights.where)
    matrices, shared = _matrices(weights, embedding, _logit_factor(config, sizes.width), text)
    arrays = matrices | _blocks(weights, sizes)
    weights.ensure_all_taken()
    program = "ByT5" if of_bytes else PROGRAMS[config.text("model_type")]
    return Foreign(f"{program} of Hugging Face", model | shared, text, arrays, decoding, licence=licence_of(path))


def _architecture(config: Settings, named: Settings, longest_output: int) -> dict[str, Any]:
    activation = ACTIVATIONS.get(str(config.get("feed_forward_proj", "relu")))
    if activation is None:
        raise config.unsupported("feed_forward_proj")
    for key, wanted in (("relative_attention_num_buckets", 32), ("relative_attention_max_distance", 128)):
        if config.get(key, wanted) != wanted:
            raise config.unsupported(key)
    longest = config.get("n_positions", named.get("model_max_length"))
    longest = longest if type(longest) is int and 2 <= longest <= 2**16 else LONGEST
    layers = config.number("num_layers")
    dropout = config.real("dropout_rate", 0.1)
    return {
        "width": config.number("d_model"),
        "heads": config.number("num_heads"),
        "head_width": config.number("d_kv"),
        "encoder_layers": layers,
        "decoder_layers": config.number("num_decoder_layers", layers),
        "feed_forward": config.number("d_ff"),
        "activation": activation,
        "dropout": dropout,
        "attention_dropout": dropout,
        "feed_forward_dropout": dropout,
        "positions": "relative",
        "norm": "pre",
        "norm_kind": "rms",
        "norm_epsilon": config.real("layer_norm_epsilon", 1e-6),
        "bias": "none",
        "max_length": max(longest, longest_output),
    }


def _embedding(weights: Weights, path: Path) -> npt.NDArray[np.float32]:
    """The one matrix of both sides' embeddings."""
    first, *others = [name for name in EMBEDDINGS if weights.has(name)] or EMBEDDINGS[:1]
    embedding = weights.take(first)
    for name in others:
        if not np.array_equal(weights.take(name), embedding):
            raise CheckpointError(f"{path}: {name} is another matrix than {first}, and zhuyi knows one for both sides")
    if embedding.ndim != 2:
        raise CheckpointError(f"{path}: {first} is not a matrix")
    return embedding


def _blocks(theirs: Weights, sizes: ModelConfig) -> Arrays:
    """The weights of both stacks, by our names."""
    ours = {}
    gated = sizes.activation in ("geglu", "swiglu")
    scale = np.float32(math.sqrt(sizes.head_width))
    for our, their in NAMES.ours_to_theirs(sizes).items():
        if our.endswith(".inner") and gated:
            ours[our.replace("inner", "gate") + ".weight"] = theirs.take(f"{their}_0.weight")
            their += "_1"
        ours[f"{our}.weight"] = theirs.take(f"{their}.weight") * (scale if our.endswith(".query") else 1)
    for side in ("encoder", "decoder"):
        table = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        ours[f"{side}.positions.table"] = theirs.take(table)
    theirs.skip("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight")  # of old files; never used
    return ours


def _logit_factor(config: Settings, width: int) -> float:
    """What the logits are multiplied by: 1 / √d, or 1.

    Whether it is the former is what `tie_word_embeddings` meant before transformers 5, in T5 but not in mT5.
    """
    divides = bool(config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True)))
    return width**-0.5 if divides and config.text("model_type") == "t5" else 1.0


def _matrices(
    theirs: Weights, embedding: npt.NDArray[np.float32], factor: float, text: Text
) -> tuple[Arrays, dict[str, Any]]:
    """Embeddings, and the projection where it is no embedding; and the settings of [model] of their ties and scale.

    Whether the projection is the embedding is seen in the file: configurations of transformers 5 always say that it is.
    """
    projection = theirs.take("lm_head.weight") if theirs.has("lm_head.weight") else embedding
    tied, is_one = np.array_equal(projection, embedding), text.source.rows == text.target.rows
    scaled = tied and factor != 1
    embedding = embedding * (factor if scaled else 1)
    ours = {"encoder.embedding.weight": rows_of(embedding, text.source)}
    if not is_one:
        ours["decoder.embedding.weight"] = rows_of(embedding, text.target)
    if not tied:
        ours["projection.weight"] = rows_of(projection * factor, text.target)
    tie = ("all" if is_one else "output") if tied else ("embeddings" if is_one else "none")
    return ours, {"tie": tie, "embedding_scale": scaled}


def _pieces(path: Path, config: Settings, named: Settings, rows: int) -> Text:
    """SentencePiece's pieces, and sentinels after them."""
    model = read_sentencepiece(path, "spiece.model")
    pieces: list[str | None] = [piece.text for piece in model.pieces]
    own = model.vocabulary
    no_text = [row for row in (own.rows[i] for i in own.special) if row is not None]
    has_sentinels = any("<extra_id_0>" in piece.text for piece in model.pieces)
    count = 0 if has_sentinels else min(named.number("extra_ids", SENTINELS), rows)
    sentinels = [f"<extra_id_{i}>" for i in reversed(range(count))]
    no_text += range(len(pieces), len(pieces) + count)
    if "<unk>" not in pieces:
        raise CheckpointError(f"{path}: its tokenizer has no <unk>")
    vocabulary = _vocabulary(path, config, [*pieces, *sentinels], pieces.index("<unk>"), no_text, rows)
    one = sentencepiece.tokenizer(model, vocabulary)
    return Text(Tokenizers(one, one), vocabulary, vocabulary, dict(sentencepiece.settings(model)))


def _bytes(path: Path, config: Settings, named: Settings, rows: int) -> Text:
    """PAD, EOS and UNK, the bytes of UTF-8, and sentinels after them, of which no text is made."""
    fixed = ["<pad>", "</s>", "<unk>", *BYTES]
    sentinels = [f"<extra_id_{i}>" for i in range(min(max(rows - len(fixed), 0), MOST_PIECES))]
    no_text = range(len(fixed), len(fixed) + len(sentinels))
    vocabulary = _vocabulary(path, config, [*fixed, *sentinels], fixed.index("<unk>"), no_text, rows)
    engine = Tokenizer.train((), "bytes", 8, lowercase=False, normalization="none", whitespace="keep").to_json()
    one = vocabulary.tokenizer(json.loads(engine))
    settings = {"kind": "bytes", "normalization": "none", "whitespace": "keep"}
    return Text(Tokenizers(one, one), vocabulary, vocabulary, settings)


def _vocabulary(
    path: Path, config: Settings, pieces: Sequence[str | None], unknown: int, no_text: Sequence[int], rows: int
) -> Vocabulary:
    pad = config.number("pad_token_id", 0)
    return Vocabulary.of(
        path,
        [*pieces, *[None] * (rows - len(pieces))],
        pad=pad,
        unk=unknown,
        bos=config.number("decoder_start_token_id", pad),
        eos=config.number("eos_token_id", 1),
        special=no_text,
    )
