"""Beam search: at every step, the best continuations of the best prefixes.

Each step takes the best 2·beam candidates of a sentence. At most one continuation of each prefix is EOS, so at least
`beam` of them live on; one that is EOS is finished if it stands among the first `beam`. Until greedy search has ended,
its prefix is one of those that live: no beam gives a lower score than greedy search, ties of tokens aside.

Sums of log-probabilities are in float32; hypotheses are scored by them over the length penalty of Wu et al. 2016
(eq. 14). The search of a sentence ends when no live prefix can still beat the worst hypothesis that is kept, or at the
length limit; there, live prefixes count among the hypotheses, as unfinished ones.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig
from zhuyi.decoding.hypothesis import Candidate, Hypothesis
from zhuyi.decoding.score import normalised
from zhuyi.text.tokenizer import BOS, EOS

ROOT = -1  # the parent of a first token


class BeamSearch:
    """Per sentence: a tree of all candidates, the live prefixes, and the best finished hypotheses.

    A node of the tree is one candidate: its token, log-probability and parent. Step t grows the nodes t·2·beam and
    following, best first. A prefix or hypothesis is the number of its last node, so that no step moves any text.
    A score of −inf marks a place that holds nothing.
    """

    reorders = True

    def __init__(self, limits: Int[Tensor, " batch"], decoding: DecodingConfig) -> None:
        batch, beam, n_best = len(limits), decoding.beam, decoding.n_best
        nodes = int(limits.max()) * 2 * beam
        self.alpha = decoding.length_penalty
        self.limits = limits
        self.step = 0

        self.tokens = limits.new_zeros(batch, nodes)
        self.parents = limits.new_zeros(batch, nodes)
        self.log_probs = torch.zeros(batch, nodes, device=limits.device)

        # One live prefix, the empty one. Were all `beam` of them alive, they would stay copies of each other.
        # While greedy search continues, the first one is its prefix; the others are in order, best first.
        self.live_sums = torch.full((batch, beam), -torch.inf, device=limits.device)
        self.live_sums[:, 0] = 0.0
        self.live_nodes = limits.new_full((batch, beam), ROOT)
        self.greedy_lives = torch.ones(batch, dtype=torch.bool, device=limits.device)
        self.sums = limits.new_zeros(batch, 2 * beam, dtype=torch.float32)
        self.finishes = torch.zeros(batch, 2 * beam, dtype=torch.bool, device=limits.device)
        self.last_tokens = limits.new_full((batch * beam,), BOS)

        self.finished_scores = torch.full((batch, n_best), -torch.inf, device=limits.device)
        self.finished_nodes = limits.new_full((batch, n_best), ROOT)

    def advance(
        self, log_probs: Float[Tensor, "rows vocabulary"]
    ) -> tuple[Int[Tensor, " rows"], Bool[Tensor, " batch"]]:
        """Grow the tree by one step, move finished hypotheses out, and let the best other candidates live on."""
        batch, beam = self.live_sums.shape
        candidates = 2 * beam

        # The best of a sentence are among the best of each of its rows; a small vocabulary has fewer than 2·beam.
        row_log_probs, row_tokens = log_probs.topk(min(candidates, log_probs.shape[1]))
        row_log_probs = row_log_probs.nan_to_num(nan=-torch.inf, neginf=-torch.inf)
        row_sums = self.live_sums.view(-1, 1) + row_log_probs
        best = row_sums.view(batch, -1).topk(candidates).indices
        # Greedy search's next token is the best of the first row: number 0. It is a candidate, the last if need be.
        missing = self.greedy_lives & (best != 0).all(dim=1)
        best[:, -1] = best[:, -1].masked_fill(missing, 0)
        greedy = (best == 0) & self.greedy_lives[:, None]
        self.sums = sums = row_sums.view(batch, -1).gather(1, best)
        beams = best // row_sums.shape[1]
        tokens = row_tokens.view(batch, -1).gather(1, best)

        first = self.step * candidates
        grown = slice(first, first + candidates)
        self.tokens[:, grown] = tokens
        self.parents[:, grown] = self.live_nodes.gather(1, beams)
        self.log_probs[:, grown] = row_log_probs.view(batch, -1).gather(1, best)
        nodes = torch.arange(first, first + candidates, device=best.device).expand(batch, -1)
        self.step += 1

        ends = tokens == EOS
        self.finishes = ends & greedy
        self.finishes[:, :beam] |= ends[:, :beam]
        scores = normalised(sums, self.step, self.alpha).masked_fill(~self.finishes, -torch.inf)
        n_best = self.finished_scores.shape[1]
        self.finished_scores, order = torch.cat([self.finished_scores, scores], dim=1).topk(n_best)
        self.finished_nodes = torch.cat([self.finished_nodes, nodes], dim=1).gather(1, order)

        self.greedy_lives = (greedy & ~ends & (sums > -torch.inf)).any(dim=1)
        living = sums.masked_fill(ends, -torch.inf)
        order = living.masked_fill(greedy & self.greedy_lives[:, None], torch.inf).topk(beam).indices
        self.live_sums = living.gather(1, order)
        self.live_nodes = nodes.gather(1, order)
        self.last_tokens = tokens.gather(1, order).flatten()

        # A sum only falls and is divided by at most the limit's penalty: no live prefix can end above this bound.
        # No number of finished hypotheses ends the search before: where EOS is always among the best candidates, as
        # after label smoothing with a small vocabulary, they may all be poor.
        bound = normalised(self.live_sums.amax(dim=1), self.limits, self.alpha)
        done = (bound <= self.finished_scores[:, -1]) | (self.limits == self.step)
        rows = beams.gather(1, order) + beam * torch.arange(batch, device=best.device)[:, None]
        return rows.flatten(), done

    def hypotheses(self, sentence: int) -> list[Hypothesis]:
        """List the best hypotheses of a sentence, whether finished or cut by the length limit, best first."""
        live_scores = normalised(self.live_sums[sentence], self.step, self.alpha)
        scored_nodes = [
            *zip(self.finished_scores[sentence].tolist(), self.finished_nodes[sentence].tolist(), strict=True),
            *zip(live_scores.tolist(), self.live_nodes[sentence].tolist(), strict=True),
        ]
        scored_nodes.sort(key=lambda scored: -scored[0])  # of equal scores, the finished one is first
        n_best = self.finished_scores.shape[1]
        return [self._hypothesis(sentence, score, node) for score, node in scored_nodes if score > -torch.inf][:n_best]

    def candidates(self, sentence: int) -> list[Candidate]:
        """List the 2·beam best continuations of the last step, except those of log-probability −inf."""
        sums = self.sums[sentence]
        first = (self.step - 1) * len(sums)
        scores = normalised(sums, self.step, self.alpha).tolist()
        living = set(self.live_nodes[sentence].tolist())
        candidates = []
        for place, total in enumerate(sums.tolist()):
            if total == -torch.inf:
                continue
            node = first + place
            token, parent = int(self.tokens[sentence, node]), int(self.parents[sentence, node])
            ends = bool(self.finishes[sentence, place])
            candidates.append(
                Candidate(
                    number=node,
                    parent=None if parent == ROOT else parent,
                    step=self.step - 1,
                    token=token,
                    log_prob=self.log_probs[sentence, node].item(),
                    total=total,
                    score=scores[place],
                    fate="finished" if ends else "kept" if node in living else "pruned",
                )
            )
        return candidates

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """Forget all sentences but these."""
        self.last_tokens = self.last_tokens.view(self.live_nodes.shape)[sentences].flatten()
        self.limits = self.limits[sentences]
        self.tokens = self.tokens[sentences]
        self.parents = self.parents[sentences]
        self.log_probs = self.log_probs[sentences]
        self.live_sums = self.live_sums[sentences]
        self.greedy_lives = self.greedy_lives[sentences]
        self.sums = self.sums[sentences]
        self.finishes = self.finishes[sentences]
        self.live_nodes = self.live_nodes[sentences]
        self.finished_scores = self.finished_scores[sentences]
        self.finished_nodes = self.finished_nodes[sentences]

    def _hypothesis(self, sentence: int, score: float, node: int) -> Hypothesis:
        """Read the path from the root to a node."""
        parents, path = self.parents[sentence].tolist(), []
        while node != ROOT:
            path.append(node)
            node = parents[node]
        path.reverse()
        tokens = self.tokens[sentence, path].tolist()
        log_probs = self.log_probs[sentence, path].tolist()
        finished = tokens[-1] == EOS
        return Hypothesis(tokens[:-1] if finished else tokens, score, log_probs, finished)
