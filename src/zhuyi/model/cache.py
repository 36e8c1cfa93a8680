"""What decoding remembers between steps: an argument and a result, never a module's state.

Of the sequence so far, each decoder layer keeps its mixer's state (keys and values, for attention). Where it has
cross-attention, it keeps the source's keys and values too, computed once for each sentence.
"""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class State:
    """What a mixer remembers of the past. A mixer whose state is selected in another way has a subclass."""

    tensors: tuple[Tensor, ...]
    """Dimension 0 of each is the row."""

    def select(self, rows: Int[Tensor, " new_rows"], position: int) -> "State":
        """Row i of the result is row `rows[i]` of this state, after `position` steps."""
        return replace(self, tensors=tuple(tensor.index_select(0, rows) for tensor in self.tensors))


@dataclass(frozen=True)
class LayerCache:
    """One decoder layer's part."""

    past: State
    """The sequence so far, as its mixer remembers it."""
    memory: tuple[Float[Tensor, "rows groups source head_width"], Float[Tensor, "rows groups source head_width"]] | None
    """Keys and values of cross-attention, where there is one."""


@dataclass(frozen=True)
class Cache:
    """The past of every row (a hypothesis of a sentence).

    A `step` may write into the cache that it is given: continue with the one that it returns.
    """

    layers: tuple[LayerCache, ...]
    """One for each layer of the decoder."""
    source_mask: Bool[Tensor, "rows source"] | None
    """True where cross-attention may attend to the source; None without cross-attention."""
    position: int
    """The number of steps so far."""
    limit: int
    """The largest number of steps."""

    def select(self, rows: Int[Tensor, " new_rows"]) -> "Cache":
        """Row i of the result is row `rows[i]` of this cache: repeats, drops and reorders."""
        if self.source_mask is None:
            return self.reorder(rows)
        layers = tuple(
            LayerCache(
                layer.past.select(rows, self.position),
                layer.memory and (layer.memory[0].index_select(0, rows), layer.memory[1].index_select(0, rows)),
            )
            for layer in self.layers
        )
        return replace(self, layers=layers, source_mask=self.source_mask.index_select(0, rows))

    def reorder(self, rows: Int[Tensor, " rows"]) -> "Cache":
        """`select` for rows that stay with their own sentence: the source's part need not move."""
        layers = tuple(replace(layer, past=layer.past.select(rows, self.position)) for layer in self.layers)
        return replace(self, layers=layers)
