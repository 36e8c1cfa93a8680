"""A block of the encoder or the decoder: sublayers, each within a residual connection and a norm.

    encoder block:  mixer (self-attention) → feed-forward
    decoder block:  mixer (causal self-attention) → cross-attention, where there is an encoder → feed-forward

Post-norm (2017): x ← norm(x + sublayer(x)). Pre-norm (Xiong et al. 2020): x ← x + sublayer(norm(x)).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from zhuyi.config import ModelConfig
from zhuyi.model import kernels
from zhuyi.model.attention import CrossAttention
from zhuyi.model.cache import LayerCache, State
from zhuyi.model.mixers import MIXERS, Mixer
from zhuyi.model.positions import Positions
from zhuyi.model.tap import SILENT, Tap


class RMSNorm(nn.Module):
    """x / √(mean x² + ε) · weight: a LayerNorm that subtracts no mean (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Normalise each vector of `x`; the result has the type of `x`."""
        return kernels.rms_norm(x, self.weight, self.epsilon)


NORMS: dict[str, Callable[[int, float], nn.Module]] = {
    "layer": nn.LayerNorm,  # Ba et al. 2016
    "rms": RMSNorm,
}
"""From the width and ε."""


def make_norm(config: ModelConfig) -> nn.Module:
    """The norm of a model's vectors."""
    return NORMS[config.norm_kind](config.width, config.norm_epsilon)


@dataclass(frozen=True)
class Activation:
    """The non-linearity of a feed-forward layer."""

    function: Callable[[Tensor], Tensor]
    """Of each element."""
    gated: bool = False
    """Whether it is applied to a gate, a second linear map, by which the inner values are multiplied (Shazeer 2020)."""


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(F.relu),
    "gelu": Activation(F.gelu),  # Hendrycks & Gimpel 2016
    "silu": Activation(F.silu),  # Ramachandran et al. 2017, who call it swish
    "swiglu": Activation(F.silu, gated=True),
    "geglu": Activation(partial(F.gelu, approximate="tanh"), gated=True),
}


class Dropout(nn.Module):
    """In training, zeroes each element with a small probability (Srivastava et al. 2014)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of `x`, of any shape."""
        return kernels.dropout(x, self.probability, self.training)

    def extra_repr(self) -> str:
        """The probability, for `print(model)`."""
        return f"p={self.probability}"


class FeedForward(nn.Module):
    """Two linear maps and a non-linearity between, at each position alone (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias = config.bias != "none"
        self.inner = nn.Linear(config.width, config.feed_forward, bias=bias)
        self.activation = ACTIVATIONS[config.activation]
        if self.activation.gated:
            self.gate = nn.Linear(config.width, config.feed_forward, bias=bias)
        self.outer = nn.Linear(config.feed_forward, config.width, bias=bias)
        self.dropout = Dropout(config.feed_forward_dropout)

    def forward(self, x: Float[Tensor, "batch time width"], tap: Tap = SILENT) -> Float[Tensor, "batch time width"]:
        """outer(activation(inner(x))), or outer(activation(gate(x)) · inner(x))."""
        inner = self.inner(x)
        activation = self.activation.function
        inner = activation(self.gate(x)) * inner if self.activation.gated else activation(inner)
        return tap("output", self.outer(self.dropout(tap("inner", inner))))


class Residual(nn.Module):
    """The residual connection around a sublayer and its norm: `after(x, sublayer(before(x)))`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pre_norm = config.norm == "pre"
        self.norm = make_norm(config)
        self.dropout = Dropout(config.dropout)

    def before(self, x: Float[Tensor, "batch time width"], tap: Tap = SILENT) -> Float[Tensor, "batch time width"]:
        """The input of the sublayer: the norm of `x` (pre-norm), or `x` itself (post-norm)."""
        return tap("norm", self.norm(x)) if self.pre_norm else x

    def after(
        self, x: Float[Tensor, "batch time width"], y: Float[Tensor, "batch time width"], tap: Tap = SILENT
    ) -> Float[Tensor, "batch time width"]:
        """`x` plus the sublayer's output `y` (pre-norm), or the norm of that sum (post-norm)."""
        total = tap("residual", x + self.dropout(y))
        return total if self.pre_norm else tap("norm", self.norm(total))


class Block(nn.Module):
    """Mixer, cross-attention where there is a memory, and feed-forward, each within its residual.

    Args:
        config: sizes and options.
        causal: the mixer sees only the past, and is the decoder's.
        cross: whether there is cross-attention.
    """

    cross: CrossAttention
    cross_residual: Residual

    def __init__(self, config: ModelConfig, causal: bool, cross: bool) -> None:
        super().__init__()
        self.has_cross = cross
        self.mixer: Mixer = MIXERS[config.mixer_of(causal)](config, causal=causal)
        if cross:
            self.cross = CrossAttention(config)
        self.feed_forward = FeedForward(config)
        self.mixer_residual = Residual(config)
        if cross:
            self.cross_residual = Residual(config)
        self.feed_forward_residual = Residual(config)

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        padding: Bool[Tensor, "batch time"] | None,
        positions: Positions,
        memory: Float[Tensor, "batch source width"] | None = None,
        memory_mask: Bool[Tensor, "batch source"] | None = None,
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch time width"]:
        """All positions at once; arguments as of `Stack.forward`."""
        inner = tap.within("self")
        y = self.mixer(self.mixer_residual.before(x, inner), padding, positions, inner)
        x = self.mixer_residual.after(x, y, inner)
        if self.has_cross:
            assert memory is not None
            assert memory_mask is not None
            keys, values = self.cross.keys_values(memory, tap.within("cross"))
            x = self._attend_to_memory(x, keys, values, memory_mask, tap)
        return self._feed_forward(x, tap)

    def start(self, rows: int, limit: int, memory: Float[Tensor, "rows source width"] | None) -> LayerCache:
        """An empty past, and the memory's keys and values where there is cross-attention."""
        if not self.has_cross:
            return LayerCache(self.mixer.start(rows, limit, like=self.feed_forward.outer.weight), None)
        assert memory is not None
        keys, values = self.cross.keys_values(memory)
        return LayerCache(self.mixer.start(rows, limit, like=keys), (keys, values))

    def step(
        self,
        x: Float[Tensor, "rows new width"],
        cache: LayerCache,
        memory_mask: Bool[Tensor, "rows source"] | None,
        position: int,
        positions: Positions,
    ) -> tuple[Float[Tensor, "rows new width"], State]:
        """The next positions, and the mixer's state that includes them."""
        y, past = self.mixer.step(self.mixer_residual.before(x), cache.past, position, positions)
        x = self.mixer_residual.after(x, y)
        if cache.memory is not None:
            assert memory_mask is not None
            x = self._attend_to_memory(x, *cache.memory, memory_mask, SILENT)
        return self._feed_forward(x, SILENT), past

    def _attend_to_memory(self, x: Tensor, keys: Tensor, values: Tensor, memory_mask: Tensor, tap: Tap) -> Tensor:
        tap = tap.within("cross")
        y = self.cross(self.cross_residual.before(x, tap), keys, values, memory_mask, tap)
        return self.cross_residual.after(x, y, tap)

    def _feed_forward(self, x: Tensor, tap: Tap) -> Tensor:
        tap = tap.within("feed_forward")
        y = self.feed_forward(self.feed_forward_residual.before(x, tap), tap)
        return self.feed_forward_residual.after(x, y, tap)
