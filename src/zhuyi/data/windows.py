"""Running text as a corpus: windows of equal length over the tokens of all lines, one after the other.

    tokens       a b c d e f g h i j ...      of the whole text, across lines and files
    windows      a | b c d | e f g | h i ...  three tokens long; the first one ends where the epoch's offset is
    target_in    BOS e f                      what the model is given
    target_out   e f g                        what it must answer at each position

Every token is an answer exactly once an epoch. Nothing is padded but the first and the last window, and no EOS is
added: a window ends where it does for no reason of the text's.
"""

import numpy as np
import numpy.typing as npt
import torch

from zhuyi.data.batches import Batch
from zhuyi.data.sequences import Integers
from zhuyi.data.store import Store
from zhuyi.text.tokenizer import BOS, PAD


class Windows:
    """The windows of running text, as `Sequences` whose sources are empty: batches of them are planned like any other.

    Args:
        store: the text, a line a target.
        length: the number of tokens of a window.
        offset: the number of tokens before the second window, from 0 to `length` - 1; 0: the first one is whole.
    """

    ends = 0, 0
    """Tokens that a batch adds to source and target: no EOS."""

    def __init__(self, store: Store, length: int, offset: int = 0) -> None:
        self._store, self._length = store, length
        self._shift = (length - offset) % length
        """Tokens that the first window lacks."""
        windows = -(-(store.text_tokens + self._shift) // length)
        self.source_lengths: npt.NDArray[np.int32] = np.zeros(windows, np.int32)
        self.target_lengths: npt.NDArray[np.int32] = np.full(windows, length, np.int32)
        for window in {0, windows - 1}:
            start, end = self._place(window)
            self.target_lengths[window] = end - start

    @classmethod
    def of_epoch(cls, store: Store, length: int, seed: int, epoch: int) -> "Windows":
        """Those of one pass over the text: the offset is a function of (seed, epoch), so that windows differ."""
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
        """The batch of these windows: sources `batch 0`, and targets without EOS."""
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
        """Where a window begins and ends among the tokens of the text."""
        start = window * self._length - self._shift
        return max(start, 0), min(start + self._length, self._store.text_tokens)
