"""How hypotheses and candidates are scored: the sum of their log-probabilities over a length penalty."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig


def normalised(
    sums: Float[Tensor, "*places"], length: int | Int[Tensor, "*places"], decoding: DecodingConfig
) -> Float[Tensor, "*places"]:
    """Scores: sums of log-probabilities over ((5 + length) / 6)^α (Wu et al. 2016, eq. 14) or length^α, EOS counted."""
    base = (5 + length) / 6 if decoding.penalty == "wu" else length
    return sums / base**decoding.length_penalty


def counted(
    log_probs: Float[Tensor, "rows tokens"], forced: Bool[Tensor, " rows"], decoding: DecodingConfig
) -> Float[Tensor, "rows tokens"]:
    """What tokens add to the sums: their log-probabilities; with Hugging Face's rules, those of forced tokens are 0."""
    if not decoding.stop.startswith("huggingface"):
        return log_probs
    return log_probs.masked_fill(forced[:, None] & (log_probs > float("-inf")), 0.0)
