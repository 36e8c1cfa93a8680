"""The search loop: read the source once, then step, advance, and drop the sentences that are done.

Filters (`filters.py`) forbid tokens, and a strategy chooses among the others: `beam.py`, `greedy.py`, `sampling.py`.
A sentence has `decoding.rows` adjacent rows.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig, SearchStrategy
from zhuyi.decoding.beam import BEAMS
from zhuyi.decoding.filters import constraints, forbid, force
from zhuyi.decoding.greedy import GreedySearch
from zhuyi.decoding.hypothesis import Candidate, Hypothesis
from zhuyi.decoding.sampling import Sampling
from zhuyi.model.cache import Cache
from zhuyi.text.tokenizer import BOS, EOS, PAD


@runtime_checkable
class Stepper(Protocol):
    """What decoding needs of a model. Masks are True = attend."""

    def read(self, source: Int[Tensor, "batch source"], source_mask: Bool[Tensor, "batch source"], limit: int) -> Cache:
        """Read the sources, one row a sentence: the cache before the first of at most `limit` steps."""
        ...

    def step(self, tokens: Int[Tensor, " rows"], cache: Cache) -> tuple[Float[Tensor, "rows vocabulary"], Cache]:
        """Logits of the token after `tokens`, the last of each row (BOS first). The caller may overwrite them."""
        ...


@runtime_checkable
class Strategy(Protocol):
    """Chooses the tokens of each step, and records them for the sentences still running."""

    last_tokens: Int[Tensor, " rows"]
    """What each row wrote in the last step; BOS at first."""
    reorders: bool
    """Whether a row may continue another row of its sentence."""

    def advance(
        self, log_probs: Float[Tensor, "rows vocabulary"], forced: Bool[Tensor, " batch"]
    ) -> tuple[Int[Tensor, " rows"], Bool[Tensor, " batch"]]:
        """Take one step: the row that each row continues, and which sentences are done.

        A sentence is `forced` where the prefix or the length limit leaves it no choice of its next token.
        """
        ...

    def hypotheses(self, sentence: int) -> list[Hypothesis]:
        """List the hypotheses of a sentence that the last step completed, best first; empty if it has none."""
        ...

    def candidates(self, sentence: int) -> list[Candidate]:
        """List the candidates of the last step of a sentence, best first."""
        ...

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """Drop all sentences but these."""
        ...


def _beam(limits: Tensor, decoding: DecodingConfig, lines: Tensor) -> Strategy:
    return GreedySearch(limits, decoding) if decoding.beam == 1 else BEAMS[decoding.stop](limits, decoding)


STRATEGIES: dict[SearchStrategy, Callable[[Tensor, DecodingConfig, Tensor], Strategy]] = {
    "beam": _beam,
    "sampling": Sampling,
}
"""From the length limits of a batch, the configuration and the numbers of the lines to the strategy."""


@torch.inference_mode()
def search(
    model: Stepper,
    source: Int[Tensor, "batch source"],
    source_mask: Bool[Tensor, "batch source"],
    decoding: DecodingConfig,
    max_length: int,
    observe: Callable[[Strategy], None] | None = None,
    prefix: Sequence[int] = (),
    lines: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """Search for the best outputs of each sentence.

    Returns 1 to `n_best` hypotheses a sentence, best first. Some are unfinished only if the length limit was reached
    before the search was decided. A sentence for which the model gives only NaN gets one empty, unfinished hypothesis
    with score −inf.

    Args:
        model: the source of next-token distributions, in evaluation mode.
        source: token ids, padded.
        source_mask: True where `source` is not padding.
        decoding: how to search.
        max_length: of the model: no output has more tokens, EOS counted.
        observe: called with the strategy after each step.
        prefix: the first tokens of every output, regardless of the model and the filters.
        lines: number of each sentence in the text that is translated, from 0, on which its samples depend. Unset: its
            number in this batch.
    """
    width, device = decoding.rows, source.device
    source_tokens = source_mask.sum(dim=1)
    limits = torch.from_numpy(decoding.limits(source_tokens.cpu().numpy(), max_length)).to(device)
    limit = int(limits.max())
    hypotheses: list[list[Hypothesis]] = [[] for _ in source]
    running = torch.arange(len(source), device=device)

    cache = model.read(source, source_mask, limit)
    if width > 1:
        cache = cache.select(running.repeat_interleave(width))
    numbers = running if lines is None else torch.tensor(lines, device=device)
    strategy = STRATEGIES[decoding.strategy](limits, decoding, numbers)
    filters = constraints(decoding)
    written = source.new_empty(len(source) * width, 0)

    for step in range(limit):
        logits, cache = model.step(strategy.last_tokens, cache)
        log_probs = log_probabilities(logits)
        if step < len(prefix):
            log_probs, forced = force(log_probs, prefix[step]), torch.ones_like(limits, dtype=torch.bool)
        else:
            forced = (limits == step + 1) & decoding.end_at_limit
            only_end = force(log_probs, EOS) if decoding.end_at_limit else log_probs  # regardless of the filters
            for constrain in filters:
                log_probs = constrain(log_probs, written)
            if decoding.end_at_limit:
                log_probs = torch.where(forced.repeat_interleave(width)[:, None], only_end, log_probs)
        rows, done = strategy.advance(log_probs, forced)
        if observe is not None:
            observe(strategy)
        if done.any():
            ended = done.nonzero().flatten()
            for i, sentence in zip(ended.tolist(), running[ended].tolist(), strict=True):
                hypotheses[sentence] = strategy.hypotheses(i) or [Hypothesis([], -torch.inf, [], finished=False)]
            if done.all():
                break
            # Otherwise one long sentence would keep the rows of all the others computing.
            kept = (~done).nonzero().flatten()
            running, limits = running[kept], limits[kept]
            strategy.keep(kept)
            rows = rows.view(-1, width)[kept].flatten()
            cache = cache.select(rows)
        elif strategy.reorders:
            cache = cache.reorder(rows)
        written = torch.cat([written.index_select(0, rows), strategy.last_tokens[:, None]], dim=1)
    return hypotheses


def log_probabilities(logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, "rows vocabulary"]:
    """Log-probabilities, in float32, over the tokens that may be written: never PAD, never BOS. Overwrites logits."""
    return forbid(logits.float(), (PAD, BOS)).log_softmax(dim=-1)
