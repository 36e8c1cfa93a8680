"""The blocks of encoder and decoder: sublayers, each within a residual connection and a norm.

    encoder block:  mixer (self-attention) → feed-forward
    decoder block:  mixer (masked self-attention) → cross-attention → feed-forward

Post-norm (2017): x ← norm(x + sublayer(x)). Pre-norm (Xiong et al. 2020): x ← x + sublayer(norm(x)).
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from zhuyi.config import ModelConfig
from zhuyi.model.attention import CrossAttention, State
from zhuyi.model.cache import LayerCache
from zhuyi.model.dropout import Dropout
from zhuyi.model.mixers import MIXERS, Mixer
from zhuyi.model.positions import Positions
from zhuyi.model.tap import SILENT, Tap


class RMSNorm(nn.Module):
    """x / √(mean x² + ε) · weight, without a mean taken away (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Normalise each vector of `x`; the result has the type of `x`."""
        normed: Tensor = _RMSNorm.apply(x, self.weight, self.epsilon)  # type: ignore[no-untyped-call]  # torch's
        return normed


class _RMSNorm(torch.autograd.Function):
    """With n = x / r and r = √(mean x² + ε):  d / dx = (g w - n · mean(g w n)) / r,  d / dweight = Σ g n."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact)
        scale = (length.square() / x.shape[-1] + epsilon).rsqrt().to(x.dtype)
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        result: Tensor = normed * weight.to(x.dtype)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, scale, weight = ctx.saved_tensors
        (gradient,) = gradients
        exact = torch.promote_types(normed.dtype, torch.float32)
        product = gradient * normed
        weight_gradient = product.flatten(0, -2).sum(dim=0, dtype=exact).to(weight.dtype)
        along = (product @ weight.to(product.dtype)[:, None]) / normed.shape[-1]
        x_gradient = torch.addcmul(gradient * weight.to(gradient.dtype), normed, along, value=-1) * scale
        return x_gradient, weight_gradient, None


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": nn.LayerNorm,  # Ba et al. 2016
    "rms": RMSNorm,
}

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "swiglu": F.silu,  # of a gate that the inner values are multiplied with (Shazeer 2020)
}


class FeedForward(nn.Module):
    """Two linear maps and a non-linearity between, at each position alone (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias = config.bias != "none"
        self.inner = nn.Linear(config.width, config.feed_forward, bias=bias)
        gated = config.activation == "swiglu"
        self.gate = nn.Linear(config.width, config.feed_forward, bias=bias) if gated else None
        self.outer = nn.Linear(config.feed_forward, config.width, bias=bias)
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = Dropout(config.feed_forward_dropout)

    def forward(self, x: Float[Tensor, "batch time width"], tap: Tap = SILENT) -> Float[Tensor, "batch time width"]:
        """outer(activation(inner(x))), or outer(activation(gate(x)) · inner(x))."""
        inner = self.inner(x)
        inner = self.activation(inner) if self.gate is None else self.activation(self.gate(x)) * inner
        return tap("output", self.outer(self.dropout(tap("inner", inner))))


class Residual(nn.Module):
    """The way around a sublayer: `leave(x, sublayer(enter(x)))`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.before = config.norm == "pre"
        self.norm = NORMS[config.norm_kind](config.width)
        self.dropout = Dropout(config.dropout)

    def enter(self, x: Float[Tensor, "batch time width"], tap: Tap = SILENT) -> Float[Tensor, "batch time width"]:
        """What the sublayer sees: the norm of `x` (pre-norm), or `x` itself (post-norm)."""
        return tap("norm", self.norm(x)) if self.before else x

    def leave(
        self, x: Float[Tensor, "batch time width"], y: Float[Tensor, "batch time width"], tap: Tap = SILENT
    ) -> Float[Tensor, "batch time width"]:
        """`x` plus the sublayer's output `y`; its norm, for post-norm."""
        total = tap("residual", x + self.dropout(y))
        return total if self.before else tap("norm", self.norm(total))


class EncoderBlock(nn.Module):
    """Mixer and feed-forward, each within its residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.mixer: Mixer = MIXERS[config.encoder_mixer or config.mixer](config, causal=False)
        self.feed_forward = FeedForward(config)
        self.mixer_residual = Residual(config)
        self.feed_forward_residual = Residual(config)

    def forward(
        self,
        x: Float[Tensor, "batch source width"],
        source_mask: Bool[Tensor, "batch source"],
        positions: Positions,
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch source width"]:
        """One block further; positions where `source_mask` is False are seen by nobody."""
        inner = tap.within("self")
        y = self.mixer(self.mixer_residual.enter(x, inner), source_mask, positions, inner)
        x = self.mixer_residual.leave(x, y, inner)
        inner = tap.within("feed_forward")
        y = self.feed_forward(self.feed_forward_residual.enter(x, inner), inner)
        return self.feed_forward_residual.leave(x, y, inner)


class DecoderBlock(nn.Module):
    """Causal mixer, cross-attention and feed-forward, each within its residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.mixer: Mixer = MIXERS[config.decoder_mixer or config.mixer](config, causal=True)
        self.cross = CrossAttention(config)
        self.feed_forward = FeedForward(config)
        self.mixer_residual = Residual(config)
        self.cross_residual = Residual(config)
        self.feed_forward_residual = Residual(config)

    def forward(
        self,
        x: Float[Tensor, "batch target width"],
        memory: Float[Tensor, "batch source width"],
        source_mask: Bool[Tensor, "batch source"],
        positions: Positions,
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch target width"]:
        """All positions of the target at once (teacher forcing).

        Padding of the target needs no mask: it stands at the end, where the causal mask hides it.
        """
        inner = tap.within("self")
        y = self.mixer(self.mixer_residual.enter(x, inner), None, positions, inner)
        x = self.mixer_residual.leave(x, y, inner)
        keys, values = self.cross.keys_values(memory, tap.within("cross"))
        return self._after_mixer(x, keys, values, source_mask, tap)

    def start(self, memory: Float[Tensor, "rows source width"], limit: int) -> LayerCache:
        """An empty past, and the source's keys and values."""
        keys, values = self.cross.keys_values(memory)
        return LayerCache(self.mixer.start(len(memory), limit, like=keys), keys, values)

    def step(
        self,
        x: Float[Tensor, "rows 1 width"],
        cache: LayerCache,
        source_mask: Bool[Tensor, "rows source"],
        position: int,
        positions: Positions,
    ) -> tuple[Float[Tensor, "rows 1 width"], State]:
        """One position of the target, and the mixer's state with it in."""
        y, past = self.mixer.step(self.mixer_residual.enter(x), cache.past, position, positions)
        x = self.mixer_residual.leave(x, y)
        return self._after_mixer(x, cache.keys, cache.values, source_mask, SILENT), past

    def _after_mixer(self, x: Tensor, keys: Tensor, values: Tensor, source_mask: Tensor, tap: Tap) -> Tensor:
        inner = tap.within("cross")
        y = self.cross(self.cross_residual.enter(x, inner), keys, values, source_mask, inner)
        x = self.cross_residual.leave(x, y, inner)
        inner = tap.within("feed_forward")
        y = self.feed_forward(self.feed_forward_residual.enter(x, inner), inner)
        return self.feed_forward_residual.leave(x, y, inner)
