"""Sampling: each token is drawn from the model's distribution, as temperature, top-k and top-p shape it.

A draw is a function of that distribution, of `decoding.seed`, and of three numbers: that of the line in the text, of
the token in the output, and of the sample of the line. There is no state: draws depend neither on the batch nor on the
order of the lines, and are the same in every engine. `reference.draw` defines them; this computes many rows at once.

The distribution is first turned into integers (`integer_weights`). Their sums are exact in any order of addition, so
only a log-probability that differs in its last bits can change a draw. Gumbel-max would be as robust, but needs a
random word and two logarithms for each token of the vocabulary, and mathematics libraries round logarithms differently.
A score is the log-probability under the model, before its distribution was shaped.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig
from zhuyi.decoding.filters import apply_temperature, integer_weights, top_k, top_p
from zhuyi.decoding.rows import IndependentRows

WORD = 2**32 - 1
"""Mask of a word of 32 bits."""


class Sampling(IndependentRows):
    """`n_best` rows a sentence, each an independent sample.

    Args:
        limits: most tokens of each sentence's output.
        decoding: how to sample.
        lines: number of each sentence in the text that is translated, from 0.
    """

    max_alternatives = 4

    def __init__(self, limits: Int[Tensor, " batch"], decoding: DecodingConfig, lines: Int[Tensor, " batch"]) -> None:
        super().__init__(limits, decoding)
        self.lines = lines.repeat_interleave(self.width)
        self.samples = torch.arange(self.width, device=limits.device).repeat(len(limits))

    def choose(self, log_probs: Float[Tensor, "rows vocabulary"]) -> Int[Tensor, " rows"]:
        """Draw the next token of each row."""
        weights = sampling_weights(log_probs, self.decoding)
        self.last_log_probs, self.last_weights = log_probs, weights
        return draw(weights, random_words(self.decoding.seed, self.lines, self.step, self.samples))

    def alternatives(self, row: int) -> list[tuple[int, float]]:
        """List the most probable tokens that could also have been drawn."""
        best = self.last_weights[row].topk(min(1 + self.max_alternatives, self.last_weights.shape[1])).indices
        possible = (self.last_weights[row, best] > 0) & (best != self.last_tokens[row])
        tokens = best[possible][: self.max_alternatives]
        return list(zip(tokens.tolist(), self.last_log_probs[row, tokens].tolist(), strict=True))

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """Drop all sentences but these."""
        super().keep(sentences)
        self.lines = self.lines.view(-1, self.width)[sentences].flatten()
        self.samples = self.samples[: len(self.lines)]


def sampling_weights(
    log_probs: Float[Tensor, "rows vocabulary"], decoding: DecodingConfig
) -> Int[Tensor, "rows vocabulary"]:
    """The weight of each token in a draw, after temperature, top-k and top-p."""
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
    return tokens.clamp(max=weights.shape[1] - 1)  # a row of NaN has no weight at all


def random_words(
    seed: int, lines: Int[Tensor, " rows"], step: int, samples: Int[Tensor, " rows"]
) -> Int[Tensor, " rows"]:
    """One word of 32 bits a row: the first of Philox4x32-10 (`reference.philox`), keyed by the seed.

    The counter is (step, sample, line mod 2^32, ⌊line / 2^32⌋).
    """
    a, b, c, d = torch.full_like(lines, step), samples, lines & WORD, lines >> 32
    key0, key1 = seed, 0
    for _ in range(10):
        # int64 holds all 64 bits of a product of two words, though it takes the highest one for a sign.
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (right >> 32 & WORD) ^ b ^ key0, right & WORD, (left >> 32 & WORD) ^ d ^ key1, left & WORD
        key0, key1 = (key0 + 0x9E3779B9) & WORD, (key1 + 0xBB67AE85) & WORD
    return a
