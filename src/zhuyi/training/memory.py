"""Batches that fit into the memory of a GPU: the largest is tried before a run, and divided if it does not fit."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from zhuyi.config import TrainingConfig
from zhuyi.data.batches import collate, plan_in_order
from zhuyi.data.sequences import Lengths, Sequences, ends_of
from zhuyi.errors import TrainingError
from zhuyi.training.distributed import ALONE, World, is_sharded
from zhuyi.training.events import Event, Listener, Notice, Updated
from zhuyi.training.run_state import RunState
from zhuyi.training.update import EMPTY_BATCH, can_be_cut, gradient


def warm_up(
    objective: nn.Module, data: Sequences, training: TrainingConfig, state: RunState, world: World, notify: Listener
) -> None:
    """Run passes before the first update. Training state is not affected, except for `state.micro_batches`.

    DDP assigns gradients to buckets in the order in which its first backward pass produces them. With three ranks or
    more, the last bits of the sums depend on this order, so that pass must be the same in a new and in a resumed run.

    On a GPU, the batch that needs the most memory is tried, so that a lack of memory shows now and not after hours.
    """
    gpu = world.device.type == "cuda"
    with torch.random.fork_rng([world.device] if gpu else []):
        if world.size > 1:
            gradient(objective, [EMPTY_BATCH], 1.0)
        if gpu:
            find_micro_batches(objective, data, training, state, world)
    objective.zero_grad()
    if state.micro_batches > 1:
        notify(_micro_batches_notice(state.step + 1, state.micro_batches))


def find_micro_batches(
    objective: nn.Module, data: Sequences, training: TrainingConfig, state: RunState, world: World = ALONE
) -> None:
    """Set `state.micro_batches` so that the largest batch, divided into so many parts, fits into every rank's memory.

    Raises:
        TrainingError: if a single pair does not fit; or if the largest batch does not, in a sharded run.
    """
    pairs = longest_batch(data, training.tokens_per_batch)
    share = world.share([pairs] * (world.size if training.accumulate >= world.size else 1))
    batch = collate(data, share[0]) if len(share[0]) else EMPTY_BATCH
    # Memory that the optimiser needs from its first step on: two moments and perhaps an average.
    copies = 0 if state.step else 2 + bool(training.ema)
    reserved = [torch.empty_like(parameter) for parameter in objective.parameters() for _ in range(copies)]
    while True:
        full = False
        try:
            gradient(objective, [batch], 1.0, state.micro_batches, send=False)
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
        if not world.any(can_be_cut([batch], state)):
            with world.all_or_none():
                raise TrainingError(
                    f"out of memory on {world.device} with a single pair of lines: "
                    "try a smaller model, a smaller model.max_length, or training.shard = true on several GPUs"
                )
        state.micro_batches *= 2
    del reserved


def longest_batch(corpus: Lengths, tokens_per_batch: int) -> np.ndarray:
    """The batch that needs the most memory, made of the longest pairs of the corpus."""
    both = corpus.source_lengths.astype(np.int32) + corpus.target_lengths
    most = min(tokens_per_batch, len(both))
    pairs = np.argpartition(both, len(both) - most)[-most:]
    longest = _LengthView(corpus.source_lengths[pairs], corpus.target_lengths[pairs], ends_of(corpus))
    batches = plan_in_order(longest, tokens_per_batch)
    costs = [len(batch) * int(both[pairs[batch]].max()) for batch in batches]
    worst: np.ndarray = pairs[batches[int(np.argmax(costs))]]
    return worst


@dataclass
class _LengthView:
    """The lengths of a selection of pairs."""

    source_lengths: np.ndarray
    target_lengths: np.ndarray
    ends: tuple[int, int]


class MemoryWatch:
    """A listener that reports when batches are divided into more micro-batches than before.

    Args:
        micro_batches: at the start of the run.
        notify: gets a notice.
    """

    def __init__(self, micro_batches: int, notify: Listener) -> None:
        self._micro_batches, self._notify = micro_batches, notify

    def __call__(self, event: Event) -> None:
        """Take note of an update."""
        if isinstance(event, Updated) and event.micro_batches > self._micro_batches:
            self._micro_batches = event.micro_batches
            self._notify(_micro_batches_notice(event.step, event.micro_batches))


def _micro_batches_notice(step: int, micro_batches: int) -> Notice:
    text = (
        f"from step {step:,} a batch is cut into {micro_batches} micro-batches, whose gradients are added up: the same "
        "update, in more passes."
    )
    return Notice(text, warning="Out of memory")
