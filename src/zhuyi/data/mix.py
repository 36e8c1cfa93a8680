"""Training pairs from several corpora (`data.mix`): all pairs of one, and some of the others, drawn in each epoch."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zhuyi.data.sequences import Integers, Numbered

_STREAM = 0x6D6978
"""Separates the random numbers of the draw from those of the order of batches, which have the same seed."""


class Mix:
    """The pairs of an epoch: those of `main`, then weight · len(main) pairs of each other corpus.

    The pairs of an epoch are a function of (seed, epoch), so they are the same in a resumed run and in every process.
    All pairs of a corpus are drawn before one is drawn again: successive epochs draw from one random permutation, and
    from a new one when it is used up.

    Args:
        main: the corpus of which every epoch has all pairs.
        others: the corpora that are mixed in.
        weights: for each of `others`, its pairs in an epoch per pair of `main`.
        seed: of the run.
        epoch: from 0.
    """

    def __init__(
        self, main: Numbered, others: Sequence[Numbered], weights: Sequence[float], seed: int, epoch: int
    ) -> None:
        size = len(main.source_lengths)
        drawn = [
            _drawn(len(other.source_lengths), share_of(size, weight), (seed, _STREAM, number), epoch)
            for number, (other, weight) in enumerate(zip(others, weights, strict=True))
        ]
        self._corpora, self._drawn = (main, *others), (None, *drawn)
        self._starts = np.cumsum([0, size, *map(len, drawn)]).tolist()
        self.source_lengths: Integers = np.concatenate(
            [main.source_lengths, *(each.source_lengths[some] for each, some in zip(others, drawn, strict=True))]
        )
        self.target_lengths: Integers = np.concatenate(
            [main.target_lengths, *(each.target_lengths[some] for each, some in zip(others, drawn, strict=True))]
        )

    def source(self, pair: int) -> Sequence[int] | Integers:
        """As `Sequences.source`."""
        corpus, number = self._place(pair)
        return corpus.source(number)

    def target(self, pair: int) -> Sequence[int] | Integers:
        """As `Sequences.target`."""
        corpus, number = self._place(pair)
        return corpus.target(number)

    def line(self, pair: int) -> int:
        """As `Numbered.line`, in the pair's own corpus."""
        corpus, number = self._place(pair)
        return corpus.line(number)

    def _place(self, pair: int) -> tuple[Numbered, int]:
        which = bisect_right(self._starts, pair) - 1
        drawn, place = self._drawn[which], pair - self._starts[which]
        return self._corpora[which], int(place if drawn is None else drawn[place])


def share_of(pairs: int, weight: float) -> int:
    """The number of pairs that an epoch draws of a corpus with this weight, if the main corpus has `pairs`."""
    return max(1, round(weight * pairs))


def _drawn(pairs: int, count: int, seed: tuple[int, ...], epoch: int) -> npt.NDArray[np.int64]:
    """The numbers of the `count` pairs that an epoch draws of a corpus of `pairs`, in ascending order."""
    first, end = count * epoch, count * (epoch + 1)
    found = []
    for order in range(first // pairs, -(-end // pairs)):
        permuted = np.random.default_rng([*seed, order]).permutation(pairs)
        found.append(permuted[max(first - order * pairs, 0) : end - order * pairs])
    return np.sort(np.concatenate(found))  # so that the file is read from its beginning to its end
