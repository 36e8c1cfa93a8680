"""Filters: what is done to a step's distribution before a token is chosen from it.

A filter maps log-probabilities, a row for each hypothesis, to log-probabilities. Tokens that may not be chosen become
−inf, and the others stay as they are (except with a temperature, which shapes the draw alone): a score is always the
log-probability under the model. Rows are independent, so the result of a sentence never depends on its batch.

    forbid, force                           these tokens never; this token only
    no_early_end                            no EOS before the least length
    no_repeated_ngram, end_of_repetition    what the row has written so far decides
    apply_temperature, top_k, top_p         which tokens sampling draws, and how often
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig
from zhuyi.text.tokenizer import EOS, UNK

Constraint = Callable[[Tensor, Tensor], Tensor]
"""From log-probabilities (rows × vocabulary) and the tokens written so far (rows × steps) to log-probabilities."""

UNIT = 2**30
"""The weight of the most probable token: 2^20 of them, the largest vocabulary, sum to 2^50."""


def constraints(decoding: DecodingConfig) -> list[Constraint]:
    """List the constraints that a configuration asks for; every strategy obeys them."""
    wanted: list[Constraint] = []
    if not decoding.allow_unknown:
        wanted.append(lambda log_probs, written: forbid(log_probs, (UNK,)))
    if decoding.no_repeat_ngram:
        wanted.append(partial(no_repeated_ngram, size=decoding.no_repeat_ngram))
    if decoding.max_repetition:
        wanted.append(partial(end_of_repetition, length=decoding.max_repetition, min_length=decoding.min_length))
    if decoding.min_length > 1:
        wanted.append(partial(no_early_end, min_length=decoding.min_length))
    return wanted


def forbid(logits: Float[Tensor, "*rows vocabulary"], tokens: Sequence[int]) -> Float[Tensor, "*rows vocabulary"]:
    """Let no row choose these tokens. Overwrites logits."""
    for token in tokens:
        logits[..., token] = -torch.inf
    return logits


def force(log_probs: Float[Tensor, "rows vocabulary"], token: int) -> Float[Tensor, "rows vocabulary"]:
    """Let every row choose this token only; it keeps its log-probability."""
    forced = torch.full_like(log_probs, -torch.inf)
    forced[:, token] = log_probs[:, token]
    return forced


def no_early_end(
    log_probs: Float[Tensor, "rows vocabulary"], written: Int[Tensor, "rows steps"], min_length: int
) -> Float[Tensor, "rows vocabulary"]:
    """Forbid EOS where the output would have fewer than `min_length` tokens with it. Overwrites log_probs."""
    return forbid(log_probs, (EOS,)) if written.shape[1] + 1 < min_length else log_probs


def no_repeated_ngram(
    log_probs: Float[Tensor, "rows vocabulary"], written: Int[Tensor, "rows steps"], size: int
) -> Float[Tensor, "rows vocabulary"]:
    """Forbid what would complete an n-gram that the row has written before (Paulus et al. 2018, section 2.5)."""
    if written.shape[1] < size:
        return log_probs
    ngrams = written.unfold(1, size, 1)
    begun = written[:, written.shape[1] - size + 1 :]
    row, place = (ngrams[:, :, :-1] == begun[:, None]).all(dim=2).nonzero(as_tuple=True)
    filtered = log_probs.clone()
    filtered[row, ngrams[row, place, -1]] = -torch.inf
    return filtered


def end_of_repetition(
    log_probs: Float[Tensor, "rows vocabulary"], written: Int[Tensor, "rows steps"], length: int, min_length: int = 0
) -> Float[Tensor, "rows vocabulary"]:
    """Force EOS once the last `length` tokens of a row repeat those before them, but not before the least length.

    They do if, for some n ≤ max(1, length / 4), each of them equals the token n places before it: the same n tokens
    then stand at least five times in a row.
    """
    if written.shape[1] <= length or written.shape[1] + 1 < min_length:
        return log_probs
    # Windows of `length` tokens: the last one, and those that begin 1, 2, ... places before it.
    windows = written[:, -(length + max(1, length // 4)) :].unfold(1, length, 1)
    repeats = (windows[:, :-1] == windows[:, -1:]).all(dim=2).any(dim=1)
    return torch.where(repeats[:, None], force(log_probs, EOS), log_probs)


def apply_temperature(
    log_probs: Float[Tensor, "rows vocabulary"], temperature: float
) -> Float[Tensor, "rows vocabulary"]:
    """log p / T: the distribution p^(1/T), except for its normalisation. T → 0 is greedy search."""
    return log_probs / temperature


def top_k(log_probs: Float[Tensor, "rows vocabulary"], k: int) -> Float[Tensor, "rows vocabulary"]:
    """Keep the k most probable tokens (Fan et al. 2018, section 5), and any that tie with the last of them."""
    least = log_probs.topk(min(k, log_probs.shape[1])).values[:, -1:]
    return log_probs.masked_fill(log_probs < least, -torch.inf)


def top_p(log_probs: Float[Tensor, "rows vocabulary"], p: float) -> Float[Tensor, "rows vocabulary"]:
    """Keep the nucleus: the fewest most probable tokens whose mass reaches p (Holtzman et al. 2020, section 3.1).

    A token is in it if all that are more probable have less than p of the mass together. Of equally probable tokens,
    either all are in it or none.
    """
    weights = integer_weights(log_probs)
    falling = weights.sort(dim=1, descending=True).values
    before = falling.cumsum(dim=1) - falling
    size = (before.double() < p * falling.sum(dim=1, keepdim=True).double()).sum(dim=1, keepdim=True)
    least = falling.gather(1, (size - 1).clamp(min=0))
    return log_probs.masked_fill(weights < least, -torch.inf)


def integer_weights(log_probs: Float[Tensor, "rows vocabulary"]) -> Int[Tensor, "rows vocabulary"]:
    """⌊2^30 exp(log p - max log p)⌋: probabilities up to a factor, whose sums are exact in any order.

    A row of NaN has weights of 0.
    """
    relative = (log_probs - log_probs.amax(dim=1, keepdim=True)).exp().nan_to_num(nan=0.0)
    return (relative * UNIT).long()
