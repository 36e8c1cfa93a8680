"""A stack of blocks, from tokens to hidden states: embed → positions → norm → dropout → blocks → norm.

Both norms are optional.

The encoder and the decoder are both a `Stack`. The decoder's is causal, and its blocks have cross-attention where there
is an encoder; it also runs a few positions at a time, mostly one, with a cache.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zhuyi.config import ModelConfig
from zhuyi.model.blocks import Block, Dropout, make_norm
from zhuyi.model.cache import Cache
from zhuyi.model.positions import Positions
from zhuyi.model.tap import SILENT, Tap


class Stack(nn.Module):
    """Embedding, positions and their norm, blocks and the final norm.

    Args:
        config: sizes and options.
        embedding: of the stack's tokens; two stacks may share one.
        positions: the positional encoding.
        causal: positions see only themselves and the past; the number of layers and the mixer are the decoder's.
        cross: each block has cross-attention to the output of another stack, the memory.
    """

    def __init__(
        self, config: ModelConfig, embedding: nn.Embedding, positions: Positions, causal: bool, cross: bool
    ) -> None:
        super().__init__()
        self.embedding, self.positions = embedding, positions
        self.scale = math.sqrt(config.width) if config.embedding_scale else 1.0
        self.embedding_norm = make_norm(config) if config.embedding_norm else nn.Identity()
        self.dropout = Dropout(config.dropout)
        layers = config.decoder_layers if causal else config.encoder_layers
        self.blocks = nn.ModuleList(Block(config, causal, cross) for _ in range(layers))
        # With pre-norm, nothing has normalised the last residual sum yet.
        self.norm = make_norm(config) if config.final_norm else nn.Identity()

    def in_order(self) -> tuple[nn.Module, ...]:
        """Its parts, as `Network.in_order`."""
        return self.embedding, self.positions, self.blocks, self.embedding_norm, self.norm

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        padding: Bool[Tensor, "batch time"] | None,
        memory: Float[Tensor, "batch source width"] | None = None,
        memory_mask: Bool[Tensor, "batch source"] | None = None,
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch time width"]:
        """The hidden state at every position.

        Args:
            tokens: token numbers.
            padding: False where `tokens` are padding. A causal stack needs none: padding stands at the end, where the
                causal mask hides it.
            memory: what cross-attention attends to.
            memory_mask: True where `memory` may be attended to.
            tap: records the intermediate values.
        """
        x = self.positions.add(tap("embedding", self._embed(tokens)))
        x = tap("input", self.dropout(self.embedding_norm(x)))
        for number, block in enumerate(self.blocks):
            x = block(x, padding, self.positions, memory, memory_mask, tap.within(str(number)))
        return tap("output", self.norm(x))

    def start(
        self,
        rows: int,
        limit: int,
        memory: Float[Tensor, "rows source width"] | None = None,
        memory_mask: Bool[Tensor, "rows source"] | None = None,
    ) -> Cache:
        """The cache before the first position, with capacity for `limit` positions; the memory is cross-attention's."""
        layers = tuple(block.start(rows, limit, memory) for block in cast(Iterable[Block], self.blocks))
        return Cache(layers, memory_mask, position=0, limit=limit)

    def step(self, tokens: Int[Tensor, "rows new"], cache: Cache) -> tuple[Float[Tensor, "rows new width"], Cache]:
        """The hidden states of the next positions, given their tokens, and the cache for the step after them."""
        position = cache.position + tokens.shape[1]
        assert position <= cache.limit, "stepped past the limit that the cache was started with"
        x = self.dropout(self.embedding_norm(self.positions.add(self._embed(tokens), cache.position)))
        layers = []
        for block, layer in zip(cast(Iterable[Block], self.blocks), cache.layers, strict=True):
            x, past = block.step(x, layer, cache.source_mask, cache.position, self.positions)
            layers.append(replace(layer, past=past))
        return self.norm(x), replace(cache, layers=tuple(layers), position=position)

    def _embed(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self.embedding(tokens) * self.scale
        if torch.is_autocast_enabled(vectors.device.type):
            vectors = vectors.to(torch.get_autocast_dtype(vectors.device.type))
        return vectors
