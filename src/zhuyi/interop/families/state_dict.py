"""State dicts of `torch.nn.Transformer` and of tutorials: which tensor is what.

Blocks are found by the names of their modules. What a student has written around them, embeddings, positions and the
output projection, is found by its shape and by parts of its name, or else is named by the user.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from zhuyi.config import ModelConfig
from zhuyi.errors import CheckpointError
from zhuyi.interop.families.weights import Arrays, Names, Weights
from zhuyi.interop.reading.tensors import plain

TORCH = Names(
    attention={"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"},
    parts={
        "mixer": "self_attn",
        "mixer_residual.norm": "norm1",
        "cross": "multihead_attn",
        "cross_residual.norm": "norm2",
        "feed_forward.inner": "linear1",
        "feed_forward.outer": "linear2",
        "feed_forward_residual.norm": "norm2",
    },
    residual_of_decoder={"feed_forward_residual.norm": "norm3"},
    block="{side}.layers.{layer}",
    norms={"norm": "{side}.norm"},
)
"""`nn.Transformer`, its `in_proj` cut into three."""

TUTORIAL = Names(
    attention={"query": "fc_q", "key": "fc_k", "value": "fc_v", "output": "fc_o"},
    parts={
        "mixer": "self_attention",
        "mixer_residual.norm": "self_attn_layer_norm",
        "cross": "encoder_attention",
        "cross_residual.norm": "enc_attn_layer_norm",
        "feed_forward.inner": "positionwise_feedforward.fc_1",
        "feed_forward.outer": "positionwise_feedforward.fc_2",
        "feed_forward_residual.norm": "ff_layer_norm",
    },
    block="{side}.layers.{layer}",
    norms={"norm": "{side}.norm"},
)
"""Trevett's tutorial, "Attention is All You Need" (pytorch-seq2seq, part 6)."""

KNOWN = {"self_attn.out_proj.weight": TORCH, "self_attention.fc_o.weight": TUTORIAL}
"""By the name of a tensor of the first block of the encoder."""

Side = Literal["source", "target"]
Place = Literal["source_embedding", "target_embedding", "source_positions", "target_positions", "projection"]

SIDES: dict[Side, str] = {"source": r"src|source|enc|input", "target": r"tgt|trg|target|dec|output"}
"""Parts of the names of what belongs to a side."""


