"""The updates of a run: the batches of each, from the run's position in the data."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import cast

import numpy as np

from zhuyi.config import TrainingConfig
from zhuyi.data.batches import Batch, Plan, ahead, collate, plan, token_counts
from zhuyi.data.prepare import Prepared, examples, mixed_of_epoch, store_of_epoch
from zhuyi.data.sequences import Numbered, Sequences
from zhuyi.data.store import Store
from zhuyi.training.distributed import ALONE, World
from zhuyi.training.events import Listener
from zhuyi.training.resume import check_stores, record_segmentation
from zhuyi.training.run_state import RunState
from zhuyi.training.update import EMPTY_BATCH

Data = Sequences | Callable[[int], Sequences] | Iterable[Batch]
"""The data of `fit`: tokenised pairs; a function from an epoch, from 0, to its pairs; or batches of an epoch.

In a run of several processes, each process has its own batches, and all have the same number of them.
"""


@dataclass(frozen=True)
class UpdateData:
    """The data of one update, and the position of the run after it."""

    batches: list[Batch]
    """This process's share."""
    source_tokens: int
    """In all processes: EOS counted, padding not."""
    target_tokens: int
    """In all processes: EOS counted, padding not."""
    epoch: int
    """The epoch that the batches belong to, from 0."""
    done: int
    """Batches of the epoch up to and including this update, in all processes."""
    passes: float
    """Passes over the data up to and including this update. It is an integer if the number of batches is not known."""
    pairs: np.ndarray
    """The numbers of the pairs in their corpus, in all processes."""


def updates(
    data: Data, training: TrainingConfig, state: RunState, world: World = ALONE
) -> Generator[UpdateData, None, None]:
    """The updates from the position of `state` on: without end, unless an epoch of batches is empty."""
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


def _grouped(batches: Iterable[Batch], epoch: int, done: int, accumulate: int) -> Iterator[UpdateData]:
    rest, size = islice(batches, done, None), len(batches) if isinstance(batches, Sized) else None
    coming = list(islice(rest, accumulate))
    while group := coming:
        coming = list(islice(rest, accumulate))  # read ahead, so that the end of the epoch is known
        done += len(group)
        passes = epoch + (1.0 if not coming else done / size if size else 0.0)
        pairs = np.concatenate([batch.pairs for batch in group])
        source, target = sum(batch.source_tokens for batch in group), sum(batch.target_tokens for batch in group)
        yield UpdateData(group, source, target, epoch, done, passes, pairs)


def _planned(
    data: Sequences, planned: Plan, epoch: int, done: int, accumulate: int, world: World
) -> Iterator[UpdateData]:
    for first in range(done, len(planned), accumulate):
        update = planned[first : first + accumulate]
        batches = [collate(data, pairs) if len(pairs) else EMPTY_BATCH for pairs in world.share(update)]
        if world.device.type == "cuda":
            batches = [batch.pinned() for batch in batches]
        after, pairs = first + len(update), np.concatenate(update)
        source, target = token_counts(data, pairs)
        yield UpdateData(batches, source, target, epoch, after, epoch + after / len(planned), pairs)


class EpochStores:
    """The examples of each epoch.

    They differ between epochs if BPE-dropout segments words at random, if `data.mix` draws pairs, or if running text is
    divided into windows.

    Args:
        data: of the run.
        state: of the run; records the segmentation.
        oldest: returns the epoch of the newest checkpoint; segmentations of earlier epochs are removed.
        world: the processes of the run.
        notify: gets a notice if a resumed epoch cannot be segmented as before.
    """

    def __init__(
        self, data: Prepared, state: RunState, oldest: Callable[[], int], world: World, notify: Listener
    ) -> None:
        self.examples: Numbered = data.store
        """The examples of the epoch of the last call."""
        self._stores, self._opened = (data.store, *data.mixed), state.epoch
        self._data, self._state, self._oldest, self._world, self._notify = data, state, oldest, world, notify

    def __call__(self, epoch: int) -> Numbered:
        """The examples of an epoch, from 0; all processes call this."""
        config, tokenizers = self._data.config, self._data.tokenizers
        if config.text.bpe_dropout:
            if epoch != self._opened:
                self._stores, self._opened = self._world.main_first(partial(self._build, epoch)), epoch
            record_segmentation(self._state, epoch, self._stores, self._notify)
        check_stores(self._stores, self._world)
        main, *mixed = self._stores
        self.examples = examples(config, main, tokenizers, epoch, mixed)
        return self.examples

    def _build(self, epoch: int) -> tuple[Store, ...]:
        config, tokenizers, oldest = self._data.config, self._data.tokenizers, self._oldest()
        main = store_of_epoch(config, self._data.corpus, tokenizers, epoch, oldest)
        return main, *mixed_of_epoch(config, tokenizers, epoch, oldest)
