"""Mixers: self-attention and the layers that can replace it, for the lecture's comparison.

A mixer maps `batch time width` to the same shape and exchanges information between positions. In the decoder it is
causal and can also proceed a few positions at a time, mostly one, with a state of its own:

    attention     sees every position at once                          state: keys and values of the past
    convolution   sees a window (ConvS2S, Gehring et al. 2017)         state: the last kernel - 1 inputs
    recurrence    sees what an LSTM remembers (Hochreiter 1997)        state: its h and c
"""

from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from zhuyi.config import ModelConfig
from zhuyi.model.attention import SelfAttention
from zhuyi.model.cache import State
from zhuyi.model.positions import Positions
from zhuyi.model.tap import SILENT, Tap


class Mixer(Protocol):
    """The interface of self-attention, convolution and recurrence."""

    def __call__(
        self,
        x: Float[Tensor, "batch time width"],
        padding: Bool[Tensor, "batch time"] | None,
        positions: Positions,
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch time width"]:
        """All positions at once; those where `padding` is False have no influence on the others."""

    def start(self, rows: int, limit: int, like: Tensor) -> State:
        """The state before the first position, with the type and device of `like`."""

    def step(
        self, x: Float[Tensor, "rows new width"], state: State, position: int, positions: Positions
    ) -> tuple[Float[Tensor, "rows new width"], State]:
        """The next positions, `position` and those after it, and the state that includes them."""


class Convolution(nn.Module):
    """A gated convolution over a window of positions (Gehring et al. 2017, section 3.2).

    The window is centred in the encoder; in the decoder it ends at its own position.
    """

    def __init__(self, config: ModelConfig, causal: bool) -> None:
        super().__init__()
        self.causal, self.kernel = causal, config.kernel
        self.window = nn.Conv1d(config.width, 2 * config.width, config.kernel, bias=config.bias == "all")
        self.output = nn.Linear(config.width, config.width, bias=config.bias == "all")

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        padding: Bool[Tensor, "batch time"] | None,
        positions: Positions,
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch time width"]:
        """Each position sees its window; beyond the ends, and where `padding` is False, the input is zero."""
        if padding is not None:
            x = x * padding[:, :, None]
        before = self.kernel - 1 if self.causal else self.kernel // 2
        return self._gate(F.pad(x, (0, 0, before, self.kernel - 1 - before)), tap)

    def start(self, rows: int, limit: int, like: Tensor) -> State:
        """Zeros for the inputs before the first: `rows kernel-1 width`."""
        return State((like.new_zeros(rows, self.kernel - 1, self.output.in_features),))

    def step(
        self, x: Float[Tensor, "rows new width"], state: State, position: int, positions: Positions
    ) -> tuple[Float[Tensor, "rows new width"], State]:
        """A window each: the kernel - 1 inputs before it, and its own."""
        (past,) = state.tensors
        window = torch.cat([past, x.to(past.dtype)], dim=1)
        return self._gate(window, SILENT), State((window[:, x.shape[1] :],))

    def _gate(self, padded: Tensor, tap: Tap) -> Tensor:
        gated = F.glu(self.window(padded.transpose(1, 2)).transpose(1, 2), dim=-1)
        return tap("output", self.output(tap("gated", gated)))


class Recurrence(nn.Module):
    """An LSTM: forwards in the decoder; in the encoder, two of half the width, one in each direction."""

    def __init__(self, config: ModelConfig, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        width = config.width if causal else config.width // 2
        self.forwards = nn.LSTM(config.width, width, batch_first=True)
        self.backwards = None if causal else nn.LSTM(config.width, width, batch_first=True)
        self.output = nn.Linear(config.width, config.width, bias=config.bias == "all")

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        padding: Bool[Tensor, "batch time"] | None,
        positions: Positions,
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch time width"]:
        """Read the sequence from its start and, in the encoder, from its last real position too."""
        states = self.forwards(x)[0]
        if self.backwards is not None:
            order = _reversal(x, padding)
            reversed_states = self.backwards(x.gather(1, order.expand_as(x)))[0]
            states = torch.cat([states, reversed_states.gather(1, order.expand_as(reversed_states))], dim=-1)
        return tap("output", self.output(tap("states", states)))

    def start(self, rows: int, limit: int, like: Tensor) -> State:
        """h and c, zero: two of shape `rows width`."""
        shape = (rows, self.forwards.hidden_size)
        return State((like.new_zeros(shape), like.new_zeros(shape)))

    def step(
        self, x: Float[Tensor, "rows new width"], state: State, position: int, positions: Positions
    ) -> tuple[Float[Tensor, "rows new width"], State]:
        """A step of the LSTM for each."""
        h, c = (tensor[None].contiguous() for tensor in state.tensors)
        states, (h, c) = self.forwards(x, (h, c))
        return self.output(states), State((h[0], c[0]))


def _reversal(x: Tensor, padding: Tensor | None) -> Tensor:
    """Indices `batch time 1` that turn each sequence around within its own length (padding stays where it is)."""
    time = torch.arange(x.shape[1], device=x.device)[None]
    if padding is None:
        return time.flip(1).expand(x.shape[0], -1)[:, :, None]
    length = padding.sum(dim=1, keepdim=True)
    return torch.where(padding, length - 1 - time, time)[:, :, None]


MIXERS: dict[str, type[SelfAttention] | type[Convolution] | type[Recurrence]] = {
    "attention": SelfAttention,
    "convolution": Convolution,
    "recurrence": Recurrence,
}
