"""The weights of a model of another program: their names, and the order of their rows and coordinates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from zhuyi.config import ModelConfig
from zhuyi.errors import CheckpointError
from zhuyi.interop.tokenizers.vocabulary import Vocabulary

Arrays = dict[str, npt.NDArray[np.float32]]
"""Weights by name."""


@dataclass(frozen=True)
class Names:
    """How another program names the parts of a Transformer; the table is read in both directions.

    A name may have `{side}` (encoder, decoder) and `{layer}` in it.
    """

    attention: Mapping[str, str]
    """Of query, key, value and output, within the attentions."""
    parts: Mapping[str, str]
    """Of mixer, cross, feed_forward.inner, feed_forward.outer and the norms of their residuals, within a block."""
    block: str
    norms: Mapping[str, str]
    """Of the stack: norm, embedding_norm."""
    residual_of_decoder: Mapping[str, str] = field(default_factory=dict)
    """Entries of `parts` that have other names in the decoder."""

    def ours_to_theirs(self, config: ModelConfig) -> dict[str, str]:
        """The names of a model's maps and norms, without `.weight` and `.bias`: ours → theirs."""
        names: dict[str, str] = {}
        for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
            parts = {**self.parts, **(self.residual_of_decoder if side == "decoder" else {})}
            for layer in range(layers):
                ours, theirs = f"{side}.blocks.{layer}", self.block.format(side=side, layer=layer)
                for part, name in parts.items():
                    if part.startswith("cross") and side == "encoder":
                        continue
                    if part in ("mixer", "cross"):
                        names |= {f"{ours}.{part}.{k}": f"{theirs}.{name}.{v}" for k, v in self.attention.items()}
                    else:
                        names[f"{ours}.{part}"] = f"{theirs}.{name}"
            wanted = {"norm": config.final_norm, "embedding_norm": config.embedding_norm}
            names |= {f"{side}.{k}": v.format(side=side) for k, v in self.norms.items() if wanted[k]}
        return names


class Weights:
    """The other program's weights, which are taken one by one, so that none is left over unseen.

    Args:
        arrays: by the other program's names.
        where: the file or directory that they are from, for messages.
    """

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]], where: str) -> None:
        self._arrays, self.where = arrays, where
        self._taken: set[str] = set()

    def take(self, name: str) -> npt.NDArray[np.float32]:
        """The array of a name, in float32.

        Raises:
            CheckpointError: if there is none, or it is no array of numbers.
        """
        if name not in self._arrays:
            raise CheckpointError(f"{self.where}: tensor {name} is missing")
        self._taken.add(name)
        array = np.asarray(self._arrays[name])
        if array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
            raise CheckpointError(f"{self.where}: tensor {name} is not a vector or a matrix of numbers")
        with np.errstate(over="ignore"):
            return array.astype(np.float32)

    def rows(self, name: str) -> int:
        """How many rows the matrix of a name has.

        Raises:
            CheckpointError: if there is none, or it is no matrix.
        """
        if name not in self._arrays or self._arrays[name].ndim != 2:
            raise CheckpointError(f"{self.where}: tensor {name} is missing, or is no matrix")
        return len(self._arrays[name])

    def has(self, name: str) -> bool:
        """Whether there is an array of this name."""
        return name in self._arrays

    def skip(self, *names: str) -> None:
        """Leave out what is there twice, or can be computed."""
        self._taken.update(names)

    def ensure_all_taken(self) -> None:
        """See that nothing of the model is left over.

        Raises:
            CheckpointError: naming the first tensor that has no counterpart.
        """
        for name in self._arrays:
            if name not in self._taken:
                raise CheckpointError(f"{self.where}: tensor {name} has no counterpart in zhuyi")


def halves_together(width: int) -> npt.NDArray[np.int64]:
    """Where each coordinate of ours stands in a model whose sinusoids are all sines, then all cosines.

    Ours are sine, cosine, sine, cosine, ... To permute the coordinates of all vectors between blocks changes nothing
    that is computed: norms do not mind, and maps permute with them.
    """
    half = width // 2
    return np.stack([np.arange(half), half + np.arange(half)], axis=1).flatten()


def permuted(name: str, array: npt.NDArray[np.float32], order: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """A weight of ours, by its name, whose vectors between blocks have their coordinates in another order."""
    part, kind = name.rsplit(".", 1)
    last = part.rsplit(".", 1)[-1]
    if last in ("query", "key", "value", "inner", "gate", "embedding", "projection") and kind == "weight":
        return array.take(order, axis=1)
    return array.take(order, axis=0) if last in ("output", "outer", "norm", "embedding_norm") else array


def rows_of(array: npt.NDArray[np.float32], vocabulary: Vocabulary, fill: float = 0.0) -> npt.NDArray[np.float32]:
    """The rows of a matrix or vector over a vocabulary in our order; `fill` for tokens that the model lacks.

    Raises:
        CheckpointError: naming the vocabulary, if it has tokens for which the matrix has no rows.
    """
    rows = np.array([-1 if row is None else row for row in vocabulary.rows])
    if rows.max() >= len(array):
        raise CheckpointError(
            f"{vocabulary.where}: the vocabulary has a token {rows.max()}, and the model's matrix only "
            f"{len(array):,} rows: take both from one model"
        )
    taken: npt.NDArray[np.float32] = array[rows]
    taken[rows < 0] = fill
    return taken
