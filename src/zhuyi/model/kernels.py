"""Kernels: operations written out for speed, each under its formula, with torch's own form beside it.

On the CPU, a small model waits for memory and for the start of each operation, not for arithmetic. There these forms
take fewer or shorter passes than torch's. On a GPU, and under the transforms of `torch.func` (`vmap`, `grad`, ...),
torch's forms run.

All of them may be differentiated any number of times: each backward pass is made of differentiable operations on what
the forward pass was given or has returned.

`use` chooses the kernel of attention: see `zhuyi.model.attention.KERNELS`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

AttentionKernel = Literal["explicit", "fused"]

_attention: ContextVar[AttentionKernel | None] = ContextVar("attention", default=None)


@contextmanager
def use(attention: AttentionKernel) -> Iterator[None]:
    """Choose attention's kernel: within this context, every attention of this thread (or asyncio task) runs in it.

    It chooses no other kernel of this module, and not that of values that are recorded, which is always "explicit".

    "explicit" computes the weights operation by operation, "fused" calls torch's `scaled_dot_product_attention`.
    Outside of it, the choice depends on the device and the lengths. A loss that has a gradient within it, such as a
    gradient penalty, needs "explicit": torch's fused kernels have no second derivative, and raise a RuntimeError.

    Raises:
        ValueError: if there is no such kernel.
    """
    if attention not in get_args(AttentionKernel):
        raise ValueError(f"no kernel {attention!r}: choose one of {', '.join(get_args(AttentionKernel))}")
    token = _attention.set(attention)
    try:
        yield
    finally:
        _attention.reset(token)


def in_use() -> AttentionKernel | None:
    """The kernel that `use` has chosen, if any."""
    return _attention.get()


# Not public. Where a later torch has it no more, the functions below run as they are, and `torch.func` refuses them.
_transforms_are_active: Callable[[], bool] = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def transformed() -> bool:
    """Whether a transform of `torch.func` is active: the functions below do not support them.

    A `torch.autograd.Function` that does (by `setup_context`) takes 20 µs more for each call.
    """
    return _transforms_are_active()


# softmax(s)_j = exp(s_j) / Σ_k exp(s_k)

REGISTER_BYTES = 64
"""A vector register. On the CPU, torch's own softmax is slow where a row of scores does not fill one."""


def softmax(scores: Float[Tensor, "*rows key"]) -> Float[Tensor, "*rows key"]:
    """Softmax along the last dimension."""
    if scores.device.type != "cpu" or scores.shape[-1] * scores.element_size() >= REGISTER_BYTES or transformed():
        return scores.softmax(dim=-1)
    weights: Tensor = _ShortSoftmax.apply(scores)  # type: ignore[no-untyped-call]
    return weights


class _ShortSoftmax(torch.autograd.Function):
    """Operation by operation: about four times as fast as torch's for short rows."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        exact = scores.to(torch.promote_types(scores.dtype, torch.float32))
        exponents = (exact - exact.amax(dim=-1, keepdim=True)).exp_()
        weights = exponents.div_(exponents.sum(dim=-1, keepdim=True)).to(scores.dtype)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors
        exact = torch.promote_types(weights.dtype, torch.float32)
        weighted = gradients[0].to(exact) * weights
        return torch.addcmul(weighted, weights.to(exact), weighted.sum(dim=-1, keepdim=True), value=-1).to(
            weights.dtype
        )


# rms_norm(x) = x / √(mean x² + ε) · weight


def rms_norm(
    x: Float[Tensor, "*batch width"], weight: Float[Tensor, " width"], epsilon: float
) -> Float[Tensor, "*batch width"]:
    """Each vector of `x` with a mean square of 1, times `weight`; sums are float32, the result has the type of `x`."""
    if transformed():
        return F.rms_norm(x, weight.shape, weight.to(x.dtype), epsilon)
    result, _, _ = _RMSNorm.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]
    return cast(Tensor, result)


class _RMSNorm(torch.autograd.Function):
    """With the scale s = 1 / √(mean x² + ε) and n = s x, for the gradient g of the result:

    d / dx = s (g w - n · mean(g w n)),  d / dweight = Σ g n.

    The backward pass needs n and s. They are outputs too, so that autograd knows how they depend on x; only a second
    derivative has a gradient for them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        exact = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact)
        scale = (length.square() / x.shape[-1] + epsilon).rsqrt().to(x.dtype)
        normed = x * scale
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight.to(x.dtype), normed, scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, Tensor, None]:
        normed, scale, weight = ctx.saved_tensors
        gradient, normed_gradient, scale_gradient = gradients
        if gradient is None:
            gradient = torch.zeros_like(normed)
        exact = torch.promote_types(normed.dtype, torch.float32)
        product = gradient * normed
        weight_gradient = product.flatten(0, -2).sum(dim=0, dtype=exact).to(weight.dtype)
        along = (product @ weight.to(product.dtype)[:, None]) / normed.shape[-1]
        x_gradient = torch.addcmul(gradient * weight.to(gradient.dtype), normed, along, value=-1) * scale
        if normed_gradient is not None:
            along = (normed_gradient * normed).mean(dim=-1, keepdim=True)
            x_gradient = x_gradient + (normed_gradient - normed * along) * scale
        if scale_gradient is not None:
            x_gradient = x_gradient - scale_gradient * scale.square() * normed / normed.shape[-1]
        return x_gradient, weight_gradient, None


