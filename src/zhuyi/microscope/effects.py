"""What the loss at one position depends on: the heads, and the tokens of the source.

    head_effects(trace, 3)   how much −log p of the fourth token grows when each head is switched off
    occlusion(trace, 3)      how much it grows when each token of the source is hidden from attention

The output is kept, and replayed with one change at a time; many changes are computed at once, as rows of a batch. A
positive number says that the token had become more probable by what was taken away.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from zhuyi.data.batches import pad_sources
from zhuyi.errors import ConfigError
from zhuyi.microscope.trace import Trace, attentions, changed_network, lifted_masks, transformer_of
from zhuyi.model.shapes import DecoderOnly
from zhuyi.model.tap import Replacing

ROWS = 32
"""Changes that are computed at once, each of which holds the values of a layer."""

Replacements = dict[str, Callable[[Tensor], Tensor]]
Change = TypeVar("Change")


@dataclass(frozen=True)
class HeadEffect:
    """What one head does for the token at one position."""

    name: str
    """Of its attention: `decoder.1.cross`."""
    head: int
    loss: float
    """By how much the cross entropy is larger without it, in nats; less than 0 if it is smaller."""


def head_effects(trace: Trace, position: int, *, reference: bool = False) -> list[HeadEffect]:
    """The change of the loss at a position of the replay when each head of the model is switched off.

    Args:
        trace: with its changes: a head that is already off has no effect.
        position: of the target, from 0.
        reference: replay the reference instead of the model's own output.

    Raises:
        ConfigError: if there is no such position, or no reference.
    """
    at = _Position(trace, position, reference)
    heads = [(name, head) for name, each in attentions(at.network).items() for head in range(each.heads)]

    found: list[HeadEffect] = []
    for some in _parts(heads):
        rows: dict[str, list[tuple[int, int]]] = {}
        for row, (name, head) in enumerate(some):
            rows.setdefault(f"{name}.context", []).append((row, head))
        losses = at.changes(len(some), {name: _switched_off(each) for name, each in rows.items()})
        found += [HeadEffect(name, head, loss) for (name, head), loss in zip(some, losses, strict=True)]
    return found


def occlusion(trace: Trace, position: int, *, reference: bool = False) -> list[float]:
    """The change of the loss at a position of the replay when each token of the source is hidden from attention.

    A hidden token is padding to the encoder and to cross-attention. In the decoder shape, which has neither, no other
    position attends to it; EOS, which that shape does not read, has no number there.

    Args:
        trace: with its changes.
        position: of the target, from 0.
        reference: replay the reference instead of the model's own output.

    Raises:
        ConfigError: if there is no such position or no reference, or if tokens reach the others in another way than by
            attention or a window.
    """
    at = _Position(trace, position, reference)
    joined = isinstance(at.network, DecoderOnly)
    mixer = at.network.config.mixer_of(causal=joined)
    if mixer == "recurrence" or (joined and mixer != "attention"):
        raise ConfigError(f"no token can be hidden from this model: its {mixer} carries each one on to the next")
    tokens = range(len(trace.source) - joined)
    found: list[float] = []
    for some in _parts(tokens):
        if joined:
            scores = {f"{name}.scores": _unseen(some) for name in attentions(at.network)}
            found += at.changes(len(some), scores)
        else:
            mask = torch.ones(len(some), len(trace.source), dtype=torch.bool)
            mask[torch.arange(len(some)), list(some)] = False
            found += at.changes(len(some), {}, mask)
    return found


class _Position:
    """One position of a replay, which can be computed again with changes."""

    def __init__(self, trace: Trace, position: int, reference: bool) -> None:
        replay = trace.reference if reference else trace.replay
        if replay is None:
            raise ConfigError("there is no reference to be replayed: give one")
        if not 0 <= position < len(replay.target_out):
            raise ConfigError(f"there is no position {position}: the target has 0 to {len(replay.target_out) - 1}")
        self.network = changed_network(transformer_of(trace.translator), trace.what_if)
        self._replay, self._position = replay, position
        self._source = pad_sources([trace.source[:-1]])
        self._lifted = lifted_masks(self.network) if trace.what_if.mask_lifted else {}

    @torch.inference_mode()
    def changes(
        self, rows: int, replacements: Replacements, source_mask: Bool[Tensor, "rows source"] | None = None
    ) -> list[float]:
        """The change of the loss in each row of a batch of the same sentence.

        Args:
            rows: how many there are.
            replacements: for a tap: each row with another change.
            source_mask: where the rows differ in the source that they see.
        """
        device = next(self.network.parameters()).device
        source, mask = (each.expand(rows, -1).to(device) for each in self._source)
        seen = mask if source_mask is None else source_mask.to(device)
        given = torch.tensor([self._replay.target_in], dtype=source.dtype, device=device).expand(rows, -1)
        hidden = self.network.hidden(source, seen, given, Replacing({**self._lifted, **replacements}))
        (logits,) = self.network.project(hidden[:, [self._position]]).float().cpu().unbind(1)
        right = torch.full((rows,), self._replay.target_out[self._position])
        before = self._replay.losses[self._position]
        return list((F.cross_entropy(logits, right, reduction="none") - before).tolist())


def _switched_off(heads: Sequence[tuple[int, int]]) -> Callable[[Tensor], Tensor]:
    """For `context`: in each of these rows this head is zero."""
    rows, numbers = zip(*heads, strict=True)

    def change(context: Float[Tensor, "rows heads query head_width"]) -> Float[Tensor, "rows heads query head_width"]:
        context = context.clone()
        context[list(rows), list(numbers)] = 0.0
        return context

    return change


def _unseen(tokens: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """For `scores`: in each row no position but its own attends to this token."""

    def change(scores: Float[Tensor, "rows heads query key"]) -> Float[Tensor, "rows heads query key"]:
        scores = scores.clone()
        for row, token in enumerate(tokens):
            own = scores[row, :, token, token].clone()
            scores[row, :, :, token] = float("-inf")
            scores[row, :, token, token] = own
        return scores

    return change


def _parts(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    for start in range(0, len(changes), ROWS):
        yield changes[start : start + ROWS]
