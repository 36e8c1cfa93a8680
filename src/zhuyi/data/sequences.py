"""The protocols of a tokenised corpus, which is a `data.store.Store`, an `InMemory`, or a class of the user's."""

from collections.abc import Sequence
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from zhuyi.errors import DataError

Integers = npt.NDArray[np.integer[Any]]


@runtime_checkable
class Lengths(Protocol):
    """The lengths of the pairs, which are numbered from 0."""

    @property
    def source_lengths(self) -> Integers:
        """Tokens of each source, without BOS and EOS: integers `pairs`, of any width, signed or not."""

    @property
    def target_lengths(self) -> Integers:
        """The same of the targets."""


@runtime_checkable
class Sequences(Lengths, Protocol):
    """A tokenised corpus, read in any order and once in each epoch.

    Batches are planned from the lengths, so these must not change, and `source` and `target` must agree with them. Both
    are called from a thread that prepares batches ahead of the training loop (`batches.ahead`).
    """

    def source(self, pair: int) -> Sequence[int] | Integers:
        """Tokens of the source of a pair: as many ids as `source_lengths` says, without EOS."""

    def target(self, pair: int) -> Sequence[int] | Integers:
        """Tokens of the target of a pair: as many ids as `target_lengths` says, without BOS and EOS."""


class Numbered(Sequences, Protocol):
    """A corpus that knows the line numbers of its pairs."""

    def line(self, pair: int) -> int:
        """The number of the line that a pair comes from, from 1."""


@runtime_checkable
class Collated(Sequences, Protocol):
    """A corpus with its own batches, which do not consist of source → target pairs."""

    def collate(self, pairs: npt.NDArray[np.integer[Any]]) -> Any:
        """The `data.batches.Batch` of these pairs."""


def ends_of(corpus: Lengths) -> tuple[int, int]:
    """Tokens that a batch adds to the source and the target of a pair: one EOS each, unless the corpus has `ends`."""
    return cast(tuple[int, int], getattr(corpus, "ends", (1, 1)))


class InMemory:
    """A tokenised corpus in lists.

    Args:
        sources: token ids of each source, without EOS.
        targets: token ids of each target, without BOS and EOS.

    Raises:
        DataError: if the numbers of sources and targets differ.
    """

    def __init__(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> None:
        if len(sources) != len(targets):
            raise DataError(f"{len(sources)} sources and {len(targets)} targets: source and target come in pairs")
        self._sources, self._targets = sources, targets
        self.source_lengths = np.array([len(tokens) for tokens in sources], dtype=np.int64)
        self.target_lengths = np.array([len(tokens) for tokens in targets], dtype=np.int64)

    def source(self, pair: int) -> Sequence[int]:
        """As `Sequences.source`."""
        return self._sources[pair]

    def target(self, pair: int) -> Sequence[int]:
        """As `Sequences.target`."""
        return self._targets[pair]

    def line(self, pair: int) -> int:
        """As `Numbered.line`."""
        return pair + 1
