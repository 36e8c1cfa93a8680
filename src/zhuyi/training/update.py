"""One update: forward and backward over its batches, and a step of the optimiser.

The loss of an update is the mean over its target tokens, however these are divided: into batches, among ranks, or into
micro-batches for lack of memory.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter

import numpy as np
import torch
from torch import nn

from zhuyi.data.batches import Batch
from zhuyi.errors import TrainingError
from zhuyi.model.transformer import Network
from zhuyi.text.tokenizer import BOS, EOS, PAD
from zhuyi.training.distributed import ALONE, World, accumulating, full_tensor
from zhuyi.training.run_state import RunState

EMPTY_BATCH = Batch(
    source=torch.tensor([[EOS]]),
    source_mask=torch.tensor([[True]]),
    target_in=torch.tensor([[BOS]]),
    target_out=torch.tensor([[PAD]]),
    pairs=np.array([], dtype=np.int64),
)
"""The batch of a process that has no pairs: it has no token to predict, so its gradient is 0."""


def update(
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[Batch],
    clip: float,
    state: RunState,
    world: World = ALONE,
) -> tuple[float, float]:
    """One step of the optimiser. Returns the plain loss per target token, and the norm of the gradient.

    The loss is the mean over the target tokens of all batches of all ranks. If a batch is too large for the GPU, this
    and later batches are divided into twice as many micro-batches. If the loss or the norm is not finite, the weights
    do not change.

    Args:
        objective: an `Objective`, or what `World.parallel` makes of one.
        optimizer: of its parameters, at the learning rate of this update.
        batches: this rank's share.
        clip: the largest norm of the gradient; 0: unlimited.
        state: of the run; its `micro_batches` may be doubled.
        world: the processes that make this update together.

    Raises:
        TrainingError: if memory does not suffice, and batches cannot be divided further.
    """
    target_tokens = max(world.sum(sum(batch.target_tokens for batch in batches)), 1)
    while True:
        try:
            total = gradient(objective, batches, target_tokens / world.size, state.micro_batches)
            break
        except torch.OutOfMemoryError as error:
            # The other ranks wait within their backward passes, so this rank cannot try again alone.
            if world.size > 1 or not can_be_cut(batches, state):
                raise TrainingError(
                    f"step {state.step + 1}: out of memory on {world.device} of rank {world.rank}: begin again with "
                    "a lower training.tokens_per_batch, and a higher training.accumulate in its place"
                ) from error
        objective.zero_grad()
        state.micro_batches *= 2
    loss = world.sum(total) / target_tokens
    norm = full_tensor(nn.utils.clip_grad_norm_(_weights(objective), clip or math.inf)).item()
    if math.isfinite(loss + norm):
        optimizer.step()
    optimizer.zero_grad()
    return loss, norm


def _weights(objective: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters, in the order in which the norm of the gradient is summed in float32."""
    model = getattr(getattr(objective, "module", objective), "model", objective)
    return (model.in_order() if isinstance(model, Network) else model).parameters()


def gradient(
    objective: nn.Module, batches: list[Batch], divisor: float, micro_batches: int = 1, send: bool = True
) -> float:
    """Accumulate the gradient of the smoothed loss, divided by `divisor`, and return the plain loss, summed.

    Args:
        objective: as for `update`.
        batches: each of their micro-batches has one forward and backward pass.
        divisor: the mean number of target tokens per rank, since gradients are averaged over the ranks.
        micro_batches: the number of parts that each batch is divided into.
        send: whether ranks exchange their gradients.
    """
    device = next(objective.parameters()).device
    passes = [micro_batch for batch in batches for micro_batch in _cut(batch, micro_batches)]
    total = 0.0
    objective.train()
    for number, micro_batch in enumerate(passes, start=1):
        with accumulating(objective, send and number == len(passes)):
            smoothed, plain = objective(micro_batch.to(device))
            (smoothed / divisor).backward()
        total += plain.item()
    return total


def _cut(batch: Batch, micro_batches: int) -> list[Batch]:
    """The given number of parts of a batch, some empty if it has fewer rows, since ranks must make as many passes."""
    if micro_batches == 1:
        return [batch]
    split = np.array_split(np.arange(len(batch.pairs)), micro_batches)
    return [
        replace(batch.map(itemgetter(torch.from_numpy(rows))), pairs=batch.pairs[rows]) if len(rows) else EMPTY_BATCH
        for rows in split
    ]


def can_be_cut(batches: list[Batch], state: RunState) -> bool:
    """Whether some batch has more rows than micro-batches, so that it can be divided further."""
    return state.micro_batches < max(len(batch.pairs) for batch in batches)
