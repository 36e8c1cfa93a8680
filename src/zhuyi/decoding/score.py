"""How hypotheses and candidates are scored: the sum of their log-probabilities over a length penalty."""

from jaxtyping import Float, Int
from torch import Tensor


def normalised(
    sums: Float[Tensor, "*places"], length: int | Int[Tensor, "*places"], alpha: float
) -> Float[Tensor, "*places"]:
    """Scores: sums of log-probabilities over ((5 + length) / 6)^α, EOS counted (Wu et al. 2016, eq. 14)."""
    return sums / ((5 + length) / 6) ** alpha
