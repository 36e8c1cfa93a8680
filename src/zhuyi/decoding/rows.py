"""Independent rows, the common part of greedy search and sampling: each row writes one output and never branches."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig
from zhuyi.decoding.hypothesis import Candidate, Hypothesis
from zhuyi.decoding.score import counted, normalised
from zhuyi.text.tokenizer import BOS, EOS


class IndependentRows:
    """The tokens that each row has written so far, and their log-probabilities.

    Sentence i has the rows i·width, ..., i·width + width − 1; it is done when all of them have ended, or at its limit.
    """

    reorders = False
    max_alternatives = 0

    def __init__(self, limits: Int[Tensor, " batch"], decoding: DecodingConfig) -> None:
        self.width = decoding.rows
        rows, steps = len(limits) * self.width, int(limits.max())
        self.decoding = decoding
        self.limits = limits
        self.step = 0
        self.last_tokens = limits.new_full((rows,), BOS)
        self.tokens = limits.new_zeros(rows, steps)
        self.log_probs = torch.zeros(rows, steps, device=limits.device)
        self.sums = torch.zeros(rows, device=limits.device)
        self.lengths = limits.new_zeros(rows)

    def choose(self, log_probs: Float[Tensor, "rows vocabulary"]) -> Int[Tensor, " rows"]:
        """Choose the next token of each row."""
        raise NotImplementedError

    def advance(
        self, log_probs: Float[Tensor, "rows vocabulary"], forced: Bool[Tensor, " batch"]
    ) -> tuple[Int[Tensor, " rows"], Bool[Tensor, " batch"]]:
        """Write the chosen token in each row that has not ended; every row continues itself."""
        chosen = self.choose(log_probs)
        running = self.last_tokens != EOS
        self.last_tokens = chosen.where(running, EOS)
        self.tokens[:, self.step] = self.last_tokens
        chosen_log_probs = log_probs.gather(1, chosen[:, None])
        self.log_probs[:, self.step] = chosen_log_probs[:, 0]
        gains = counted(chosen_log_probs, forced.repeat_interleave(self.width), self.decoding)[:, 0]
        self.sums = torch.where(running, self.sums + gains, self.sums)
        self.lengths = self.lengths + running
        self.step += 1

        ended = (self.last_tokens == EOS).view(-1, self.width).all(dim=1)
        return torch.arange(len(chosen), device=chosen.device), ended | (self.limits == self.step)

    def hypotheses(self, sentence: int) -> list[Hypothesis]:
        """List what the rows of a sentence wrote, best first, except those for which the model gave NaN."""
        rows = self._rows(sentence)
        scores = normalised(self.sums[rows], self.lengths[rows], self.decoding).tolist()
        written = zip(scores, self.lengths[rows].tolist(), self.tokens[rows], self.log_probs[rows], strict=True)
        hypotheses = []
        for score, length, tokens, log_probs in written:
            if score > -torch.inf:  # not true of NaN
                finished = bool(tokens[length - 1] == EOS)
                text = tokens[: length - finished].tolist()
                hypotheses.append(Hypothesis(text, score, log_probs[:length].tolist(), finished))
        return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)

    def alternatives(self, row: int) -> list[tuple[int, float]]:
        """List the best tokens that the last step could also have chosen, at most `max_alternatives`.

        Each with its log-probability, best first.
        """
        return []

    def candidates(self, sentence: int) -> list[Candidate]:
        """List the tokens that the last step chose or could have chosen for the rows still running, best first."""
        step, rows, places = self.step - 1, self._rows(sentence), 1 + self.max_alternatives
        nodes = []
        for sample, row in enumerate(range(rows.start, rows.stop)):
            if self.lengths[row] < self.step:  # it has ended before
                continue
            log_prob, total = self.log_probs[row, step], self.sums[row]
            considered = [(int(self.last_tokens[row]), log_prob.item(), total)]
            considered += [(token, other, total - log_prob + other) for token, other in self.alternatives(row)]
            nodes += [
                Candidate(
                    number=(step * self.width + sample) * places + place,
                    parent=((step - 1) * self.width + sample) * places if step else None,
                    step=step,
                    token=token,
                    log_prob=log_prob,
                    total=total.item(),
                    score=normalised(total, self.step, self.decoding).item(),
                    fate="pruned" if place else "finished" if token == EOS else "kept",
                )
                for place, (token, log_prob, total) in enumerate(considered)
            ]
        return sorted(nodes, key=lambda node: -node.total)

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """Drop all sentences but these."""
        rows = torch.arange(len(self.last_tokens), device=sentences.device).view(-1, self.width)[sentences].flatten()
        self.limits = self.limits[sentences]
        self.last_tokens = self.last_tokens[rows]
        self.tokens = self.tokens[rows]
        self.log_probs = self.log_probs[rows]
        self.sums = self.sums[rows]
        self.lengths = self.lengths[rows]

    def _rows(self, sentence: int) -> slice:
        return slice(sentence * self.width, (sentence + 1) * self.width)
