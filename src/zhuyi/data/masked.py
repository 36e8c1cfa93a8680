"""Masked-token pre-training (Devlin et al. 2019, section 3.1): the model predicts tokens that were hidden.

text          a b c d e f
source        a <mask> c x e f EOS       b and d were chosen: one is masked, the other replaced
target_out    . b . d . . .              only chosen tokens are predicted
"""

import numpy as np
import torch

from zhuyi.data.batches import Batch, pad_sources
from zhuyi.data.sequences import Numbered
from zhuyi.text.tokenizer import PAD, SPECIALS

CHOSEN_SHARE = 0.15
"""Share of the tokens of a sequence that are chosen, which is at least one token."""
MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1
"""Shares of the chosen tokens that are masked, and that are replaced by a random token. The rest are unchanged, so that
a model cannot know which tokens of its input are right."""


class Masked:
    """`Sequences` in which some tokens of each source, chosen at random, are hidden and to be predicted.

    The choice is a function of the seed, the epoch and the number of the sequence.

    Args:
        text: its targets are the sequences; its sources are ignored.
        mask: the id of `<mask>`, the last one of the vocabulary.
        seed: of the run.
        epoch: which pass over the corpus.
    """

    ends = 1, 0
    """Tokens that a batch adds to source and target: EOS to the source."""

    def __init__(self, text: Numbered, mask: int, seed: int, epoch: int) -> None:
        self.source, self.source_lengths = text.target, text.target_lengths
        self.target_lengths = np.maximum(1, np.round(CHOSEN_SHARE * text.target_lengths)).astype(np.int64)
        self.line = text.line
        self._mask, self._seed, self._epoch = mask, seed, epoch

    def target(self, pair: int) -> np.ndarray:
        """The chosen tokens of a sequence."""
        _, right = self._hide(pair)
        return np.asarray(right[right != PAD])

    def collate(self, pairs: np.ndarray) -> Batch:
        """The batch of these sequences; `target_out` is `batch source`, with PAD where no token was chosen."""
        hidden, right = zip(*map(self._hide, pairs.tolist()), strict=True)
        source, source_mask = pad_sources(hidden)
        target_out = np.full(source.shape, PAD, dtype=np.int64)
        for row, tokens in zip(target_out, right, strict=True):
            row[: len(tokens)] = tokens
        return Batch(source, source_mask, source[:, :0], torch.from_numpy(target_out), pairs)

    def _hide(self, pair: int) -> tuple[np.ndarray, np.ndarray]:
        """A sequence with its chosen tokens hidden; and these tokens at their positions, else PAD: both `length`."""
        tokens = np.asarray(self.source(pair), dtype=np.int64)
        rng = np.random.default_rng([self._seed, self._epoch, pair])
        chosen = rng.permutation(len(tokens))[: self.target_lengths[pair]]
        fate = rng.random(len(chosen))
        random = rng.integers(len(SPECIALS), self._mask, size=len(chosen))
        replaced = np.where(fate < MASKED_SHARE + RANDOM_SHARE, random, tokens[chosen])
        hidden, right = tokens.copy(), np.full(len(tokens), PAD, dtype=np.int64)
        hidden[chosen] = np.where(fate < MASKED_SHARE, self._mask, replaced)
        right[chosen] = tokens[chosen]
        return hidden, right
