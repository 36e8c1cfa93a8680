"""Models in the C++ of `native/`: their weights, packed for a precision, and which models it can compute."""

import ctypes
import json
import re

import numpy as np

from zhuyi.config import ModelConfig, Precision
from zhuyi.directory import Weights
from zhuyi.engine.library import LARGEST_ERROR, LibraryError, library
from zhuyi.errors import CheckpointError

# In the order of the enumerations of the C++.
PRECISIONS = tuple(LARGEST_ERROR)
ACTIVATIONS = ("relu", "gelu", "silu", "swiglu", "geglu")
POSITIONS = ("none", "sinusoidal", "tensor2tensor", "learned", "rotary", "alibi")
ERROR_BYTES = 256


def integers(*names: str) -> list[tuple[str, type]]:
    """Fields of a structure, of 32 bits each."""
    return [(name, ctypes.c_int32) for name in names]


class _Config(ctypes.Structure):
    """`ZhuyiConfig` of native/transformer.h."""

    _fields_ = [
        *integers("width", "heads", "key_value_heads", "head_width", "encoder_layers", "decoder_layers"),
        *integers("feed_forward", "activation", "positions", "pre_norm", "rms_norm", "embedding_scale"),
        *integers("embedding_norm", "final_norm", "max_length", "source_vocabulary", "target_vocabulary", "precision"),
        ("norm_epsilon", ctypes.c_float),
    ]


class _Weight(ctypes.Structure):
    """`ZhuyiWeight` of native/transformer.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
    ]


class PackedModel:
    """Weights as the C++ keeps them: packed for a precision.

    Args:
        weights: by the names of model.safetensors, where a tied matrix has one name.
        config: the sizes and options of the model.
        precision: of weights and activations in all products: float32, bf16, or int8 with a scale for each row.

    Raises:
        CheckpointError: naming the first tensor that is missing or of another shape.
        LibraryError: if the engine cannot be used on this machine: see `unsupported`.
    """

    def __init__(self, weights: Weights, config: ModelConfig, precision: Precision = "float32") -> None:
        self.precision, self.max_length = precision, config.max_length
        found = library(precision)
        self.functions, self.brief = found.handle, found.brief
        named = dict(weights)
        of_sources = f"{'decoder' if config.shape == 'decoder' else 'encoder'}.embedding.weight"
        if (source := named.get(of_sources)) is None:
            raise CheckpointError(f"tensor {of_sources} is missing")
        target = named.setdefault("decoder.embedding.weight", source)  # tied, as is the next one
        named.setdefault("projection.weight", target)
        _check_biases(named, config)
        arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in named.items()}
        table = (_Weight * len(arrays))(
            *(
                _Weight(name.encode(), array.ctypes.data, *(array.shape if array.ndim == 2 else (1, array.size)))
                for name, array in arrays.items()
            )
        )
        sizes = _Config(
            width=config.width,
            heads=config.heads,
            key_value_heads=config.groups,
            head_width=config.head_width,
            encoder_layers=0 if config.shape == "decoder" else config.encoder_layers,
            decoder_layers=config.decoder_layers,
            feed_forward=config.feed_forward,
            activation=ACTIVATIONS.index(config.activation),
            positions=POSITIONS.index(config.positions),
            pre_norm=config.norm == "pre",
            rms_norm=config.norm_kind == "rms",
            embedding_scale=config.embedding_scale,
            embedding_norm=config.embedding_norm,
            final_norm=config.final_norm,
            max_length=config.max_length,
            source_vocabulary=len(source),
            target_vocabulary=len(target),
            precision=PRECISIONS.index(precision),
            norm_epsilon=config.norm_epsilon,
        )
        error = ctypes.create_string_buffer(ERROR_BYTES)
        self.handle = self.functions.zhuyi_model(ctypes.byref(sizes), table, len(table), error)
        if not self.handle:
            raise CheckpointError(error.value.decode())

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.functions.zhuyi_free_model(self.handle)


def _check_biases(weights: Weights, config: ModelConfig) -> None:
    """Check that exactly the linear maps have a bias for which `model.bias` and `model.output_bias` ask.

    Raises:
        CheckpointError: naming the first bias that is missing or not expected.
    """
    for name in weights:
        if of_map := re.search(r"\.(mixer|cross|feed_forward)\.\w+\.weight$|^projection\.weight$", name):
            bias = name.removesuffix("weight") + "bias"
            wanted = config.bias in ("all", of_map[1]) if of_map[1] else config.output_bias
            if wanted != (bias in weights):
                raise CheckpointError(f"tensor {bias} is {'missing' if wanted else 'not one of this model'}")


def unsupported(config: ModelConfig, precision: Precision = "float32") -> str | None:
    """Why this engine cannot run a model on this machine; None if it can."""
    if config.shape == "encoder":
        return 'it has no model.shape = "encoder"'
    if config.without:
        return f"it has no model.without = {json.dumps(config.without)}"
    for stack in ("decoder",) if config.shape == "decoder" else ("encoder", "decoder"):
        if (mixer := config.mixer_of(causal=stack == "decoder")) != "attention":
            return f'it has no model.{stack}_mixer = "{mixer}"'
    if config.positions not in POSITIONS:
        return f'it has no model.positions = "{config.positions}"'
    try:
        library(precision)
    except LibraryError as error:
        return str(error)
    return None
