"""Batches: sequences of similar length, padded, within a budget of tokens; their order is a function of (seed, epoch).

The one place where BOS and EOS are added, the latter where a source has no suffix with its own (`text.template`):

    source       a b c EOS
    target_in    BOS x y z          the input of the decoder (teacher forcing)
    target_out   x y z EOS          the right output at each position

Each epoch divides a large corpus at random into pools of about 250,000 pairs, and each pool is sorted by length and cut
into batches. So neither time nor memory grows with the corpus, except for a histogram of its lengths.
"""

import queue
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar, cast, overload

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from zhuyi.config import Part
from zhuyi.data.sequences import Collated, Lengths, Sequences, ends_of
from zhuyi.model.broken import targets_without
from zhuyi.text.tokenizer import BOS, EOS, PAD

POOL_PAIRS = 250_000
"""About how many pairs are sorted by length at once: enough for as little padding as if all pairs were sorted."""
BLOCK_PAIRS = 10_000
"""Adjacent pairs of the corpus that go into the same pool, so that a pool is read from a few places of the file."""
MAX_TABLE_ENTRIES = 1 << 22
"""Most different (source, target) lengths that are counted in a table, instead of being sorted."""

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Padded pairs. Masks are True = attend."""

    source: Int[Tensor, "batch source"]
    """Tokens and EOS."""
    source_mask: Bool[Tensor, "batch source"]
    """Where `source` is not padding."""
    target_in: Int[Tensor, "batch target"]
    """BOS and tokens: the input of the decoder."""
    target_out: Int[Tensor, "batch output"]
    """Tokens and EOS: the right output at each position of `target_in`. Or labels; then `target_in` is `batch 0`."""
    pairs: np.ndarray
    """Numbers of the pairs in the corpus: `batch`."""

    @property
    def source_tokens(self) -> int:
        """Source tokens, EOS included, padding not."""
        return int(self.source_mask.sum())

    @property
    def target_tokens(self) -> int:
        """Target tokens to be predicted, EOS included, padding not."""
        return int((self.target_out != PAD).sum())

    @property
    def tokens(self) -> int:
        """Source and target tokens, padding not counted."""
        return self.source_tokens + self.target_tokens

    @property
    def positions(self) -> int:
        """Source and target positions, padding counted."""
        return self.source.numel() + self.target_out.numel()

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """The same pairs, with `function` applied to each of the four tensors."""
        source, source_mask = function(self.source), function(self.source_mask)
        return Batch(source, source_mask, function(self.target_in), function(self.target_out), self.pairs)

    def without(self, parts: Iterable[Part]) -> "Batch":
        """The same pairs, for a model without some of its parts (`model.broken`)."""
        target_in, target_out = targets_without(parts, self.target_in, self.target_out, PAD)
        return replace(self, target_in=target_in, target_out=target_out)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The same batch in pinned memory, from which it is copied to a GPU asynchronously."""
        return self.map(Tensor.pin_memory)


def pad_sources(sequences: Sequence[Sequence[int] | np.ndarray]) -> tuple[Tensor, Tensor]:
    """Source tokens with EOS, padded at the end: ids and mask (True = attend), both `batch source`."""
    delimited = _delimited(sequences)[:, 1:]
    ends = delimited == EOS
    delimited[ends & (ends.cumsum(axis=1) > 1)] = PAD  # a suffix of the source has its own
    source = torch.from_numpy(delimited[:, (delimited != PAD).any(axis=0)])
    return source, source != PAD


def collate(corpus: Sequences, pairs: np.ndarray) -> Batch:
    """The batch of these pairs: by the corpus itself if it is `Collated`, otherwise of source → target pairs."""
    if isinstance(corpus, Collated):
        return cast(Batch, corpus.collate(pairs))
    source, source_mask = pad_sources([corpus.source(pair) for pair in pairs])
    target = _delimited([corpus.target(pair) for pair in pairs])
    target_in, target_out = target[:, :-1].copy(), target[:, 1:].copy()
    target_in[target_in == EOS] = PAD
    return Batch(source, source_mask, torch.from_numpy(target_in), torch.from_numpy(target_out), pairs)


