"""What decoding remembers between steps: an argument and a result, never a module's state.

Of the past of the decoder, each layer keeps its mixer's state (keys and values, for attention). Of
the source, it keeps the keys and values of cross-attention, computed once a sentence.
"""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor

from zhuyi.model.attention import State


@dataclass(frozen=True)
class LayerCache:
    """One decoder layer's part: the past of the target, and the source as this layer sees it."""

    past: State
    keys: Float[Tensor, "rows groups source head_width"]
    values: Float[Tensor, "rows groups source head_width"]


@dataclass(frozen=True)
class Cache:
    """The past of every row (a hypothesis of a sentence).

    `position` counts the tokens that have been stepped over; `limit` is how many there is room for.
    A cache is spent by the `step` that it is given to: go on with the one that comes back.
    """

    layers: tuple[LayerCache, ...]
    source_mask: Bool[Tensor, "rows source"]
    position: int
    limit: int

    def select(self, rows: Int[Tensor, " new_rows"]) -> "Cache":
        """Row i of the result is row `rows[i]` of this cache: repeats, drops and reorders."""
        layers = tuple(
            LayerCache(
                self._take_past(layer, rows),
                layer.keys.index_select(0, rows),
                layer.values.index_select(0, rows),
            )
            for layer in self.layers
        )
        return replace(self, layers=layers, source_mask=self.source_mask.index_select(0, rows))

    def reorder(self, rows: Int[Tensor, " rows"]) -> "Cache":
        """`select` for rows that stay with their own sentence: the source's part need not move."""
        return replace(self, layers=tuple(replace(layer, past=self._take_past(layer, rows)) for layer in self.layers))

    def _take_past(self, layer: LayerCache, rows: Tensor) -> State:
        return tuple(_take(part, rows, self.position) for part in layer.past)


def _take(part: Tensor, rows: Tensor, position: int) -> Tensor:
    """Rows of one tensor of a state. Of keys and values, only the positions that are filled are worth copying."""
    if part.dim() < 4:
        return part.index_select(0, rows)
    taken = part.new_empty(len(rows), *part.shape[1:])
    taken[:, :, :position] = part[:, :, :position].index_select(0, rows)
    return taken
