"""Masked-token pre-training (Devlin et al. 2019, section 3.1): some tokens are hidden, and the model says which.

text          a b c d e f
source        a <mask> c x e f EOS       b and d were chosen: one is masked, the other replaced
target_out    . b . d . . .              only what was chosen is asked for
"""

import numpy as np
import torch

from zhuyi.data.batches import Batch, pad_sources
from zhuyi.data.sequences import Numbered
from zhuyi.text.tokenizer import PAD, SPECIALS

CHOSEN_SHARE = 0.15
"""Share of a sequence's tokens that are asked for; at least one of them."""
MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1
"""Shares of these that are masked, and that are replaced by a random token; the rest stay, so that a model cannot
know which tokens are right."""


class Masked:
    """`Sequences` whose batches ask for tokens of the source that were chosen at random: these are the targets.

    What is chosen is a function of seed, epoch and the number of the sequence.

    Args:
        text: its targets are the sequences; its sources do not matter.
        mask: the token `<mask>`, the last one of the vocabulary.
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
        """The tokens of a sequence that are asked for."""
        _, right = self._hide(pair)
        return np.asarray(right[right != PAD])

    def collate(self, pairs: np.ndarray) -> Batch:
        """The batch of these sequences; `target_out` is `batch source`, and PAD where nothing is asked for."""
        hidden, right = zip(*map(self._hide, pairs.tolist()), strict=True)
        source, source_mask = pad_sources(hidden)
        target_out = np.full(source.shape, PAD, dtype=np.int64)
        for row, tokens in zip(target_out, right, strict=True):
            row[: len(tokens)] = tokens
        return Batch(source, source_mask, source[:, :0], torch.from_numpy(target_out), pairs)

    def _hide(self, pair: int) -> tuple[np.ndarray, np.ndarray]:
        """A sequence with some of its tokens hidden, and these at their places: both `length`."""
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