class StateDict:
    """A state dict, whose tensors are taken by what they are.

    Args:
        weights: the state dict.
        given: the names of tensors that are not found by themselves.

    Raises:
        CheckpointError: here if it is none of `torch.nn.Transformer`, or lacks a given name; and from the methods if a
            tensor is missing, or is not the only one that it could be.
    """

    def __init__(self, weights: Mapping[str, Tensor], given: dict[Place, str]) -> None:
        arrays = {name: plain(tensor) for name, tensor in weights.items() if isinstance(tensor, Tensor)}
        if strange := [name for name in given.values() if name not in arrays]:
            raise CheckpointError(f"names: the state dict has no tensor {strange[0]}")
        first = [re.fullmatch(r"(.*?)encoder\.layers\.0\.(\S+)", name) for name in arrays]
        found = [(match[1], KNOWN[match[2]]) for match in first if match and match[2] in KNOWN]
        if not found:
            raise CheckpointError(
                "the state dict is not one of torch.nn.Transformer: it has no tensor that ends in "
                "encoder.layers.0.self_attn.out_proj.weight"
            )
        self._prefix, self._names = found[0]
        self._given = given
        cut = _cut(arrays)
        self.weights = Weights(cut, "the state dict")
        self._shapes = {name: array.shape for name, array in cut.items()}

    def architecture(self) -> dict[str, Any]:
        """The settings of [model] that follow from the shapes and names of the blocks."""
        inner = f"{self._prefix}encoder.layers.0.{self._names.parts['feed_forward.inner']}"
        return {
            "encoder_layers": self._layers("encoder"),
            "decoder_layers": self._layers("decoder"),
            "feed_forward": self.weights.rows(f"{inner}.weight"),
            "norm_kind": "layer",
            "final_norm": self.weights.has(f"{self._prefix}encoder.norm.weight"),
            "bias": "all" if self.weights.has(f"{inner}.bias") else "none",
        }

    def _layers(self, side: str) -> int:
        """How many blocks there are."""
        pattern = re.compile(rf"{re.escape(self._prefix)}{side}\.layers\.(\d+)\.")
        return 1 + max((int(match[1]) for name in self._shapes if (match := pattern.match(name))), default=-1)

    def blocks(self, config: ModelConfig) -> Arrays:
        """The weights of all blocks, and of the norms after them, by our names."""
        ours = {}
        for name, theirs in self._names.ours_to_theirs(config).items():
            ours[f"{name}.weight"] = weight = self.weights.take(f"{self._prefix}{theirs}.weight")
            if name.endswith("norm") and config.bias == "none":  # with bias=False, torch's norms have none either
                ours[f"{name}.bias"] = np.zeros_like(weight)
            elif config.bias == "all" or name.endswith("norm"):
                ours[f"{name}.bias"] = self.weights.take(f"{self._prefix}{theirs}.bias")
        return ours

    def embedding(self, side: Side, rows: int) -> npt.NDArray[np.float32]:
        """The embedding of a side, of so many tokens; of several matrices, the one whose name speaks of the side."""
        place: Place = "source_embedding" if side == "source" else "target_embedding"
        found = [name for name in self._outside(rows) if not self._has_bias(name) and not re.search(r"pos", name)]
        return self._matrix(place, rows, [name for name in found if re.search(SIDES[side], name)] or found)[1]

    def projection(self, rows: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """The map to the logits of so many tokens, and its bias; of several matrices, the one with a bias."""
        outside = self._outside(rows)
        biased = [name for name in outside if self._has_bias(name)]
        name, weight = self._matrix("projection", rows, biased or [each for each in outside if "emb" not in each])
        return weight, self.weights.take(_bias_of(name)) if self._has_bias(name) else None

    def _outside(self, rows: int) -> list[str]:
        """The names of the matrices of so many rows outside the blocks."""
        shapes = {name: shape for name, shape in self._shapes.items() if ".layers." not in name}
        return [name for name, shape in shapes.items() if name.endswith("weight") and shape[:-1] == (rows,)]

    def _has_bias(self, name: str) -> bool:
        return _bias_of(name) in self._shapes

    def _matrix(self, place: Place, rows: int, found: list[str]) -> tuple[str, npt.NDArray[np.float32]]:
        """The name and the matrix of a place: the one that was named for it, or else the one that was found."""
        if (name := self._given.get(place)) is None:
            if len(found) != 1:
                what = ", ".join(found) if found else f"no matrix of {rows} rows"
                raise CheckpointError(f"which tensor is the {place} ({what})? Name it: names={{{place!r}: ...}}")
            name = found[0]
        matrix = self.weights.take(name)
        if matrix.ndim != 2 or len(matrix) != rows:
            raise CheckpointError(f"tensor {name} has shape {matrix.shape}: for {rows} tokens, {place} has {rows} rows")
        return name, matrix

    def table(self, side: Side) -> npt.NDArray[np.float32] | None:
        """The learned table of positions of a side; None, if there is none: sinusoids are computed."""
        place: Place = "source_positions" if side == "source" else "target_positions"
        named = self._given.get(place)
        all_tables = [name for name in self._shapes if ".layers." not in name and re.search(r"pos|\.pe$|^pe$", name)]
        own = [name for name in all_tables if re.search(SIDES[side], name)] or all_tables
        learned = [name for name in own if len(self._shapes[name]) == 2 and name.endswith("weight")]
        self.weights.skip(*(name for name in all_tables if name not in learned))  # buffers of sinusoids
        if named is None and len(learned) != 1:
            return None
        return self.weights.take(named or learned[0])


def _bias_of(name: str) -> str:
    return f"{name.removesuffix('weight')}bias"


def _cut(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """With `in_proj`, in which torch keeps query, key and value end to end, cut into three."""
    cut: dict[str, npt.NDArray[Any]] = {}
    for name, array in arrays.items():
        if match := re.fullmatch(r"(.*)in_proj_(weight|bias)", name):
            for each, third in zip("qkv", np.array_split(array, 3), strict=True):
                cut[f"{match[1]}{each}_proj.{match[2]}"] = third
        else:
            cut[name] = array
    return cut
