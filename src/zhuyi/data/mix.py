"""Training pairs from several corpora: all of one, and of each other one a share that each epoch draws (`data.mix`)."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zhuyi.data.sequences import Integers, Numbered

_STREAM = 0x6D6978
"""Keeps the random numbers of the draw apart from those of the order of batches, which have the same seed."""


class Mix:
    """The pairs of an epoch: those of `main`, and after them weight · len(main) of each other corpus.

    What an epoch draws follows from (seed, epoch) alone, so a resumed run and every process have the same pairs. No
    pair is drawn again before all of its corpus have been: epochs go on in one random order, which is drawn anew each
    time it ends.

    Args:
        main: the corpus whose pairs make an epoch.
        others: the corpora that are mixed in.
        weights: of each of `others`: its pairs in an epoch, for each pair of `main`.
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
        """As `Numbered.line`: in the corpus that the pair is of."""
        corpus, number = self._place(pair)
        return corpus.line(number)

    def _place(self, pair: int) -> tuple[Numbered, int]:
        which = bisect_right(self._starts, pair) - 1
        drawn, place = self._drawn[which], pair - self._starts[which]
        return self._corpora[which], int(place if drawn is None else drawn[place])


def share_of(pairs: int, weight: float) -> int:
    """How many pairs of a corpus of this weight go with so many of the main one."""
    return max(1, round(weight * pairs))


def _drawn(pairs: int, count: int, seed: tuple[int, ...], epoch: int) -> npt.NDArray[np.int64]:
    """The numbers of the pairs that an epoch has, of a corpus of `pairs`: `count` of them, in order."""
    first, end = count * epoch, count * (epoch + 1)
    found = []
    for order in range(first // pairs, -(-end // pairs)):
        permuted = np.random.default_rng([*seed, order]).permutation(pairs)
        found.append(permuted[max(first - order * pairs, 0) : end - order * pairs])
    return np.sort(np.concatenate(found))  # read from one end of the file to the other
