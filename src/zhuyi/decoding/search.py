"""The search loop: encode once, then step, advance, and drop the sentences that are done.

What to do with each step's distribution is the business of a strategy, one a file (`greedy.py`, `beam.py`).
A sentence has as many rows as beams; the rows of sentence i are i·beam … i·beam + beam − 1.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zhuyi.config import DecodingConfig
from zhuyi.decoding.beam import BeamSearch
from zhuyi.decoding.greedy import GreedySearch
from zhuyi.decoding.hypothesis import Candidate, Hypothesis
from zhuyi.model.cache import Cache
from zhuyi.text.tokenizer import BOS, PAD


@runtime_checkable
class Model(Protocol):
    """All that decoding knows of a model. Masks are True = attend."""

    def encode(
        self, source: Int[Tensor, "batch source"], source_mask: Bool[Tensor, "batch source"]
    ) -> Float[Tensor, "batch source width"]:
        """Turn the source into the memory that every step looks at."""
        ...

    def start(
        self, memory: Float[Tensor, "batch source width"], source_mask: Bool[Tensor, "batch source"], limit: int
    ) -> Cache:
        """Make an empty past, one row a sentence, with room for `limit` steps."""
        ...

    def step(self, tokens: Int[Tensor, " rows"], cache: Cache) -> tuple[Float[Tensor, "rows vocabulary"], Cache]:
        """Logits of the token after `tokens`, the last of each row (BOS first). The caller may overwrite them."""
        ...


@runtime_checkable
class Strategy(Protocol):
    """Chooses each step's tokens, and keeps the account of them for the sentences still running."""

    last_tokens: Int[Tensor, " rows"]

    def advance(
        self, log_probs: Float[Tensor, "rows vocabulary"]
    ) -> tuple[Int[Tensor, " rows"], Bool[Tensor, " batch"]]:
        """Take one step: the row that each row now continues, and the sentences that are done."""
        ...

    def hypotheses(self, sentence: int) -> list[Hypothesis]:
        """List what was found for a sentence that the last step completed, best first; empty if all failed."""
        ...

    def candidates(self, sentence: int) -> list[Candidate]:
        """List what the last step weighed for a sentence, best first, and what became of each."""
        ...

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """Forget all sentences but these."""
        ...


STRATEGIES: dict[str, Callable[[Tensor, DecodingConfig], Strategy]] = {
    "greedy": GreedySearch,
    "beam": BeamSearch,
}


@torch.inference_mode()
def search(
    model: Model,
    source: Int[Tensor, "batch source"],
    source_mask: Bool[Tensor, "batch source"],
    decoding: DecodingConfig,
    max_length: int,
    observe: Callable[[Strategy], None] | None = None,
    prefix: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """Search for the best outputs of each sentence; the model must be in evaluation mode.

    Gives 1 to `n_best` hypotheses a sentence, best first. Unfinished ones are among them only where the length limit
    came before the search was decided. A sentence for which the model gives no number at all (NaN) gets one empty,
    unfinished hypothesis with score −inf.

    Args:
        model: gives the next-token distributions.
        source: token ids, padded.
        source_mask: True where `source` is not padding.
        decoding: how to search.
        max_length: of the model: no output has more tokens, EOS counted.
        observe: is shown the strategy after each step.
        prefix: the first tokens of every output, whatever the model thinks of them.
    """
    beam = decoding.beam
    source_tokens = source_mask.sum(dim=1)
    limits = torch.from_numpy(decoding.limits(source_tokens.cpu().numpy(), max_length)).to(source.device)
    limit = int(limits.max())
    found: list[list[Hypothesis]] = [[] for _ in source]
    running = torch.arange(len(source), device=source.device)

    cache = model.start(model.encode(source, source_mask), source_mask, limit)
    if beam > 1:
        cache = cache.select(running.repeat_interleave(beam))
    strategy = STRATEGIES["beam" if beam > 1 else "greedy"](limits, decoding)

    for step in range(limit):
        logits, cache = model.step(strategy.last_tokens, cache)
        log_probs = log_probabilities(logits)
        if step < len(prefix):
            log_probs[:, torch.arange(log_probs.shape[1], device=source.device) != prefix[step]] = -torch.inf
        rows, done = strategy.advance(log_probs)
        if observe is not None:
            observe(strategy)
        if done.any():
            ended = done.nonzero().flatten()
            for i, sentence in zip(ended.tolist(), running[ended].tolist(), strict=True):
                found[sentence] = strategy.hypotheses(i) or [Hypothesis([], -torch.inf, [], finished=False)]
            if done.all():
                break
            # One long sentence must not keep the rows of all the others at work.
            kept = (~done).nonzero().flatten()
            running = running[kept]
            strategy.keep(kept)
            cache = cache.select(rows.view(-1, beam)[kept].flatten())
        elif beam > 1:  # a sentence's only row always continues itself
            cache = cache.reorder(rows)
    return found


def log_probabilities(logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, "rows vocabulary"]:
    """Log-probabilities, in float32, over the tokens that may be written: never PAD, never BOS. Overwrites logits."""
    logits = logits.float()
    logits[:, PAD] = -torch.inf
    logits[:, BOS] = -torch.inf
    return logits.log_softmax(dim=-1)