class Plan(Sequence[np.ndarray]):
    """The batches of an epoch, each an array of pair numbers. They are computed on access, a pool at a time."""

    padded_tokens: int
    """Positions of all batches, source + target: tokens, EOS and padding."""

    def __init__(self, pools: "Sequence[_Pool]") -> None:
        self._pools = pools
        self._starts: list[int] = np.cumsum([0, *(len(pool.ends) for pool in pools)]).tolist()
        self._made: tuple[int, list[np.ndarray]] = (-1, [])
        self.padded_tokens = sum(pool.padded_tokens for pool in pools)

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        pool = bisect_right(self._starts, index) - 1
        if self._made[0] != pool:
            self._made = (pool, self._pools[pool].batches())
        return self._made[1][index - self._starts[pool]]


def plan(corpus: Lengths, tokens_per_batch: int, seed: int, epoch: int) -> Plan:
    """All pairs of the corpus in batches of similar length, in random order.

    The plan is a function of the arguments, so an epoch and a number of batches determine a position in the data.
    Which pairs of equal lengths share a batch differs from epoch to epoch.

    Args:
        corpus: the lengths of its pairs.
        tokens_per_batch: most source + target positions of a batch: tokens, EOS and padding. A single pair longer than
            that is a batch of its own.
        seed: of the run.
        epoch: which pass over the corpus.
    """
    pairs = len(corpus.source_lengths)
    blocks = np.random.default_rng([seed, epoch]).permutation(-(-pairs // BLOCK_PAIRS))
    dealt = np.array_split(blocks, max(1, round(pairs / POOL_PAIRS)))
    return Plan([_Pool(corpus, some, tokens_per_batch, (seed, epoch, i)) for i, some in enumerate(dealt)])


def plan_in_order(corpus: Lengths, tokens_per_batch: int) -> list[np.ndarray]:
    """All pairs in batches of similar length, longest first and without randomness: for validation and translation.

    The first batch needs the most memory, and the last ones are short.
    """
    ends, _ = _cut(corpus.source_lengths, corpus.target_lengths, ends_of(corpus), tokens_per_batch)
    return _split(_by_length(corpus.source_lengths, corpus.target_lengths), ends)[::-1]


def padding_share(corpus: Lengths, plan: Sequence[np.ndarray]) -> float:
    """Share of a plan's tokens that are padding, in [0, 1)."""
    padded = plan.padded_tokens if isinstance(plan, Plan) else sum(_cost(corpus, pairs) for pairs in plan)
    used = sum(token_counts(corpus, slice(None)))
    return 1 - used / padded if padded else 0.0


def token_counts(corpus: Lengths, pairs: np.ndarray | slice) -> tuple[int, int]:
    """Source and target tokens of these pairs in a batch: EOS counted where there is one, padding not."""
    source, target = corpus.source_lengths[pairs], corpus.target_lengths[pairs]
    of_source, of_target = (added * len(source) for added in ends_of(corpus))
    return int(source.sum(dtype=np.int64)) + of_source, int(target.sum(dtype=np.int64)) + of_target


def ahead(items: Iterable[T], count: int = 2) -> Iterator[T]:
    """The same items in the same order, computed by a thread that is up to `count` of them ahead.

    An exception in that thread is raised here, in place of the item.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(count)
    stopped = threading.Event()

    def hand_over(item: T | None, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put((item, error), timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                hand_over(item)
                if stopped.is_set():
                    return
            hand_over(None, StopIteration())
        except BaseException as error:
            hand_over(None, error)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield cast(T, item)
    finally:
        stopped.set()
        thread.join()


class _Pool:
    """Some blocks of the corpus. Their lengths determine the sizes of the batches at once; the pairs follow later."""

    def __init__(self, corpus: Lengths, blocks: np.ndarray, tokens_per_batch: int, seed: tuple[int, ...]) -> None:
        self._corpus, self._blocks, self._seed = corpus, blocks, seed
        self.ends, self.padded_tokens = _cut(*self._lengths(), ends_of(corpus), tokens_per_batch)

    def batches(self) -> list[np.ndarray]:
        """The batches in random order; pairs of equal lengths are distributed among them at random."""
        random = np.random.default_rng(self._seed)
        source, target = self._lengths()
        pairs = np.concatenate(
            [np.arange(0), *(block * BLOCK_PAIRS + np.arange(BLOCK_PAIRS) for block in self._blocks)]
        )
        pairs = pairs[pairs < len(self._corpus.source_lengths)]  # the last block may be shorter
        shuffled = random.permutation(len(pairs))
        batches = _split(pairs[shuffled[_by_length(source[shuffled], target[shuffled])]], self.ends)
        return [batches[i] for i in random.permutation(len(batches))]

    def _lengths(self) -> tuple[np.ndarray, np.ndarray]:
        source, target = (
            np.concatenate(
                [column[:0], *(column[block * BLOCK_PAIRS : (block + 1) * BLOCK_PAIRS] for block in self._blocks)]
            )
            for column in (self._corpus.source_lengths, self._corpus.target_lengths)
        )
        return source, target


def _by_length(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """An order by target length, then source length, alternately ascending and descending, so that neighbours fit."""
    return np.lexsort((np.where(target % 2, source, source.max(initial=0) - source), target))


def _cut(
    source: np.ndarray, target: np.ndarray, added: tuple[int, int], tokens_per_batch: int
) -> tuple[list[int], int]:
    """Where the batches of pairs of these lengths end, in the order of `_by_length`; and the positions of all batches.

    Pairs of equal lengths are handled in one step, however many there are. `added` is the result of `ends_of`.
    """
    scale = int(source.max(initial=0)) + 1
    both = target.astype(np.int64) * scale + source
    if both.max(initial=0) < MAX_TABLE_ENTRIES:
        counts = np.bincount(both)
        found = np.flatnonzero(counts)
        counts = counts[found]
    else:
        found, counts = np.unique(both, return_counts=True)
    target, source = np.divmod(found, scale)
    order = _by_length(source, target)
    lengths = (source + added[0])[order].tolist(), (target + added[1])[order].tolist()
    runs = zip(*lengths, counts[order].tolist(), strict=True)
    ends: list[int] = []
    done = first = padded = longest_source = longest_target = 0
    for source_length, target_length, left in runs:
        while left:
            width = max(longest_source, source_length) + max(longest_target, target_length)
            budget = tokens_per_batch // width - (done - first)
            if budget > 0 or done == first:
                taken = min(left, max(budget, 1))
                done, left = done + taken, left - taken
                longest_source, longest_target = max(longest_source, source_length), max(longest_target, target_length)
            else:
                ends.append(done)
                padded += (done - first) * (longest_source + longest_target)
                first, longest_source, longest_target = done, 0, 0
    if done > first:
        ends.append(done)
        padded += (done - first) * (longest_source + longest_target)
    return ends, padded


def _split(pairs: np.ndarray, ends: list[int]) -> list[np.ndarray]:
    return [pairs[first:end] for first, end in pairwise((0, *ends))]


def _cost(corpus: Lengths, pairs: np.ndarray) -> int:
    longest = int(corpus.source_lengths[pairs].max()) + int(corpus.target_lengths[pairs].max()) + sum(ends_of(corpus))
    return len(pairs) * longest


def _delimited(sequences: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    """BOS, the tokens, EOS, and padding, of each: int64 `batch longest+2`."""
    delimited = np.full((len(sequences), max(map(len, sequences), default=0) + 2), PAD, dtype=np.int64)
    delimited[:, 0] = BOS
    for row, tokens in zip(delimited, sequences, strict=True):
        row[1 : len(tokens) + 1] = tokens
        row[len(tokens) + 1] = EOS
    return delimited
