"""Greedy search: the most probable token at every step, until EOS."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig
from zhuyi.decoding.hypothesis import Candidate, Hypothesis
from zhuyi.decoding.score import normalised
from zhuyi.text.tokenizer import BOS, EOS


class GreedySearch:
    """One row a sentence: what it wrote so far, and with which log-probability each token."""

    def __init__(self, limits: Int[Tensor, " batch"], decoding: DecodingConfig) -> None:
        batch, steps = len(limits), int(limits.max())
        self.alpha = decoding.length_penalty
        self.limits = limits
        self.step = 0
        self.last_tokens = limits.new_full((batch,), BOS)
        self.tokens = limits.new_zeros(batch, steps)
        self.log_probs = torch.zeros(batch, steps, device=limits.device)
        self.sums = torch.zeros(batch, device=limits.device)

    def advance(
        self, log_probs: Float[Tensor, "batch vocabulary"]
    ) -> tuple[Int[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """Write the most probable token of each row; every row continues itself."""
        best, self.last_tokens = log_probs.max(dim=-1)
        self.tokens[:, self.step] = self.last_tokens
        self.log_probs[:, self.step] = best
        self.sums = self.sums + best
        self.step += 1

        done = (self.last_tokens == EOS) | (self.limits == self.step)
        return torch.arange(len(done), device=done.device), done

    def hypotheses(self, sentence: int) -> list[Hypothesis]:
        """Give the one hypothesis of a sentence, unless its model failed (NaN)."""
        score = normalised(self.sums[sentence], self.step, self.alpha).item()
        if not score > -torch.inf:  # true of NaN too
            return []
        tokens = self.tokens[sentence, : self.step].tolist()
        log_probs = self.log_probs[sentence, : self.step].tolist()
        finished = tokens[-1] == EOS
        return [Hypothesis(tokens[:-1] if finished else tokens, score, log_probs, finished)]

    def candidates(self, sentence: int) -> list[Candidate]:
        """Give the one candidate of the last step."""
        step = self.step - 1
        token, total = int(self.tokens[sentence, step]), self.sums[sentence]
        return [
            Candidate(
                number=step,
                parent=step - 1 if step else None,
                step=step,
                token=token,
                log_prob=self.log_probs[sentence, step].item(),
                total=total.item(),
                score=normalised(total, self.step, self.alpha).item(),
                fate="finished" if token == EOS else "kept",
            )
        ]

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """Forget all sentences but these."""
        self.limits = self.limits[sentences]
        self.last_tokens = self.last_tokens[sentences]
        self.tokens = self.tokens[sentences]
        self.log_probs = self.log_probs[sentences]
        self.sums = self.sums[sentences]
