"""What a search finds (`Hypothesis`), and what it weighs on the way (`Candidate`). No torch is needed to hold them."""

from dataclasses import dataclass
from typing import Literal


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
