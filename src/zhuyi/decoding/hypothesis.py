"""What a search finds (`Hypothesis`), what it weighs on the way (`Candidate`), and how both are scored."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Hypothesis:
    """One output of a search.

    `tokens` are without BOS and EOS. `token_logprobs` are the natural log-probabilities of the tokens, and of
    EOS after them if `finished`; `score` is their sum over the length penalty. `finished` is False where the
    length limit came before EOS.
    """

    tokens: list[int]
    score: float
    token_logprobs: list[float]
    finished: bool


@dataclass(frozen=True)
class Candidate:
    """One token that a search weighed after a prefix: a node of its tree.

    `number` is the node's own, `parent` that of its prefix (None: the empty one). `log_prob` is the token's, `total`
    that of the whole path, and `score` the total over the length penalty. `fate` says what became of it: its prefix
    lives on, it ended the hypothesis (EOS), or it was dropped.
    """

    number: int
    parent: int | None
    step: int
    token: int
    log_prob: float
    total: float
    score: float
    fate: Literal["kept", "finished", "pruned"]


def normalised(
    sums: Float[Tensor, "*places"], length: int | Int[Tensor, "*places"], alpha: float
) -> Float[Tensor, "*places"]:
    """Scores: sums of log-probabilities over ((5 + length) / 6)^α, EOS counted (Wu et al. 2016, eq. 14)."""
    return sums / ((5 + length) / 6) ** alpha
