"""Three shapes of one Transformer: the same stacks, put together in three ways.

    encoder-decoder    encoder(source) → memory;  decoder(BOS target), which attends to the memory → target EOS
    decoder            decoder(source BOS target), one sequence → target EOS (GPT: Radford et al. 2018)
    encoder            encoder(source) → a label for the line, or one for each token (BERT: Devlin et al. 2019)

All take the same batches and have the same names for their parts, so training, checkpoints and the microscope are the
same for each. The decoder shape with an empty source is a language model: BOS text.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zhuyi.config import ModelConfig, Shape
from zhuyi.model.cache import Cache
from zhuyi.model.positions import POSITIONS
from zhuyi.model.stack import Stack
from zhuyi.model.tap import SILENT, Tap
from zhuyi.model.transformer import Network, Transformer


class DecoderOnly(Network):
    """One causal stack without cross-attention: source and target are one sequence, with BOS between them.

    Args:
        config: sizes and options.
        source_vocabulary: tokens of both sides, which share one vocabulary.
        target_vocabulary: None.
    """

    def __init__(self, config: ModelConfig, source_vocabulary: int, target_vocabulary: int | None = None) -> None:
        assert target_vocabulary is None, "the decoder shape has one vocabulary"
        super().__init__(config)
        embedding = nn.Embedding(source_vocabulary, config.width)
        positions = POSITIONS[config.positions](config, True)
        self.decoder = Stack(config, embedding, positions, causal=True, cross=False)
        self.projection = nn.Linear(config.width, source_vocabulary, bias=config.output_bias)
        self._initialise()
        if config.ties_output:
            self.projection.weight = embedding.weight

    def in_order(self) -> nn.ModuleList:
        """As `Network.in_order`."""
        return nn.ModuleList((*self.decoder.in_order(), self.projection))

    def hidden(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target_in: Int[Tensor, "batch target"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch target width"]:
        """The hidden state at every target position, from the source and the true tokens before it."""
        tokens, first = join(source, source_mask, target_in)
        hidden: Tensor = self.decoder(tokens, None, tap=tap.within("decoder"))
        place = first[:, None] + torch.arange(target_in.shape[1], device=first.device)
        return hidden.gather(1, place[:, :, None].expand(-1, -1, hidden.shape[2]))

    def read(self, source: Int[Tensor, "rows source"], source_mask: Bool[Tensor, "rows source"], limit: int) -> Cache:
        """The cache after the source was read, all its positions at once, with capacity for `limit` steps.

        All rows stand at the same position, so their sources must have the same length.
        """
        tokens = source[:, : source_mask.shape[1] - 1]  # without EOS: BOS comes next
        assert source_mask.all(), "sources of different lengths: read each length by itself"
        cache = self.decoder.start(len(source), tokens.shape[1] + limit)
        return self.decoder.step(tokens, cache)[1] if tokens.shape[1] else cache

    def step(self, tokens: Int[Tensor, " rows"], cache: Cache) -> tuple[Float[Tensor, "rows vocabulary"], Cache]:
        """Logits after one more token in each row (BOS at first), and the cache for the next step."""
        hidden, cache = self.decoder.step(tokens[:, None], cache)
        return self.projection(hidden[:, 0]), cache


def join(
    source: Int[Tensor, "batch source"],
    source_mask: Bool[Tensor, "batch source"],
    target_in: Int[Tensor, "batch target"],
) -> tuple[Int[Tensor, "batch time"], Int[Tensor, " batch"]]:
    """Each row's source, without its EOS and padding, and its target input; and the position where that begins.

    What stands after the target input is noise, which a causal stack does not look at.
    """
    first = (source_mask.sum(dim=1) - 1).clamp(min=0)
    index = torch.arange(max(source.shape[1] - 1, 0) + target_in.shape[1], device=source.device)
    of_target = index - first[:, None]
    place = torch.where(of_target < 0, index, source.shape[1] + of_target.clamp(max=target_in.shape[1] - 1))
    return torch.cat([source, target_in], dim=1).gather(1, place), first


class EncoderOnly(Network):
    """One stack that sees both directions: its states, or their mean, give labels.

    Args:
        config: sizes and options.
        source_vocabulary: tokens of the source side.
        target_vocabulary: number of labels; None when the labels are the source's tokens (masked pre-training).
    """

    def __init__(self, config: ModelConfig, source_vocabulary: int, target_vocabulary: int | None = None) -> None:
        super().__init__(config)
        embedding = nn.Embedding(source_vocabulary, config.width)
        positions = POSITIONS[config.positions](config, False)
        self.encoder = Stack(config, embedding, positions, causal=False, cross=False)
        self.projection = nn.Linear(config.width, target_vocabulary or source_vocabulary, bias=config.output_bias)
        self._initialise()
        if target_vocabulary is None and config.ties_output:
            self.projection.weight = embedding.weight

    def in_order(self) -> nn.ModuleList:
        """As `Network.in_order`."""
        return nn.ModuleList((*self.encoder.in_order(), self.projection))

    def hidden(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target_in: Int[Tensor, "batch target"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch output width"]:
        """The states of all source positions; with `labels = "line"` their mean, which is one. There is no target."""
        states: Tensor = self.encoder(source, source_mask, tap=tap.within("encoder"))
        return states if self.config.labels == "token" else mean_pool(states, source_mask, tap)


def mean_pool(
    states: Float[Tensor, "batch source width"], source_mask: Bool[Tensor, "batch source"], tap: Tap = SILENT
) -> Float[Tensor, "batch 1 width"]:
    """The mean of the states at all positions that are not padding."""
    weights = (source_mask / source_mask.sum(dim=1, keepdim=True)).to(states.dtype)
    return tap("pooled", weights[:, None] @ states)


SHAPES: dict[Shape, Callable[[ModelConfig, int, int | None], Network]] = {
    "encoder-decoder": Transformer,
    "decoder": DecoderOnly,
    "encoder": EncoderOnly,
}
"""From a configuration, and the sizes of the source's and the target's vocabulary (None: one for both), to a model."""