# rotate(left, right) = (left cos - right sin, right cos + left sin)


def rotate(
    heads: Float[Tensor, "batch heads time head_width"],
    cosine: Float[Tensor, "*batch time heads head_width"],
    sine: Float[Tensor, "*batch time heads head_width"],
) -> Float[Tensor, "batch heads time head_width"]:
    """Rotate each pair of coordinates i and i + head_width / 2 of each head by the angle of its position.

    Args:
        heads: queries or keys.
        cosine: of the angle of each coordinate.
        sine: the same, negative in the left half.

    Raises:
        NotImplementedError: in the backward pass, if `cosine` or `sine` needs a gradient.
    """
    if transformed():
        along = heads.transpose(1, 2)
        return (along * cosine + along.roll(along.shape[-1] // 2, dims=-1) * sine).transpose(1, 2)
    rotated: Tensor = _Rotation.apply(heads, cosine, sine)  # type: ignore[no-untyped-call]
    return rotated


class _Rotation(torch.autograd.Function):
    """The gradient is rotated back."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _rotate(heads, cosine, sine)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        if any(ctx.needs_input_grad[1:]):
            raise NotImplementedError("rotate has no gradient for cosine and sine: give them without requires_grad")
        cosine, sine = ctx.saved_tensors
        return _rotate(gradients[0], cosine, -sine), None, None


def _rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """In the order `batch time heads head_width`, that of the memory, and with tables as wide: long runs are fast."""
    along = heads.transpose(1, 2).contiguous()
    return (along * cosine).addcmul_(along.roll(along.shape[-1] // 2, dims=-1), sine).transpose(1, 2)


# dropout(x) = x · kept / (1 - p),  kept ~ Bernoulli(1 - p)


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Zero elements of `x` (any shape) with `probability` and scale up the rest; identity outside training.

    On the CPU, drawing one random number for each element costs more than the matrix products of a small model. One
    byte is enough to decide, so a 64-bit draw decides for eight elements, and the probability is rounded to the nearest
    of 1/256, ..., 255/256; the scale 1 / (1 - p) uses the rounded p, so that the expectation is exact.
    """
    if not training or probability == 0.0:
        return x
    if x.device.type != "cpu" or transformed():
        return F.dropout(x, probability)
    kept: Tensor = _Dropout.apply(x, probability)  # type: ignore[no-untyped-call]
    return kept


class _Dropout(torch.autograd.Function):
    """Remembers one byte for each element: whether it was kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        dropped = min(max(1, round(probability * 256)), 255)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        # 0 or 1, in place: a mask of bool would take ten times longer to make and to convert.
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape).ge_(dropped)
        ctx.save_for_backward(kept)
        ctx.scale = 256 / (256 - dropped)
        return _keep(x, kept, ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return _keep(gradients[0], kept, ctx.scale), None


def _keep(x: Tensor, kept: Tensor, scale: float) -> Tensor:
    return (x * kept.to(x.dtype)).mul_(scale)  # a number: in a tensor of bf16 it would be rounded
