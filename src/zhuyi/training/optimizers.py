"""The optimiser, the moving average of the weights, and the schedules of the learning rate."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, overload

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zhuyi.config import TrainingConfig
from zhuyi.model.stack import Stack
from zhuyi.training.distributed import full_tensor, shard_like

MUON_SCALE = 3.0
"""A step of Muon is this many times as large as one of AdamW. A larger value learns faster at first, but ends worse."""
MOMENTUM = 0.95
"""Of Muon."""


class Optimizer(torch.optim.Optimizer):
    """AdamW for all weights, or Muon for the matrices of the blocks and AdamW for the rest.

    AdamW is that of Loshchilov & Hutter 2019; only matrices decay, not norms and biases. Both have the same learning
    rate. (docs/architecture.md explains why Muon is not torch's.) Each of `param_groups` has a `rule`, "muon" or
    "adamw", so torch's schedulers work as with any optimizer.

    With `training.ema`, average ← ema · average + (1 - ema) · weight after each step (Polyak & Juditsky 1992), with a
    smaller factor at first, when the weights still change much. `state[parameter]["average"]` holds it.

    Args:
        model: its parameters that require a gradient are optimised.
        config: of the run.
        bf16: whether Muon's products are computed in bf16.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, bf16: bool = False) -> None:
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        hidden = _of_the_blocks(model) if config.optimizer == "muon" else []
        others = [parameter for parameter in learned if not any(parameter is each for each in hidden)]
        matrices, vectors = [each for each in others if each.dim() > 1], [each for each in others if each.dim() <= 1]
        groups = [
            {"params": hidden, "weight_decay": config.weight_decay, "rule": "muon"},
            {"params": matrices, "weight_decay": config.weight_decay, "rule": "adamw"},
            {"params": vectors, "weight_decay": 0.0, "rule": "adamw"},
        ]
        rate, betas = config.learning_rate, (config.beta1, config.beta2)
        adamw = torch.optim.AdamW(learned, lr=rate, betas=betas, eps=config.epsilon, fused=True)
        defaults = {**adamw.defaults, "rule": "adamw", "ema": config.ema, "bf16": bf16, "updates": 0}
        super().__init__([group for group in groups if group["params"]], defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update the weights by their gradients, and then the average.

        Args:
            closure: computes the gradients again, and returns the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        adamw = self._adamw()
        adamw.param_groups = [group for group in self.param_groups if group["rule"] == "adamw"]
        adamw.state = self.state
        adamw.step()
        for group in self.param_groups:
            group["updates"] += 1
            if group["rule"] == "muon":
                self._muon(group)
        if self.defaults["ema"]:
            self._average()
        return loss

    def _adamw(self) -> torch.optim.AdamW:
        """torch's AdamW, which is given our groups and state. It is not part of a copy, a pickle or a state dict."""
        if "_inner" not in self.__dict__:
            self._inner = torch.optim.AdamW([torch.zeros(())], fused=True)
        return self._inner

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within this context, the model has the averaged weights and `state` the raw ones. No effect without `ema`."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """Exchange the weights and their averages."""
        for parameter, state in self.state.items():
            if "average" in state:
                weight = parameter.clone()
                parameter.copy_(state["average"])
                state["average"].copy_(weight)

    @torch.no_grad()
    def _muon(self, group: dict[str, Any]) -> None:
        """A step of Muon (Jordan 2024): along the orthogonalised momentum, so equally far in all its directions.

        The size of the step is matched to that of AdamW as by Liu et al. 2025 (section 2.2), times `MUON_SCALE`.
        """
        rate, decay = group["lr"], group["weight_decay"]
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(weight)
            momentum = state["momentum_buffer"].lerp_(weight.grad, 1 - MOMENTUM)
            ahead = full_tensor(weight.grad.lerp(momentum, MOMENTUM))  # Nesterov's
            matrix = ahead.flatten(1)  # a convolution's has a third dimension
            size = MUON_SCALE * 0.2 * math.sqrt(max(matrix.shape))
            step = shard_like(orthogonal(matrix, group["bf16"]).view_as(ahead), weight)
            weight.mul_(1 - rate * decay).add_(step, alpha=-size * rate)

    @torch.no_grad()
    def _average(self) -> None:
        updates = self.param_groups[0]["updates"]
        factor = min(self.defaults["ema"], updates / (updates + 10))
        for parameter, state in self.state.items():
            if "average" not in state:
                state["average"] = parameter.detach().clone()
            state["average"].lerp_(parameter, 1 - factor)


def _of_the_blocks(model: nn.Module) -> list[nn.Parameter]:
    """The matrices of the blocks, which map hidden states to hidden states."""
    stacks = [module for module in model.modules() if isinstance(module, Stack)]
    weights = [weight for stack in stacks for weight in stack.blocks.parameters() if weight.requires_grad]
    return [weight for weight in weights if weight.dim() > 1]


def orthogonal(matrix: Float[Tensor, "rows columns"], bf16: bool = False) -> Float[Tensor, "rows columns"]:
    """Approximately U Vᵀ of the singular value decomposition U S Vᵀ of a matrix: all singular values are about 1.

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

    It rises linearly to the peak over `warmup` updates, and then follows the schedule. With `inverse_sqrt`, this is the
    schedule of Vaswani et al. 2017 (eq. 3), whose peak is width^-0.5 · warmup^-0.5.

    Args:
        config: of the run.
        step: the update, from 1.
        share: share of the run's budget that has been used, in [0, 1].
    """
    warm = min(1.0, step / config.warmup) if config.warmup else 1.0
    return config.learning_rate * warm * SCHEDULES[config.schedule](step, config.warmup, share)
