"""The encoder–decoder Transformer (Vaswani et al. 2017): the model's table of contents.

    memory = encode(source)                      every source position, seen in its context
    hidden = decode(target_in, memory)           all target positions at once (training)
    logits = project(hidden)                     the distribution over the vocabulary, before softmax

    cache = start(memory)                        or, in use, one position at a time:
    logits, cache = step(last_tokens, cache)

Masks are True = attend. Source sequences end in EOS; target inputs begin with BOS.
"""

import math
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zhuyi.config import ModelConfig
from zhuyi.model.blocks import NORMS, DecoderBlock, EncoderBlock
from zhuyi.model.cache import Cache
from zhuyi.model.dropout import Dropout
from zhuyi.model.positions import POSITIONS
from zhuyi.model.tap import SILENT, Tap


class Transformer(nn.Module):
    """Encoder, decoder, embeddings and the output projection.

    Args:
        config: sizes and options.
        source_vocabulary: tokens of the source side.
        target_vocabulary: tokens of the target side; None when both sides share one vocabulary.
    """

    def __init__(self, config: ModelConfig, source_vocabulary: int, target_vocabulary: int | None = None) -> None:
        super().__init__()
        self.config = config
        shared = target_vocabulary is None
        targets = target_vocabulary or source_vocabulary
        self.target_embedding = nn.Embedding(targets, config.width)
        self.source_embedding = (
            self.target_embedding if shared and config.tie == "all" else nn.Embedding(source_vocabulary, config.width)
        )
        sizes = (config.width, config.head_width, config.max_length)
        self.source_positions = POSITIONS[config.positions](*sizes)
        self.target_positions = POSITIONS[config.positions](*sizes)
        self.encoder = nn.ModuleList(EncoderBlock(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_layers))
        # With pre-norm, nothing has normalised the last residual sum yet.
        self.encoder_norm = NORMS[config.norm_kind](config.width) if config.norm == "pre" else nn.Identity()
        self.decoder_norm = NORMS[config.norm_kind](config.width) if config.norm == "pre" else nn.Identity()
        self.projection = nn.Linear(config.width, targets, bias=False)
        self.dropout = Dropout(config.dropout)
        self._initialise()
        if config.tie != "none":
            self.projection.weight = self.target_embedding.weight

    def _initialise(self) -> None:
        """Glorot & Bengio 2010 for the maps; embeddings of length about 1 (`_embed` multiplies them by √width)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.width**-0.5)

    def encode(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch source width"]:
        """Every source position in the light of all the others."""
        x = self.source_positions.add(tap("encoder.embedding", self._embed(self.source_embedding, source)))
        x = tap("encoder.input", self.dropout(x))
        for number, block in enumerate(self.encoder):
            x = block(x, source_mask, self.source_positions, tap.within(f"encoder.{number}"))
        return tap("encoder.output", self.encoder_norm(x))

    def decode(
        self,
        target_in: Int[Tensor, "batch target"],
        memory: Float[Tensor, "batch source width"],
        source_mask: Bool[Tensor, "batch source"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch target width"]:
        """The hidden state at every target position, from the true tokens before it (teacher forcing)."""
        x = self.target_positions.add(tap("decoder.embedding", self._embed(self.target_embedding, target_in)))
        x = tap("decoder.input", self.dropout(x))
        for number, block in enumerate(self.decoder):
            x = block(x, memory, source_mask, self.target_positions, tap.within(f"decoder.{number}"))
        return tap("decoder.output", self.decoder_norm(x))

    def project(
        self, hidden: Float[Tensor, "batch target width"], tap: Tap = SILENT
    ) -> Float[Tensor, "batch target vocabulary"]:
        """Logits: the output distribution over the vocabulary, before its softmax."""
        return tap("logits", self.projection(hidden))

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target_in: Int[Tensor, "batch target"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch target vocabulary"]:
        """Logits at every target position, given the source and the target before it."""
        memory = self.encode(source, source_mask, tap)
        return self.project(self.decode(target_in, memory, source_mask, tap), tap)

    def start(
        self, memory: Float[Tensor, "rows source width"], source_mask: Bool[Tensor, "rows source"], limit: int
    ) -> Cache:
        """The cache before the first step, with room for `limit` steps."""
        layers = tuple(cast(DecoderBlock, block).start(memory, limit) for block in self.decoder)
        return Cache(layers, source_mask, position=0, limit=limit)

    def step(self, tokens: Int[Tensor, " rows"], cache: Cache) -> tuple[Float[Tensor, "rows vocabulary"], Cache]:
        """Logits after one more token a row (BOS at first), and the cache to go on with."""
        assert cache.position < cache.limit, "stepped past the limit that the cache was started with"
        x = self._embed(self.target_embedding, tokens[:, None])
        x = self.dropout(self.target_positions.add(x, cache.position))
        layers = []
        for block, layer in zip(self.decoder, cache.layers, strict=True):
            x, past = cast(DecoderBlock, block).step(x, layer, cache.source_mask, cache.position, self.target_positions)
            layers.append(replace(layer, past=past))
        logits = self.projection(self.decoder_norm(x))[:, 0]
        return logits, replace(cache, layers=tuple(layers), position=cache.position + 1)

    def _embed(self, embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        vectors: Tensor = embedding(tokens) * math.sqrt(self.config.width)
        if torch.is_autocast_enabled(vectors.device.type):
            vectors = vectors.to(torch.get_autocast_dtype(vectors.device.type))
        return vectors

    def parameter_count(self) -> int:
        """Numbers that are learned; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())
