"""What a search is asked for (`SearchOptions`), what it weighs (`Candidate`) and what it finds (`Hypothesis`)."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig


@dataclass(frozen=True)
class SearchOptions:
    """How to search: the `decoding` section of the configuration, and the model's own length limit."""

    beam: int
    length_penalty: float
    n_best: int
    max_ratio: float
    max_length: int

    def __post_init__(self) -> None:
        assert 1 <= self.n_best <= self.beam, "the configuration lets no other n_best through"
        assert self.length_penalty >= 0, "the configuration lets no negative length penalty through"
        assert self.max_length >= 1, "the configuration lets no shorter max_length through"

    @classmethod
    def from_config(cls, decoding: DecodingConfig, max_length: int) -> "SearchOptions":
        """Options of a configuration; `max_length` is `model.max_length`."""
        return cls(max_length=max_length, **decoding.model_dump())

    def limits(self, source_mask: Bool[Tensor, "batch source"]) -> Int[Tensor, " batch"]:
        """Most tokens that each sentence's output may have, EOS included: never fewer than training allowed."""
        source_tokens = source_mask.sum(dim=1).double()
        return ((self.max_ratio * source_tokens).long() + 20).clamp(max=self.max_length)


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
