"""The optimiser, a moving average of the weights, and the learning rate's way through a run."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zhuyi.config import TrainingConfig
from zhuyi.training.distributed import gathered, parted

MUON_SCALE = 3.0
"""More is faster at first, and worse in the end."""
MOMENTUM = 0.95


class Optimizer:
    """AdamW for all weights, or Muon for the matrices of the blocks and AdamW for the rest.

    AdamW is that of Loshchilov & Hutter 2019; only matrices decay, not norms and biases. One learning rate serves both:
    a step of Muon is `MUON_SCALE` times as large as one of AdamW. (Why Muon is not torch's: docs/architecture.md.)

    With `training.ema`, average ← ema · average + (1 - ema) · weight after each step (Polyak & Juditsky 1992), with a
    smaller factor at first, when the weights are still far from anything.

    Args:
        model: what is to be learned.
        config: of the run.
        bf16: whether Muon's products are bf16.

    Attributes:
        state: by parameter, its tensors by name: moments, and `average`.
        hidden: the matrices that Muon has.
        adamw: has the others.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, bf16: bool = False) -> None:
        self._parameters = list(model.parameters())
        self._ema, self._decay, self._bf16 = config.ema, config.weight_decay, bf16
        self.hidden = _of_the_blocks(model) if config.optimizer == "muon" else []
        others = [parameter for parameter in self._parameters if not any(parameter is each for each in self.hidden)]
        groups = [
            {"params": [each for each in others if each.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [each for each in others if each.dim() <= 1], "weight_decay": 0.0},
        ]
        rate, betas = config.learning_rate, (config.beta1, config.beta2)
        self.adamw = torch.optim.AdamW(groups, lr=rate, betas=betas, eps=config.epsilon, fused=True)
        self.state = self.adamw.state  # Muon's too

    def step(self, learning_rate: float) -> None:
        """Change the weights by their gradients, and the average with them."""
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate
        self.adamw.step()
        self._muon(learning_rate)
        if self._ema:
            self._average()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the model has the averaged weights; its own wait in their place. Without `ema` it changes nothing."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """Weights and averages change places."""
        for parameter in self._parameters:
            if "average" in self.state[parameter]:
                average = self.state[parameter]["average"]
                weight = parameter.clone()
                parameter.copy_(average)
                average.copy_(weight)

    @torch.no_grad()
    def _muon(self, rate: float) -> None:
        """Momentum made orthogonal (Jordan 2024): a step goes equally far in all directions that it has.

        Its size is that of AdamW's as Liu et al. 2025 (section 2.2) reckon it, times `MUON_SCALE`.
        """
        for weight in self.hidden:
            assert weight.grad is not None, "every matrix of a block has a part in every output"
            state = self.state[weight]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(weight)
            momentum = state["momentum_buffer"].lerp_(weight.grad, 1 - MOMENTUM)
            ahead = gathered(weight.grad.lerp(momentum, MOMENTUM))  # Nesterov's
            matrix = ahead.flatten(1)  # a convolution's has a third dimension
            size = MUON_SCALE * 0.2 * math.sqrt(max(matrix.shape))
            step = parted(orthogonal(matrix, self._bf16).view_as(ahead), weight)
            weight.mul_(1 - rate * self._decay).add_(step, alpha=-size * rate)

    @torch.no_grad()
    def _average(self) -> None:
        steps = self.state[self._parameters[0]]["step"].item()  # the first one is an embedding: always AdamW's
        factor = min(self._ema, steps / (steps + 10))
        for parameter in self._parameters:
            state = self.state[parameter]
            if "average" not in state:
                state["average"] = parameter.detach().clone()
            state["average"].lerp_(parameter, 1 - factor)


def _of_the_blocks(model: nn.Module) -> list[nn.Parameter]:
    """Matrices that map hidden states to hidden states, of whatever mixer."""
    blocks = ("encoder.", "decoder.")
    return [weight for name, weight in model.named_parameters() if weight.dim() > 1 and name.startswith(blocks)]


def orthogonal(matrix: Float[Tensor, "rows columns"], bf16: bool = False) -> Float[Tensor, "rows columns"]:
    """Nearly U Vᵀ of the singular value decomposition U S Vᵀ: all singular values are about 1.

    Five Newton–Schulz iterations X ← a X + (b A + c A²) X, where A = X Xᵀ, whose a, b and c are Jordan's.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide.bfloat16() if bf16 else wide
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return (x if wide is matrix else x.T).to(matrix.dtype)


SCHEDULES: dict[str, Callable[[int, int, float], float]] = {
    # (update, warm-up, share of the budget used) → factor of the peak learning rate, once warm
    "inverse_sqrt": lambda step, warmup, _: math.sqrt(max(warmup, 1) / max(step, warmup, 1)),
    "cosine": lambda _step, _warmup, share: 0.5 * (1 + math.cos(math.pi * min(share, 1.0))),
    "linear": lambda _step, _warmup, share: max(1.0 - share, 0.0),
    "constant": lambda _step, _warmup, _share: 1.0,
}


def learning_rate(config: TrainingConfig, step: int, share: float) -> float:
    """The learning rate of an update.

    A line up to the peak over `warmup` updates, then the schedule. With `inverse_sqrt` this is the paper's schedule
    (Vaswani et al. 2017, eq. 3), whose peak is width^-0.5 · warmup^-0.5.

    Args:
        step: the update, from 1.
        share: share of the run's budget that has been used, in [0, 1].
    """
    warm = min(1.0, step / config.warmup) if config.warmup else 1.0
    return config.learning_rate * warm * SCHEDULES[config.schedule](step, config.warmup, share)
