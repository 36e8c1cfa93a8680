"""Batches: sequences of like length, padded, within a budget of tokens; their order is a function of (seed, epoch).

The one place where BOS and EOS are added:

    source       a b c EOS
    target_in    BOS x y z          what the decoder is given (teacher forcing)
    target_out   x y z EOS          what it must answer at each position
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from zhuyi.text.tokenizer import BOS, EOS, PAD

Plan = list[np.ndarray]
"""Batches to be: each an array of pair numbers."""


@runtime_checkable
class Lengths(Protocol):
    """What a plan needs to know of a corpus: tokens of each pair, without BOS and EOS."""

    source_lengths: np.ndarray
    target_lengths: np.ndarray


@runtime_checkable
class Sequences(Lengths, Protocol):
    """A tokenised corpus: `data.store.Store`, or lists in memory."""

    def source(self, pair: int) -> Sequence[int] | np.ndarray:
        """Tokens of the source of a pair."""

    def target(self, pair: int) -> Sequence[int] | np.ndarray:
        """Tokens of the target of a pair."""


@dataclass(frozen=True)
class Batch:
    """Padded pairs. Masks are True = attend; `pairs` are their numbers in the corpus."""

    source: Int[Tensor, "batch source"]
    source_mask: Bool[Tensor, "batch source"]
    target_in: Int[Tensor, "batch target"]
    target_out: Int[Tensor, "batch target"]
    pairs: np.ndarray

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

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        source, source_mask, target_in, target_out = (
            tensor.to(device, non_blocking=True)
            for tensor in (self.source, self.source_mask, self.target_in, self.target_out)
        )
        return Batch(source, source_mask, target_in, target_out, self.pairs)


def pad_sources(sequences: Sequence[Sequence[int] | np.ndarray]) -> tuple[Tensor, Tensor]:
    """Source tokens with EOS, padded at the end: ids and mask, both `batch source`."""
    source = _pad([[*tokens, EOS] for tokens in sequences])
    return source, source != PAD


def collate(corpus: Sequences, pairs: np.ndarray) -> Batch:
    """The batch of these pairs."""
    source, source_mask = pad_sources([corpus.source(pair) for pair in pairs])
    targets = [corpus.target(pair) for pair in pairs]
    return Batch(
        source,
        source_mask,
        _pad([[BOS, *tokens] for tokens in targets]),
        _pad([[*tokens, EOS] for tokens in targets]),
        pairs,
    )


def plan(corpus: Lengths, tokens_per_batch: int, seed: int, epoch: int) -> Plan:
    """All pairs of the corpus in batches of like length, in random order.

    The same (corpus, tokens_per_batch, seed, epoch) gives the same plan, always; so a data position
    is an epoch and a number of batches. Pairs of equal lengths meet in other batches each epoch.

    Args:
        tokens_per_batch: most source + target tokens of a batch, BOS, EOS and padding counted. A single pair
            longer than that is a batch of its own.
        seed: of the run.
        epoch: which pass over the corpus.
    """
    random = np.random.default_rng([seed, epoch])
    shuffled = random.permutation(len(corpus.source_lengths))
    batches = _cut(corpus, shuffled[_by_length(corpus, shuffled)], tokens_per_batch)
    return [batches[i] for i in random.permutation(len(batches))]


def plan_in_order(corpus: Lengths, tokens_per_batch: int) -> Plan:
    """All pairs by length and without any chance, for validation and for translation: longest first.

    The first batch needs the most memory, and what is left at the end is short.
    """
    pairs = np.arange(len(corpus.source_lengths))
    return _cut(corpus, pairs[_by_length(corpus, pairs)], tokens_per_batch)[::-1]


def padding_share(corpus: Lengths, plan: Plan) -> float:
    """Share of a plan's tokens that are padding, in [0, 1)."""
    padded = sum(_cost(corpus, pairs) for pairs in plan)
    used = int(corpus.source_lengths.sum() + corpus.target_lengths.sum()) + 2 * len(corpus.source_lengths)
    return 1 - used / padded if padded else 0.0


def _by_length(corpus: Lengths, pairs: np.ndarray) -> np.ndarray:
    """An order by target length and, within one, by source length: up and down in turn, so that neighbours fit."""
    source, target = corpus.source_lengths[pairs], corpus.target_lengths[pairs]
    return np.lexsort((np.where(target % 2, source, -source), target))


def _cut(corpus: Lengths, pairs: np.ndarray, tokens_per_batch: int) -> Plan:
    batches: Plan = []
    first, longest_source, longest_target = 0, 0, 0
    lengths = zip(corpus.source_lengths[pairs].tolist(), corpus.target_lengths[pairs].tolist(), strict=True)
    for i, (source, target) in enumerate(lengths):
        longest_source, longest_target = max(longest_source, source + 1), max(longest_target, target + 1)
        if i > first and (i + 1 - first) * (longest_source + longest_target) > tokens_per_batch:
            batches.append(pairs[first:i])
            first, longest_source, longest_target = i, source + 1, target + 1
    if first < len(pairs):
        batches.append(pairs[first:])
    return batches


def _cost(corpus: Lengths, pairs: np.ndarray) -> int:
    longest = int(corpus.source_lengths[pairs].max()) + int(corpus.target_lengths[pairs].max()) + 2
    return len(pairs) * longest


def _pad(sequences: Sequence[Sequence[int | np.int32]]) -> Tensor:
    padded = np.full((len(sequences), max(map(len, sequences), default=0)), PAD, dtype=np.int64)
    for row, tokens in zip(padded, sequences, strict=True):
        row[: len(tokens)] = tokens
    return torch.from_numpy(padded)
