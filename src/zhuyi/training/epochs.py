"""The updates of a run: which batches each is made of, from where the run stands."""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import cast

import numpy as np

from zhuyi.config import TrainingConfig
from zhuyi.data.batches import Batch, Plan, ahead, collate, plan
from zhuyi.data.sequences import Sequences
from zhuyi.training.distributed import ALONE, World
from zhuyi.training.run_state import RunState
from zhuyi.training.update import EMPTY_BATCH

Data = Sequences | Callable[[int], Sequences] | Iterable[Batch]
"""What `fit` trains on: tokenised pairs, those of each epoch (from 0), or batches, iterated over once an epoch."""


@dataclass(frozen=True)
class Update:
    """The data of one update, and where the run stands after it."""

    batches: list[Batch]
    """This process's share."""
    source_tokens: int
    """In all processes: EOS counted, padding not."""
    target_tokens: int
    """In all processes: EOS counted, padding not."""
    epoch: int
    """The epoch that the batches belong to, from 0."""
    done: int
    """Batches of the epoch up to here, in all processes."""
    passes: float
    """Passes over the data up to here, in epochs; whole ones only, where the number of batches is not known."""
    pairs: np.ndarray
    """The numbers of the pairs in their corpus, in all processes."""


def updates(
    data: Data, training: TrainingConfig, state: RunState, world: World = ALONE
) -> Generator[Update, None, None]:
    """The updates from where `state` stands: for ever, or until an epoch of batches is empty."""
    epoch, done = state.epoch, state.batches
    while True:
        if isinstance(data, Iterable) and not hasattr(data, "source_lengths"):
            updates_of_epoch = _grouped(data, epoch, done, training.accumulate)
        else:
            sequences = data(epoch) if callable(data) else cast(Sequences, data)
            planned = plan(sequences, training.tokens_per_batch, training.seed, epoch)
            updates_of_epoch = ahead(_planned(sequences, planned, epoch, done, training.accumulate, world))
        for update in updates_of_epoch:
            yield update
            done = update.done
        if not done:
            return
        epoch, done = epoch + 1, 0


def _grouped(batches: Iterable[Batch], epoch: int, done: int, accumulate: int) -> Iterator[Update]:
    rest = islice(batches, done, None)
    while group := list(islice(rest, accumulate)):
        done += len(group)
        pairs = np.concatenate([batch.pairs for batch in group])
        source, target = sum(batch.source_tokens for batch in group), sum(batch.target_tokens for batch in group)
        yield Update(group, source, target, epoch, done, float(epoch), pairs)


def _planned(data: Sequences, planned: Plan, epoch: int, done: int, accumulate: int, world: World) -> Iterator[Update]:
    for first in range(done, len(planned), accumulate):
        update = planned[first : first + accumulate]
        batches = [collate(data, pairs) if len(pairs) else EMPTY_BATCH for pairs in world.share(update)]
        if world.device.type == "cuda":
            batches = [batch.pinned() for batch in batches]
        after, pairs = first + len(update), np.concatenate(update)
        source = int(data.source_lengths[pairs].sum()) + len(pairs)
        target = int(data.target_lengths[pairs].sum()) + len(pairs)
        yield Update(batches, source, target, epoch, after, epoch + after / len(planned), pairs)
