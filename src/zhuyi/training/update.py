"""One update: forward and backward over its batches, and a step of the optimiser.

However the target tokens of an update are split – into batches, between ranks, into pieces for the memory's sake – its
loss is their mean.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from zhuyi.config import TrainingConfig
from zhuyi.data.batches import Batch, Lengths, collate, plan_in_order
from zhuyi.data.store import Store
from zhuyi.errors import TrainingError
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import BOS, EOS, PAD
from zhuyi.training.distributed import ALONE, World, accumulating, gathered, is_sharded
from zhuyi.training.objective import cross_entropy
from zhuyi.training.optimizers import Optimizer
from zhuyi.training.precision import products
from zhuyi.training.state import Progress

IDLE = Batch(
    source=torch.tensor([[EOS]]),
    source_mask=torch.tensor([[True]]),
    target_in=torch.tensor([[BOS]]),
    target_out=torch.tensor([[PAD]]),
    pairs=np.array([], dtype=np.int64),
)
"""The batch of a rank that has nothing to do: nothing is to be predicted, so its gradient is 0."""


class Objective(nn.Module):
    """A transformer and its loss: the whole forward pass as one module, which is what DDP and FSDP want."""

    def __init__(self, transformer: Transformer, smoothing: float, bf16: bool) -> None:
        super().__init__()
        self.transformer, self.smoothing, self.bf16 = transformer, smoothing, bf16

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The smoothed loss and the plain one, summed over the target tokens of `batch`: see `cross_entropy`."""
        model = self.transformer
        with products(self.bf16, batch.source.device):
            memory = model.encode(batch.source, batch.source_mask)
            hidden = model.decode(batch.target_in, memory, batch.source_mask)
        hidden = hidden.to(torch.bfloat16) if self.bf16 else hidden
        return cross_entropy(hidden, model.projection.weight, batch.target_out, self.smoothing)


def update(
    objective: nn.Module,
    optimizer: Optimizer,
    batches: list[Batch],
    rate: float,
    clip: float,
    progress: Progress,
    world: World = ALONE,
) -> tuple[float, float]:
    """One step of the optimiser. Gives the plain loss per target token, and the norm of the gradient.

    The loss is the mean over the target tokens of all batches of all ranks, however they are split. Where a batch is
    too large for the GPU, it is cut into twice as many pieces, from here on.

    Args:
        objective: an `Objective`, or what `World.parallel` makes of one.
        optimizer: of its parameters.
        batches: this rank's share.
        rate: the learning rate.
        clip: largest norm of the gradient; 0: any.
        progress: knows into how many pieces a batch is cut.
        world: the processes that make this update together.

    Raises:
        TrainingError: out of memory, and no smaller pieces to try.
    """
    target_tokens = world.sum(sum(batch.target_tokens for batch in batches))
    while True:
        try:
            total = gradient(objective, batches, target_tokens / world.size, progress.pieces)
            break
        except torch.OutOfMemoryError as error:
            # The others are waiting within their own backward pass: there, only a smaller batch from the start helps.
            if world.size > 1 or not _can_be_cut(batches, progress):
                raise TrainingError(
                    f"step {progress.step + 1}: out of memory on {world.device} of rank {world.rank}: begin again with "
                    "a lower training.tokens_per_batch, and a higher training.accumulate in its place"
                ) from error
        objective.zero_grad()
        progress.pieces *= 2
    loss = world.sum(total) / target_tokens
    norm = gathered(nn.utils.clip_grad_norm_(objective.parameters(), clip or math.inf)).item()
    if math.isfinite(loss + norm):
        optimizer.step(rate)
    optimizer.zero_grad()
    return loss, norm


def gradient(objective: nn.Module, batches: list[Batch], divisor: float, pieces: int = 1, send: bool = True) -> float:
    """Forward and backward: adds the gradient of the smoothed loss over `divisor`, and gives the plain loss, a sum.

    Args:
        objective: as for `update`.
        batches: one forward and backward pass for each of their pieces.
        divisor: the target tokens that each rank has on average, since gradients are averaged over the ranks.
        pieces: how many a batch is cut into.
        send: whether ranks exchange their gradients.
    """
    device = next(objective.parameters()).device
    parts = [part for batch in batches for part in _cut(batch, pieces)]
    total = 0.0
    objective.train()
    for number, part in enumerate(parts, start=1):
        with accumulating(objective, send and number == len(parts)):
            smoothed, plain = objective(part.to(device))
            (smoothed / divisor).backward()
        total += plain.item()
    return total


def _cut(batch: Batch, pieces: int) -> list[Batch]:
    """A batch in this many pieces: as many even where it has fewer rows, since ranks must stay in step."""
    if pieces == 1:
        return [batch]
    tensors = (batch.source, batch.source_mask, batch.target_in, batch.target_out)
    parts = []
    for rows in np.array_split(np.arange(len(batch.pairs)), pieces):
        source, source_mask, target_in, target_out = (tensor[torch.from_numpy(rows)] for tensor in tensors)
        parts.append(Batch(source, source_mask, target_in, target_out, batch.pairs[rows]) if len(rows) else IDLE)
    return parts


def _can_be_cut(batches: list[Batch], progress: Progress) -> bool:
    return progress.pieces < max(len(batch.pairs) for batch in batches)


def find_pieces(
    objective: nn.Module, store: Store, training: TrainingConfig, progress: Progress, world: World = ALONE
) -> None:
    """Cut batches into so many pieces that the worst one fits into the memory of every rank."""
    pairs = longest_batch(store, training.tokens_per_batch)
    share = world.share([pairs] * (world.size if training.accumulate >= world.size else 1))
    batch = collate(store, share[0]) if len(share[0]) else IDLE
    # What the optimiser will take at its first step: two moments and perhaps an average.
    coming = 0 if progress.step else 2 + bool(training.ema)
    room = [torch.empty_like(parameter) for parameter in objective.parameters() for _ in range(coming)]
    while True:
        full = False
        try:
            gradient(objective, [batch], 1.0, progress.pieces, send=False)
        except torch.OutOfMemoryError as error:
            if is_sharded(objective):  # the others are waiting for its part of the weights
                raise TrainingError(
                    f"out of memory on rank {world.rank} with the largest batch: lower training.tokens_per_batch, and "
                    "raise training.accumulate in its place"
                ) from error
            full = True
        objective.zero_grad()
        if not world.any(full):
            break
        if not world.any(_can_be_cut([batch], progress)):
            with world.united():
                raise TrainingError(
                    f"out of memory on {world.device} with a single pair of lines: "
                    "try a smaller model, a smaller model.max_length, or training.shard = true on several GPUs"
                )
        progress.pieces *= 2
    del room


def longest_batch(corpus: Lengths, tokens_per_batch: int) -> np.ndarray:
    """The batch that needs the most memory: as full as any, and of the longest pairs of the corpus."""
    both = corpus.source_lengths.astype(np.int32) + corpus.target_lengths
    most = min(tokens_per_batch, len(both))
    pairs = np.argpartition(both, len(both) - most)[-most:]
    longest = _Some(corpus.source_lengths[pairs], corpus.target_lengths[pairs])
    batches = plan_in_order(longest, tokens_per_batch)
    costs = [len(batch) * int(both[pairs[batch]].max()) for batch in batches]
    worst: np.ndarray = pairs[batches[int(np.argmax(costs))]]
    return worst


@dataclass
class _Some:
    """The lengths of some pairs."""

    source_lengths: np.ndarray
    target_lengths: np.ndarray
