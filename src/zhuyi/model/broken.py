"""What each part of a Transformer is for, seen by taking it away: `zhuyi train --without PART`, `model.without`.

The model's own files know nothing of this. A part is taken away from a network that has been built, by replacing one
piece of it (`break_network`); or from the target sequences (`targets_without`); or from the settings of the training
(`training_without`). `PARTS` says which, and what is then to be seen. Several parts go in the order of the table.

Everything that computes with a network whose `config.without` is not empty does the same: training, the losses of an
evaluation, and decoding, which needs no change of its own. In particular:

    mask     one position at a time there is no future to be hidden, so `step` is that of the intact model: it meets
             what training never showed. Padding was hidden by the causal mask too, and is now attended to.
    cross    the keys and values are zeros, so the weights are uniform and the output is 0 (or the bias of W_o).
    begin    the first token of the target is given and not asked for. Decoding begins with BOS as always, which the
             model has never been given.
    shift    the decoder is given at each position the very token that it must answer.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F

from zhuyi.config import Part, TrainingConfig
from zhuyi.model.attention import CrossAttention, MultiHeadAttention, SelfAttention
from zhuyi.model.blocks import Block, Residual
from zhuyi.model.positions import Positions
from zhuyi.model.stack import Stack
from zhuyi.model.tap import SILENT, Tap
from zhuyi.model.transformer import Network

Kind = TypeVar("Kind", bound=nn.Module)
Targets = tuple[Int[Tensor, "batch given"], Int[Tensor, "batch target"]]
"""What the decoder is given, and what it must answer at each position."""


class Scaled(nn.Linear):
    """A linear map of a built network with its output multiplied by a constant; the parameters are shared."""

    def __init__(self, linear: nn.Linear, factor: float) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias, self.factor = linear.weight, linear.bias, factor

    def forward(self, x: Tensor) -> Tensor:
        """factor · (W x + b)."""
        return super().forward(x) * self.factor


class Replaced(Residual):
    """A residual connection without the sum: the output of the sublayer takes the place of its input."""

    def after(self, x: Tensor, y: Tensor, tap: Tap = SILENT) -> Tensor:
        """The output `y` of the sublayer alone, or its norm."""
        return super().after(torch.zeros_like(x), y, tap)


def _no_mask(network: Network) -> None:
    for mixer in _all(network, SelfAttention):
        mixer.causal = False


def _no_positions(network: Network) -> None:
    for stack in _all(network, Stack):
        stack.positions = Positions(network.config)


def _no_residual(network: Network) -> None:
    for block in _all(network, Block):
        for name, child in block.named_children():
            if isinstance(child, Residual):
                setattr(block, name, Replaced(network.config))


def _no_norm(network: Network) -> None:
    for owner in (*_all(network, Residual), *_all(network, Stack)):
        owner.norm = nn.Identity()
    for stack in _all(network, Stack):
        stack.embedding_norm = nn.Identity()


def _no_scaling(network: Network) -> None:
    for attention in _all(network, MultiHeadAttention):
        attention.query = Scaled(attention.query, math.sqrt(network.config.head_width))


def _no_cross(network: Network) -> None:
    for attention in _all(network, CrossAttention):
        attention.key, attention.value = Scaled(attention.key, 0.0), Scaled(attention.value, 0.0)


def _no_begin(target_in: Tensor, target_out: Tensor, padding: int) -> Targets:
    """x y z PAD → y z EOS PAD."""
    given, asked = (F.pad(tokens[:, 1:], (0, 1), value=padding) for tokens in (target_in, target_out))
    return given, asked


def _no_end(target_in: Tensor, target_out: Tensor, padding: int) -> Targets:
    """BOS x y z → x y z PAD."""
    real = target_out != padding
    last = real & ~F.pad(real[:, 1:], (0, 1))
    return target_in, target_out.masked_fill(last, padding)


def _no_shift(target_in: Tensor, target_out: Tensor, padding: int) -> Targets:
    """x y z EOS → x y z EOS."""
    return target_out, target_out


def _no_warmup(training: TrainingConfig) -> TrainingConfig:
    return training.model_copy(update={"warmup": 0})


@dataclass(frozen=True)
class Removal:
    """How a part is taken away, and what is then to be seen."""

    taken: str
    """What is missing."""
    symptom: str
    """What is then to be seen, as the end of a sentence."""
    network: Callable[[Network], None] = lambda network: None
    """Changes a built network."""
    targets: Callable[[Tensor, Tensor, int], Targets] = lambda target_in, target_out, padding: (target_in, target_out)
    """From `target_in`, `target_out` and the number of PAD to the two that are used instead."""
    training: Callable[[TrainingConfig], TrainingConfig] = lambda training: training
    """From the settings of a run to those that are used instead."""


PARTS: dict[Part, Removal] = {
    "mask": Removal(
        "the causal mask: in training, each target position sees the tokens that it must write",
        "its loss falls to almost nothing, and its output is nonsense",
        network=_no_mask,
    ),
    "positions": Removal(
        "positional encoding: a source is a bag of words",
        "sources with the same words in another order have the same output",
        network=_no_positions,
    ),
    "residual": Removal(
        "the sum with the input of each sublayer",
        "with many layers it does not learn",
        network=_no_residual,
    ),
    "norm": Removal(
        "normalisation before or after sublayers",
        "hidden states grow from layer to layer, and it learns badly or diverges",
        network=_no_norm,
    ),
    "scaling": Removal(
        "the division of attention scores by √d",
        "the softmax of the scores is saturated, and it learns more slowly",
        network=_no_scaling,
    ),
    "cross": Removal(
        "cross-attention: nothing of the source reaches the decoder",
        "its output is fluent and has nothing to do with the source",
        network=_no_cross,
    ),
    "begin": Removal(
        "BOS: the first token of the target is given and never asked for",
        "the first token of its output is a guess",
        targets=_no_begin,
    ),
    "end": Removal(
        "EOS: it is never asked for",
        "its output never ends by itself",
        targets=_no_end,
    ),
    "shift": Removal(
        "the shift of the target: the decoder is given the very token that it must answer",
        "its loss falls to nothing, and it cannot write",
        targets=_no_shift,
    ),
    "warmup": Removal(
        "warm-up: the learning rate is at its peak from the first update",
        "at a high learning rate it learns badly or diverges",
        training=_no_warmup,
    ),
}
"""What can be taken away."""


def break_network(network: Network) -> None:
    """Take away from a built network what its `config.without` names, if anything."""
    for part in network.config.without:
        PARTS[part].network(network)


def targets_without(without: Iterable[Part], target_in: Tensor, target_out: Tensor, padding: int) -> Targets:
    """What a model without some parts is given, and what it must answer; both `batch target`, as they come in.

    Args:
        without: the parts.
        target_in: BOS and tokens.
        target_out: tokens and EOS.
        padding: the number of PAD: where it must be answered there is no loss.
    """
    for part in without:
        target_in, target_out = PARTS[part].targets(target_in, target_out, padding)
    return target_in, target_out


def training_without(without: Iterable[Part], training: TrainingConfig) -> TrainingConfig:
    """The settings of the run that trains a model without some parts."""
    for part in without:
        training = PARTS[part].training(training)
    return training


def symptoms(without: Iterable[Part]) -> str:
    """What is to be expected of a model without some parts, in one sentence without its end."""
    parts = list(without)
    expected = "; ".join(PARTS[part].symptom for part in parts)
    return f"trained without {', '.join(parts)}: {expected}"


def _all(network: Network, kind: type[Kind]) -> list[Kind]:
    """All modules of a kind, before any of them is replaced."""
    return [module for module in network.modules() if isinstance(module, kind)]
