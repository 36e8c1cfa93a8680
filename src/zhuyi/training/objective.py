"""The objective: the sum of cross entropies at every target position, EOS included (teacher forcing).

    loss = -Σ log softmax(hidden Wᵀ + b)[right token]        b: if the output projection has a bias

With label smoothing s (Szegedy et al. 2016), the target distribution is (1 - s) on the right token and s spread evenly
over the vocabulary. The output projection is part of the objective: logits over the whole vocabulary are the largest
tensor of a small model, so they are computed, used for loss and gradient, and freed chunk by chunk.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from zhuyi.data.batches import Batch
from zhuyi.model.kernels import transformed
from zhuyi.model.transformer import Network
from zhuyi.text.tokenizer import PAD
from zhuyi.training.precision import products

LOGIT_CHUNK = 512
"""Target positions whose logits exist at one time."""


def cross_entropy(
    hidden: Float[Tensor, "batch target width"],
    projection: Float[Tensor, "vocabulary width"],
    target_out: Int[Tensor, "batch target"],
    smoothing: float = 0.0,
    bias: Float[Tensor, " vocabulary"] | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sums over all target positions that are not PAD, in nats.

    With `create_graph=True`, and under the transforms of `torch.func`, all logits exist at one time.

    Args:
        hidden: the decoder's hidden states, in the type in which the products are computed.
        projection: the output embeddings of the vocabulary, as rows.
        target_out: the right tokens.
        smoothing: label smoothing, in [0, 1).
        bias: of the projection, if it has one.

    Returns:
        The smoothed cross entropy, which is minimised, and the plain one, which is reported and has no gradient.
    """
    if bias is not None:  # a column of the projection, whose coordinate is always 1
        hidden, projection = F.pad(hidden, (0, 1), value=1.0), torch.cat([projection, bias[:, None]], dim=1)
    if transformed():
        logits = (hidden @ projection.to(hidden.dtype).T).to(torch.promote_types(hidden.dtype, torch.float32))
        smoothed, plain = (
            F.cross_entropy(logits.mT, target_out, ignore_index=PAD, reduction="sum", label_smoothing=share)
            for share in (smoothing, 0.0)
        )
        return smoothed, plain.detach()
    real = target_out != PAD
    smoothed, plain = _CrossEntropy.apply(hidden[real], projection, target_out[real], smoothing)  # type: ignore[no-untyped-call]
    return smoothed, plain


def aim(smoothing: float, vocabulary: int) -> float:
    """The plain loss, in nats per token, of a model that has learnt smoothed targets perfectly."""
    return -math.log(1 - smoothing + smoothing / vocabulary)


class _CrossEntropy(torch.autograd.Function):
    """Loss and both gradients in one pass: with p the softmax, d loss / d logits = p - (1 - s) onehot - s / V.

    The last two terms do not need a pass over the logits: they are added to the gradients as rows and as a constant.
    Neither does the smoothed loss. With Z the normaliser, -log p of a token is log Z - its logit. So log Z is -log p of
    the right token plus that token's logit; and the mean of -log p over all tokens is log Z - the mean logit, which is
    the hidden state times the mean row of the projection.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, projection: Tensor, targets: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        weights = projection.to(hidden.dtype)
        exact = torch.promote_types(hidden.dtype, torch.float32)  # sums are never in bf16
        mean_weights = projection.to(exact).mean(dim=0)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(projection)
        positions = torch.arange(LOGIT_CHUNK, device=hidden.device)
        smoothed, plain = hidden.new_zeros((), dtype=exact), hidden.new_zeros((), dtype=exact)
        for start in range(0, len(hidden), LOGIT_CHUNK):
            rows, right = hidden[start : start + LOGIT_CHUNK], targets[start : start + LOGIT_CHUNK, None]
            logits = rows @ weights.T
            p = logits.softmax(dim=-1)
            p_target = p.gather(1, right).to(exact)
            p[positions[: len(rows)], right[:, 0]] = 0.0
            p_rest = p.sum(dim=-1, keepdim=True, dtype=exact)
            # Near 1, the sum of the rest is more precise: bf16 rounds the probability of the target to 1.
            p_target = torch.where(p_rest < 0.5, 1 - p_rest, p_target)
            # A probability below the smallest normal number counts as that number: a loss of 87, not infinity.
            nll = -p_target.clamp_min(torch.finfo(exact).tiny).log().sum()
            log_normaliser = logits.gather(1, right).to(exact).sum() + nll
            plain += nll
            uniform_nll = log_normaliser - (rows.to(exact) @ mean_weights).sum()
            smoothed += (1 - smoothing) * nll + smoothing * uniform_nll
            p[positions[: len(rows)], right[:, 0]] = (p_target - (1 - smoothing))[:, 0].to(p.dtype)
            hidden_gradient[start : start + LOGIT_CHUNK] = p @ weights - smoothing * mean_weights.to(hidden.dtype)
            weight_gradient += p.T @ rows
        weight_gradient -= smoothing / len(projection) * hidden.to(exact).sum(dim=0).to(projection.dtype)
        ctx.smoothing = smoothing
        ctx.save_for_backward(hidden_gradient, weight_gradient, hidden, projection, targets)
        ctx.mark_non_differentiable(plain)
        return smoothed, plain

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, weight_gradient, hidden, projection, targets = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the gradients will be differentiated
            hidden_gradient, weight_gradient = _differentiable_gradients(hidden, projection, targets, ctx.smoothing)
        scale = gradients[0]
        # Not scale.to(bf16): rounding the scale would bias the whole gradient.
        return hidden_gradient * scale, weight_gradient * scale, None, None


def _differentiable_gradients(
    hidden: Tensor, projection: Tensor, targets: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """The gradients of the smoothed loss, computed by torch's operations on all logits at once."""
    weights = projection.to(hidden.dtype)
    right = F.one_hot(targets, len(projection)).to(hidden.dtype)
    logit_gradient = (hidden @ weights.T).softmax(dim=-1) - (1 - smoothing) * right - smoothing / len(projection)
    return logit_gradient @ weights, (logit_gradient.T @ hidden).to(projection.dtype)


Loss = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]
"""A function from a model and a batch to two sums over its target tokens: the loss minimised, and the one reported."""


class TeacherForcing:
    """Cross entropy at every target position, given the source and the true tokens before it: a `Loss`.

    Args:
        smoothing: label smoothing, in [0, 1).
        bf16: whether matrix products are computed in bf16.
    """

    def __init__(self, smoothing: float = 0.0, bf16: bool = False) -> None:
        self.smoothing, self.bf16 = smoothing, bf16

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The smoothed loss and the plain one, summed over the target tokens of `batch`: see `cross_entropy`."""
        network = cast(Network, model)
        with products(self.bf16, batch.source.device):
            hidden = network.hidden(batch.source, batch.source_mask, batch.target_in)
        hidden = hidden.to(torch.bfloat16) if self.bf16 else hidden
        return cross_entropy(
            hidden, network.projection.weight, batch.target_out, self.smoothing, network.projection.bias
        )


class Objective(nn.Module):
    """A model and its loss: the whole forward pass as one module, as DDP and FSDP need it."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The two sums of `loss`."""
        return self.loss(self.model, batch)
