"""The optimiser, a moving average of the weights, and the learning rate's way through a run."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from zhuyi.config import TrainingConfig

MUON_SCALE = 3.0
"""After 200 updates on Multi30k 8 is still better (loss 4.42, not 4.55), but at the end of a short run on G2P it is
much worse (7.3 % wrong words, not 3.8 %)."""


class Optimizer:
    """AdamW for all weights, or Muon for the matrices of the blocks and AdamW for the rest.

    AdamW is that of Loshchilov & Hutter 2019; only matrices decay, not norms and biases. Muon (Jordan 2024) makes the
    step of a matrix orthogonal; its size is `MUON_SCALE` times that of AdamW's step, as Liu et al. 2025 (section 2.2)
    reckon it, so that one learning rate serves both.

    With `training.ema`, average ← ema · average + (1 - ema) · weight after each step (Polyak & Juditsky 1992), with a
    smaller factor at first, when the weights are still far from anything.

    Attributes:
        state: by parameter, its tensors by name: moments, and `average`.
        param_groups: as torch's optimisers have them.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self._parameters = list(model.parameters())
        self._ema = config.ema
        matrices = [parameter for parameter in self._parameters if parameter.dim() > 1]
        vectors = [parameter for parameter in self._parameters if parameter.dim() <= 1]
        hidden = _of_the_blocks(model) if config.optimizer == "muon" else []
        others = [parameter for parameter in matrices if not any(parameter is each for each in hidden)]
        groups = [
            {"params": others, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        rate, betas = config.learning_rate, (config.beta1, config.beta2)
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=rate, betas=betas, eps=config.epsilon, fused=True)
        ]
        if hidden:
            decay = config.weight_decay / MUON_SCALE  # it is multiplied by the rate, and that by the scale
            self._parts.append(torch.optim.Muon(hidden, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
        self.state = self._parts[0].state
        for part in self._parts:
            part.state = self.state  # no parameter is in two parts
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    def step(self, learning_rate: float) -> None:
        """Change the weights by their gradients, and the average with them."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = learning_rate * (MUON_SCALE if isinstance(part, torch.optim.Muon) else 1.0)
            part.step()
        if self._ema:
            self._average()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self._parts:
            part.zero_grad()

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
    def _average(self) -> None:
        steps = self.state[self._parameters[0]]["step"].item()  # the first one is an embedding: always AdamW's
        factor = min(self._ema, steps / (steps + 10))
        for parameter in self._parameters:
            state = self.state[parameter]
            if "average" not in state:
                state["average"] = parameter.detach().clone()
            state["average"].lerp_(parameter, 1 - factor)


def _of_the_blocks(model: nn.Module) -> list[nn.Parameter]:
    """Matrices that map hidden states to hidden states: all but embeddings and the output projection."""
    outside = {
        id(module.weight)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) or name == "projection"
    }
    return [
        parameter
        for module in model.modules()
        if isinstance(module, nn.Linear)
        for parameter in module.parameters()
        if parameter.dim() == 2 and id(parameter) not in outside
    ]


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
