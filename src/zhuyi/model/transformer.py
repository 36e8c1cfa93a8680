"""The encoder–decoder Transformer (Vaswani et al. 2017): the model's table of contents.

    memory = encode(source)                      the hidden state of every source position
    hidden = decode(target_in, memory)           all target positions at once (training)
    logits = project(hidden)                     the distribution over the vocabulary, before softmax

    cache = read(source)                         or, in use, one position at a time:
    logits, cache = step(last_tokens, cache)

Masks are True = attend. Source sequences end in EOS; target inputs begin with BOS. `shapes.py` puts the same stacks
together in two other ways.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zhuyi.config import ModelConfig
from zhuyi.model.cache import Cache
from zhuyi.model.positions import POSITIONS
from zhuyi.model.stack import Stack
from zhuyi.model.tap import SILENT, Tap


class Network(nn.Module, ABC):
    """What the models of all shapes have: stacks, and a projection of hidden states to logits.

    A subclass makes these, and then calls `_initialise`.
    """

    projection: nn.Linear

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def in_order(self) -> nn.ModuleList:
        """All parts, in the order in which their weights are drawn and their gradients are summed.

        Both are part of what a seed stands for: runs that an older version began continue to the same bytes.
        """

    def stacks(self) -> dict[str, Stack]:
        """The stacks by name: `encoder`, `decoder`."""
        return {name: child for name, child in self.named_children() if isinstance(child, Stack)}

    def _initialise(self) -> None:
        """Glorot & Bengio 2010 for the maps; embeddings of length about 1 (a stack multiplies them by √width).

        Where it does not, they are of the same length: tied to the projection, they must not be longer.
        """
        for module in self.in_order().modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding) and not module.weight.is_meta:  # there, torch imports its compiler
                nn.init.normal_(module.weight, std=self.config.width**-0.5)

    @abstractmethod
    def hidden(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target_in: Int[Tensor, "batch target"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch output width"]:
        """The hidden state behind each output, given the source and, for a target, its tokens before it."""

    def project(
        self, hidden: Float[Tensor, "batch output width"], tap: Tap = SILENT
    ) -> Float[Tensor, "batch output vocabulary"]:
        """Logits: the output distribution over the vocabulary, before its softmax."""
        return tap("logits", self.projection(hidden))

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target_in: Int[Tensor, "batch target"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch output vocabulary"]:
        """Logits of each output; arguments as of `hidden`."""
        return self.project(self.hidden(source, source_mask, target_in, tap), tap)

    def parameter_count(self) -> int:
        """Number of learned parameters; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())


class Transformer(Network):
    """Two stacks, the encoder and the decoder, and the output projection.

    Args:
        config: sizes and options.
        source_vocabulary: tokens of the source side.
        target_vocabulary: tokens of the target side; None when both sides share one vocabulary.
    """

    def __init__(self, config: ModelConfig, source_vocabulary: int, target_vocabulary: int | None = None) -> None:
        super().__init__(config)
        targets = target_vocabulary or source_vocabulary
        one_embedding = target_vocabulary is None and config.ties_embeddings
        # A seed stands for the same weights only as long as they are drawn in this order; see also `in_order`.
        target_embedding = nn.Embedding(targets, config.width)
        # A weight on the device "meta" is not drawn: it is replaced below.
        replaced = torch.empty(source_vocabulary, config.width, device="meta") if one_embedding else None
        source_embedding = nn.Embedding(source_vocabulary, config.width, _weight=replaced)
        source_positions, target_positions = (POSITIONS[config.positions](config, causal) for causal in (False, True))
        self.encoder = Stack(config, source_embedding, source_positions, causal=False, cross=False)
        self.decoder = Stack(config, target_embedding, target_positions, causal=True, cross=True)
        self.projection = nn.Linear(config.width, targets, bias=config.output_bias)
        self._initialise()
        # Ties share a parameter and not a module, which torch.func.functional_call would not restore (torch 2.13).
        if config.ties_output:
            self.projection.weight = target_embedding.weight
        if one_embedding:
            source_embedding.weight = target_embedding.weight

    def in_order(self) -> nn.ModuleList:
        """As `Network.in_order`: the order of versions before there were stacks."""
        encoder, decoder = self.encoder, self.decoder
        parts = (decoder.embedding, encoder.embedding, encoder.positions, decoder.positions)
        norms = (encoder.embedding_norm, decoder.embedding_norm, encoder.norm, decoder.norm)
        return nn.ModuleList((*parts, encoder.blocks, decoder.blocks, *norms, self.projection))

    def encode(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch source width"]:
        """The encoder's output, the memory: the hidden state of every source position."""
        memory: Tensor = self.encoder(source, source_mask, tap=tap.within("encoder"))
        return memory

    def decode(
        self,
        target_in: Int[Tensor, "batch target"],
        memory: Float[Tensor, "batch source width"],
        source_mask: Bool[Tensor, "batch source"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch target width"]:
        """The hidden state at every target position, from the true tokens before it (teacher forcing)."""
        hidden: Tensor = self.decoder(target_in, None, memory, source_mask, tap.within("decoder"))
        return hidden

    def hidden(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target_in: Int[Tensor, "batch target"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch target width"]:
        """`decode` of the target input, given `encode` of the source."""
        return self.decode(target_in, self.encode(source, source_mask, tap), source_mask, tap)

    def start(
        self, memory: Float[Tensor, "rows source width"], source_mask: Bool[Tensor, "rows source"], limit: int
    ) -> Cache:
        """The cache before the first step, with capacity for `limit` steps."""
        return self.decoder.start(len(memory), limit, memory, source_mask)

    def read(self, source: Int[Tensor, "rows source"], source_mask: Bool[Tensor, "rows source"], limit: int) -> Cache:
        """The cache after the source was read, and before the first step: `encode` and `start`."""
        return self.start(self.encode(source, source_mask), source_mask, limit)

    def step(self, tokens: Int[Tensor, " rows"], cache: Cache) -> tuple[Float[Tensor, "rows vocabulary"], Cache]:
        """Logits after one more token in each row (BOS at first), and the cache for the next step."""
        hidden, cache = self.decoder.step(tokens[:, None], cache)
        return self.projection(hidden[:, 0]), cache
