"""AdamW and the learning rate's way through a run."""

import math
from collections.abc import Callable

import torch
from torch import nn

from zhuyi.config import TrainingConfig


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019), fused; only matrices decay, not norms and biases."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


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
