"""Greedy search: the most probable token at every step, until EOS. It is beam search with a beam of 1, only faster."""

from jaxtyping import Float, Int
from torch import Tensor

from zhuyi.decoding.rows import IndependentRows


class GreedySearch(IndependentRows):
    """One row a sentence."""

    def choose(self, log_probs: Float[Tensor, "rows vocabulary"]) -> Int[Tensor, " rows"]:
        """Take the most probable token of each row."""
        return log_probs.max(dim=1).indices
