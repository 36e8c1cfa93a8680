"""What a search finds (`Hypothesis`), and what it considers on the way (`Candidate`); imports no torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Hypothesis:
    """One output of a search.

    `tokens` exclude BOS and EOS. `token_logprobs` are the natural log-probabilities of the tokens, and of EOS after
    them if `finished`; `score` is their sum divided by the length penalty. `finished` is False if the length limit was
    reached before EOS.
    """

    tokens: list[int]
    score: float
    token_logprobs: list[float]
    finished: bool


@dataclass(frozen=True)
class Candidate:
    """One token that a search considered after a prefix: a node of its tree.

    `number` is that of the node, `parent` that of its prefix (None: the empty one). `log_prob` is the token's, `total`
    that of the whole path, and `score` the total divided by the length penalty. `fate` is "kept" if the prefix lives
    on, "finished" if the token is an EOS that ended a hypothesis, and "pruned" if it was dropped.
    """

    number: int
    parent: int | None
    step: int
    token: int
    log_prob: float
    total: float
    score: float
    fate: Literal["kept", "finished", "pruned"]
