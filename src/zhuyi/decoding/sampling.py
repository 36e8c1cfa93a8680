"""Sampling: each token is drawn from the model's distribution, as temperature, top-k and top-p shape it.

What is drawn is a function of that distribution, of `decoding.seed`, and of three numbers: of the line in the text, of
the token in the output and of the sample of the line. There is no state, so neither the batch nor the order of the
lines matters, and another engine draws the same. `reference.draw` is the contract; this is the same for many rows.

The distribution becomes integers first (`integer_weights`): their sums are exact, so the order in which a machine adds
them is of no consequence, and only a log-probability that differs in its last bits can change a draw. Gumbel-max would
be as robust, but needs a random word and two logarithms, which no two mathematics libraries round alike, for each token
of the vocabulary. A score is the log-probability under the model, before its distribution was shaped.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig
from zhuyi.decoding.filters import apply_temperature, integer_weights, top_k, top_p
from zhuyi.decoding.rows import IndependentRows

WORD = 2**32 - 1
"""The bits of a word."""


class Sampling(IndependentRows):
    """`n_best` rows a sentence, each a sample of its own.

    Args:
        limits: most tokens of each sentence's output.
        decoding: how to sample.
        lines: number of each sentence in the text that is translated, from 0.
    """

    most_others = 4

    def __init__(self, limits: Int[Tensor, " batch"], decoding: DecodingConfig, lines: Int[Tensor, " batch"]) -> None:
        super().__init__(limits, decoding)
        self.lines = lines.repeat_interleave(self.width)
        self.samples = torch.arange(self.width, device=limits.device).repeat(len(limits))

    def choose(self, log_probs: Float[Tensor, "rows vocabulary"]) -> Int[Tensor, " rows"]:
        """Draw the next token of each row."""
        weights = sampling_weights(log_probs, self.decoding)
        self.last_log_probs, self.last_weights = log_probs, weights
        return draw(weights, random_words(self.decoding.seed, self.lines, self.step, self.samples))

    def others(self, row: int) -> list[tuple[int, float]]:
        """List the most probable tokens that might have been drawn instead."""
        best = self.last_weights[row].topk(min(1 + self.most_others, self.last_weights.shape[1])).indices
        possible = (self.last_weights[row, best] > 0) & (best != self.last_tokens[row])
        tokens = best[possible][: self.most_others]
        return list(zip(tokens.tolist(), self.last_log_probs[row, tokens].tolist(), strict=True))

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """Forget all sentences but these."""
        super().keep(sentences)
        self.lines = self.lines.view(-1, self.width)[sentences].flatten()
        self.samples = self.samples[: len(self.lines)]


def sampling_weights(
    log_probs: Float[Tensor, "rows vocabulary"], decoding: DecodingConfig
) -> Int[Tensor, "rows vocabulary"]:
    """What each token counts when one is drawn, as temperature, top-k and top-p say."""
    shaped = apply_temperature(log_probs, decoding.temperature)
    if decoding.top_k:
        shaped = top_k(shaped, decoding.top_k)
    if decoding.top_p < 1:
        shaped = top_p(shaped, decoding.top_p)
    return integer_weights(shaped)


def draw(weights: Int[Tensor, "rows vocabulary"], words: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """The first token of each row whose weight and those before it sum to more than ⌊word Σw / 2^32⌋."""
    sums = weights.cumsum(dim=1)
    total, threshold = sums[:, -1], torch.zeros_like(words)
    for byte in range(0, 32, 8):  # the product of a word and a sum would not fit into 64 bits
        threshold = (threshold + (words >> byte & 255) * total) >> 8
    tokens = torch.searchsorted(sums, threshold[:, None], right=True)[:, 0]
    return tokens.clamp(max=weights.shape[1] - 1)  # a row that is not a number has no weight at all


def random_words(
    seed: int, lines: Int[Tensor, " rows"], step: int, samples: Int[Tensor, " rows"]
) -> Int[Tensor, " rows"]:
    """One word of 32 bits a row: the first of Philox4x32-10 (`reference.philox`), keyed by the seed.

    The counter is (step, sample, line mod 2^32, ⌊line / 2^32⌋).
    """
    a, b, c, d = torch.full_like(lines, step), samples, lines & WORD, lines >> 32
    key0, key1 = seed, 0
    for _ in range(10):
        # int64 holds all 64 bits of a product of two words, though it takes the first one for a sign.
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (right >> 32 & WORD) ^ b ^ key0, right & WORD, (left >> 32 & WORD) ^ d ^ key1, left & WORD
        key0, key1 = (key0 + 0x9E3779B9) & WORD, (key1 + 0xBB67AE85) & WORD
    return a
