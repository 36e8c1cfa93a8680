"""Ensembles: several models that write one output together, from the mean of their probabilities.

Each is trained separately, usually with a different seed, so that their mistakes differ (Hansen & Salamon 1990; for
translation, Sutskever et al. 2014, section 3.6).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zhuyi.decoding.search import log_probabilities
from zhuyi.model.cache import Cache
from zhuyi.model.shapes import DecoderOnly
from zhuyi.model.transformer import Network, Transformer


class Ensemble(nn.Module):
    """Several networks as one `Stepper`, whose logits are the logarithm of the mean of their probabilities.

    Args:
        members: networks of the same shape and vocabulary; everything else may differ.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        self.config = members[0].config
        self._members = nn.ModuleList(members)

    @property
    def members(self) -> list[Transformer | DecoderOnly]:
        """The networks."""
        return cast(list[Transformer | DecoderOnly], list(self._members))

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target_in: Int[Tensor, "batch target"],
    ) -> Float[Tensor, "batch target vocabulary"]:
        """Log-probabilities of each target token; arguments as of `Network.hidden`."""
        return log_mean([member(source, source_mask, target_in).float().log_softmax(dim=-1) for member in self.members])

    def read(self, source: Int[Tensor, "batch source"], source_mask: Bool[Tensor, "batch source"], limit: int) -> Cache:
        """As `Stepper.read`; the cache holds the layers of all members, in their order."""
        caches = [member.read(source, source_mask, limit) for member in self.members]
        return replace(caches[0], layers=tuple(layer for cache in caches for layer in cache.layers))

    def step(self, tokens: Int[Tensor, " rows"], cache: Cache) -> tuple[Float[Tensor, "rows vocabulary"], Cache]:
        """As `Stepper.step`: log-probabilities over the tokens that may be written."""
        log_probs, caches, first = [], [], 0
        for member in self.members:
            last = first + len(member.decoder.blocks)
            logits, after = member.step(tokens, replace(cache, layers=cache.layers[first:last]))
            log_probs.append(log_probabilities(logits))
            caches.append(after)
            first = last
        return log_mean(log_probs), replace(caches[0], layers=tuple(layer for each in caches for layer in each.layers))


def log_mean(log_probs: Sequence[Float[Tensor, "*rows vocabulary"]]) -> Float[Tensor, "*rows vocabulary"]:
    """The logarithm of the mean of probabilities, from their logarithms."""
    return torch.stack(tuple(log_probs)).logsumexp(dim=0) - math.log(len(log_probs))
