"""Running text as a corpus: consecutive windows of equal length over the tokens of all lines.

    tokens       a b c d e f g h i j ...      of the whole text, across lines and files
    windows      a | b c d | e f g | h i ...  three tokens long; the first one ends at the offset of the epoch
    target_in    BOS e f                      the input of the model
    target_out   e f g                        the right output at each position

Every token is predicted exactly once in an epoch. Only the first and the last window may be shorter than the others,
and padded. No EOS is added, because the end of a window is not an end of the text.
"""

import numpy as np
import numpy.typing as npt
import torch

from zhuyi.data.batches import Batch
from zhuyi.data.sequences import Integers
from zhuyi.data.store import Store
from zhuyi.text.tokenizer import BOS, PAD


class Windows:
    """The windows of running text, as `Sequences` whose sources are empty.

    Args:
        store: the text, a line a target.
        length: the number of tokens of a window.
        offset: the length of the first window, from 1 to `length` - 1; 0: it is as long as the others.
    """

    ends = 0, 0
    """Tokens that a batch adds to source and target: no EOS."""

    def __init__(self, store: Store, length: int, offset: int = 0) -> None:
        self._store, self._length = store, length
        self._shift = (length - offset) % length
        """The number of tokens by which the first window is shorter."""
        windows = -(-(store.text_tokens + self._shift) // length)
        self.source_lengths: npt.NDArray[np.int32] = np.zeros(windows, np.int32)
        self.target_lengths: npt.NDArray[np.int32] = np.full(windows, length, np.int32)
        for window in {0, windows - 1}:
            start, end = self._place(window)
            self.target_lengths[window] = end - start

    @classmethod
    def of_epoch(cls, store: Store, length: int, seed: int, epoch: int) -> "Windows":
        """The windows of an epoch, whose offset is a function of (seed, epoch)."""
        return cls(store, length, int(np.random.default_rng([seed, epoch]).integers(min(length, store.text_tokens))))

    def source(self, _window: int) -> Integers:
        """No tokens."""
        return np.empty(0, np.int32)

    def target(self, window: int) -> Integers:
        """The tokens of a window."""
        return self._store.text(*self._place(window))

    def line(self, window: int) -> int:
        """The number of the line, from 1, in which a window begins."""
        return self._store.line_of_text(self._place(window)[0])

    def collate(self, pairs: np.ndarray) -> Batch:
        """The batch of these windows: sources are `batch 0`, and targets have no EOS."""
        lengths = self.target_lengths[pairs]
        target = np.full((len(pairs), 1 + int(lengths.max(initial=0))), PAD, np.int64)
        target[:, 0] = BOS
        for row, window, length in zip(target, pairs.tolist(), lengths.tolist(), strict=True):
            row[1 : 1 + length] = self.target(window)
        target_in = np.where(target[:, 1:] == PAD, PAD, target[:, :-1])
        source = torch.empty(len(pairs), 0, dtype=torch.int64)
        both = torch.from_numpy(target_in), torch.from_numpy(target[:, 1:].copy())
        return Batch(source, source.bool(), *both, pairs)

    def _place(self, window: int) -> tuple[int, int]:
        """The positions, in the tokens of the text, of the beginning and the end of a window."""
        start = window * self._length - self._shift
        return max(start, 0), min(start + self._length, self._store.text_tokens)
