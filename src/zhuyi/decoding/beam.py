"""Beam search: at every step, the best continuations of the best prefixes.

Each step takes the best 2·beam candidates of a sentence. At most one continuation of each prefix is EOS, so at least
`beam` candidates can live on. A candidate that is EOS finishes a hypothesis if it is among the first `beam`. At the
length limit, the live prefixes are hypotheses too, unfinished ones. The score of a hypothesis is the sum of its
log-probabilities, in float32, divided by the length penalty (`score.py`).

The rules of `decoding.stop` differ in when a search ends before the limit, and in which candidates may finish or live.
Each rule is a class: `BeamSearch` is zhuyi's own, and the others reproduce those of other programs.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig, StoppingRule
from zhuyi.decoding.hypothesis import Candidate, Hypothesis
from zhuyi.decoding.score import counted, normalised
from zhuyi.text.tokenizer import BOS, EOS

ROOT = -1  # the parent of a first token


class BeamSearch:
    """The rule `bound`: a search ends when no live prefix can still beat the worst hypothesis that is kept.

    Until greedy search ends, its prefix stays alive, so no beam gives a lower score than greedy search (apart from ties
    between tokens).

    For each sentence there are a tree of all candidates, the live prefixes, and the best finished hypotheses. A node of
    the tree is one candidate: its token, log-probability and parent. Step t adds 2·beam nodes, best first, of which
    t·2·beam is the first. A prefix or hypothesis is stored as the number of its last node, so no step copies its
    tokens. A score of −inf marks an empty place.
    """

    reorders = True
    follows_greedy = True

    def __init__(self, limits: Int[Tensor, " batch"], decoding: DecodingConfig) -> None:
        batch, beam, kept = len(limits), decoding.beam, self.kept(decoding)
        nodes = int(limits.max()) * 2 * beam
        self.decoding = decoding
        self.limits = limits
        self.step = 0

        self.tokens = limits.new_zeros(batch, nodes)
        self.parents = limits.new_zeros(batch, nodes)
        self.log_probs = torch.zeros(batch, nodes, device=limits.device)

        # One live prefix, the empty one. Were all `beam` of them alive, they would stay copies of each other.
        # While greedy search is followed, the first one is its prefix; the others are in order, best first.
        self.live_sums = torch.full((batch, beam), -torch.inf, device=limits.device)
        self.live_sums[:, 0] = 0.0
        self.live_nodes = limits.new_full((batch, beam), ROOT)
        self.greedy_lives = torch.full((batch,), self.follows_greedy, device=limits.device)
        self.sums = limits.new_zeros(batch, 2 * beam, dtype=torch.float32)
        self.finishes = torch.zeros(batch, 2 * beam, dtype=torch.bool, device=limits.device)
        self.last_tokens = limits.new_full((batch * beam,), BOS)

        self.finished_scores = torch.full((batch, kept), -torch.inf, device=limits.device)
        self.finished_nodes = limits.new_full((batch, kept), ROOT)

    def kept(self, decoding: DecodingConfig) -> int:
        """The number of finished hypotheses that are kept."""
        return decoding.n_best

    def may_finish(self) -> Int[Tensor, "batch 1"] | int:
        """How many of the first candidates may end a hypothesis."""
        return self.decoding.beam

    def may_live(self) -> Int[Tensor, "batch 1"] | int:
        """How many of the first candidates may live on."""
        return 2 * self.decoding.beam

    def decided(self) -> Bool[Tensor, " batch"]:
        """Which searches may end before the limit; one without a live prefix always may."""
        # A sum can only fall, and the penalty is largest at the limit: no live prefix can end above this bound.
        # A count of finished hypotheses does not end the search: where EOS is always among the best candidates, as
        # after label smoothing with a small vocabulary, all of them may be poor.
        bound = normalised(self.live_sums.amax(dim=1), self.limits, self.decoding)
        return bound <= self.finished_scores[:, -1]

    def advance(
        self, log_probs: Float[Tensor, "rows vocabulary"], forced: Bool[Tensor, " batch"]
    ) -> tuple[Int[Tensor, " rows"], Bool[Tensor, " batch"]]:
        """Add a step to the tree, collect finished hypotheses, and let the best other candidates live on."""
        batch, beam = self.live_sums.shape
        candidates = 2 * beam

        # The best of a sentence are among the best of each of its rows; a small vocabulary has fewer than 2·beam.
        row_log_probs, row_tokens = log_probs.topk(min(candidates, log_probs.shape[1]))
        row_log_probs = row_log_probs.nan_to_num(nan=-torch.inf, neginf=-torch.inf)
        row_sums = self.live_sums.view(-1, 1) + counted(row_log_probs, forced.repeat_interleave(beam), self.decoding)
        best = row_sums.view(batch, -1).topk(candidates).indices
        # Greedy search's next token is the best of the first row, number 0. If not among the best, it is the last one.
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

        ends, place = tokens == EOS, torch.arange(candidates, device=best.device)
        self.finishes = ends & ((place < self.may_finish()) | greedy)
        lives = ~ends & (place < self.may_live())
        scores = normalised(sums, self.step, self.decoding).masked_fill(~self.finishes, -torch.inf)
        kept = self.finished_scores.shape[1]
        self.finished_scores, order = torch.cat([self.finished_scores, scores], dim=1).topk(kept)
        self.finished_nodes = torch.cat([self.finished_nodes, nodes], dim=1).gather(1, order)

        self.greedy_lives = (greedy & ~ends & (sums > -torch.inf)).any(dim=1)
        living = sums.masked_fill(~lives, -torch.inf)
        order = living.masked_fill(greedy & self.greedy_lives[:, None], torch.inf).topk(beam).indices
        self.live_sums = living.gather(1, order)
        self.live_nodes = nodes.gather(1, order)
        self.last_tokens = tokens.gather(1, order).flatten()

        rows = beams.gather(1, order) + beam * torch.arange(batch, device=best.device)[:, None]
        return rows.flatten(), self.decided() | (self.limits == self.step)

    def hypotheses(self, sentence: int) -> list[Hypothesis]:
        """List the best hypotheses of a sentence, whether finished or cut by the length limit, best first."""
        scores, nodes = self.finished_scores[sentence], self.finished_nodes[sentence]
        if self.limits[sentence] == self.step:
            live_scores = normalised(self.live_sums[sentence], self.step, self.decoding)
            scores, nodes = torch.cat([scores, live_scores]), torch.cat([nodes, self.live_nodes[sentence]])
        scored_nodes = [each for each in zip(scores.tolist(), nodes.tolist(), strict=True) if each[0] > -torch.inf]
        scored_nodes.sort(key=lambda scored: -scored[0])  # of equal scores, the finished one is first
        return [self._hypothesis(sentence, score, node) for score, node in scored_nodes[: self.decoding.n_best]]

    def candidates(self, sentence: int) -> list[Candidate]:
        """List the 2·beam best continuations of the last step, except those of log-probability −inf."""
        sums = self.sums[sentence]
        first = (self.step - 1) * len(sums)
        scores = normalised(sums, self.step, self.decoding).tolist()
        living = set(self.live_nodes[sentence, self.live_sums[sentence] > -torch.inf].tolist())
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
        """Drop all sentences but these."""
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


class HuggingFaceBeam(BeamSearch):
    """The rule of Hugging Face's `generate` (transformers 5.24, `_beam_search` with `early_stopping=False`).

    A search ends when `beam` hypotheses are finished, and the best live prefix, had it ended here, would be no better
    than the worst of them: a longer one might be. At the limit, the first `beam` candidates are hypotheses.
    """

    follows_greedy = False

    def kept(self, decoding: DecodingConfig) -> int:
        """The width of the beam."""
        return decoding.beam

    def may_live(self) -> Int[Tensor, "batch 1"]:
        """At the limit, the first `beam` only."""
        return torch.where(self.limits == self.step, 1, 2)[:, None] * self.decoding.beam

    def decided(self) -> Bool[Tensor, " batch"]:
        """The best live prefix is scored at its current length."""
        return normalised(self.live_sums[:, 0], self.step, self.decoding) <= self.finished_scores[:, -1]


class HuggingFaceEarlyBeam(HuggingFaceBeam):
    """The same with `early_stopping=True`: a search ends when `beam` hypotheses are finished."""

    def decided(self) -> Bool[Tensor, " batch"]:
        """All places are taken, or no prefix is alive."""
        return (self.finished_scores[:, -1] > -torch.inf) | (self.live_sums[:, 0] == -torch.inf)


class MarianBeam(BeamSearch):
    """The rule of Marian (1.12, `translator/beam_search.cpp`).

    The beam begins as wide as `beam`, and becomes one narrower with each hypothesis that ends: a step has as many
    candidates as the beam is then wide, for those that end and those that live together. A search ends when all have.
    """

    follows_greedy = False

    def kept(self, decoding: DecodingConfig) -> int:
        """The width of the beam: no more can end."""
        return decoding.beam

    def may_finish(self) -> Int[Tensor, "batch 1"]:
        """The current width of the beam."""
        return (self.finished_scores == -torch.inf).sum(dim=1, keepdim=True)

    def may_live(self) -> Int[Tensor, "batch 1"]:
        """The same candidates."""
        return self.may_finish()

    def decided(self) -> Bool[Tensor, " batch"]:
        """No prefix is alive."""
        return self.live_sums[:, 0] == -torch.inf


BEAMS: dict[StoppingRule, type[BeamSearch]] = {
    "bound": BeamSearch,
    "huggingface": HuggingFaceBeam,
    "huggingface-early": HuggingFaceEarlyBeam,
    "marian": MarianBeam,
}
"""The rules of `decoding.stop`."""
