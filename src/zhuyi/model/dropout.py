"""Dropout (Srivastava et al. 2014): in training, each element is zeroed with a small probability.

On the CPU, drawing one random number for each element costs more than the matrix products of a
small model. One byte is enough to decide, so a 64-bit draw decides for eight elements, and
the probability is rounded to the nearest of 1/256, ..., 255/256; the scale 1 / (1 - p) uses the rounded p, so that the
expectation is exact.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Zero elements of `x` (any shape) with `probability` and scale up the rest; identity outside training."""
    if not training or probability == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, probability)
    kept: Tensor = _Dropout.apply(x, probability)  # type: ignore[no-untyped-call]  # torch's
    return kept


class _Dropout(torch.autograd.Function):
    """Remembers a byte an element: whether it was kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        dropped = min(max(1, round(probability * 256)), 255)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        # 0 or 1, in place: a mask of bool would take ten times longer to make and to convert.
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape).ge_(dropped)
        ctx.save_for_backward(kept)
        ctx.scale = 256 / (256 - dropped)
        return _kept(x, kept, ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return _kept(gradients[0], kept, ctx.scale), None


def _kept(x: Tensor, kept: Tensor, scale: float) -> Tensor:
    return (x * kept.to(x.dtype)).mul_(scale)  # a number: in a tensor of bf16 it would be rounded


class Dropout(nn.Module):
    """`dropout` as a module, which knows whether it is in training."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of `x`, of any shape."""
        return dropout(x, self.probability, self.training)

    def extra_repr(self) -> str:
        """For `print(model)`."""
        return f"p={self.probability}"
