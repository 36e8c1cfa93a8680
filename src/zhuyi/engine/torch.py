"""The engine that computes with torch: it batches sources of like length, and searches on the CPU or a GPU."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from zhuyi.checkpoint import model_of
from zhuyi.config import DecodingConfig, Precision
from zhuyi.data.batches import collate, pad_sources, plan_in_order
from zhuyi.data.sequences import InMemory
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.decoding.search import search
from zhuyi.directory import StoredModel
from zhuyi.engine.protocol import Tokens
from zhuyi.errors import ConfigError
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import PAD

TOKENS_PER_BATCH = 4096
"""Of sources and outputs together, for one row a line; more rows take fewer lines at once."""


class TorchEngine:
    """An `Engine` around a `Transformer`, in float32.

    Args:
        transformer: is moved to the device, and put into evaluation mode. Who trains it meanwhile puts it into that
            mode again before the engine is used.
        max_length: of the model: no output has more tokens, EOS counted.
        device: where to compute: "auto" is the GPU if there is one.

    Raises:
        ConfigError: if there is no such device.
    """

    precision: Precision = "float32"

    def __init__(self, transformer: Transformer, max_length: int, device: str = "auto") -> None:
        self.device = _device(device)
        self.transformer = transformer.to(self.device).eval()
        self.max_length = max_length

    @classmethod
    def of(cls, model: StoredModel, device: str = "auto") -> "TorchEngine":
        """An engine around the network of a model directory.

        Raises:
            CheckpointError: if the weights are not those of its configuration.
            ConfigError: if there is no such device.
        """
        return cls(model_of(model).transformer, model.config.model.max_length, device)

    def decode(
        self,
        sources: Sequence[Tokens],
        decoding: DecodingConfig,
        lines: Sequence[int] | None = None,
        prefix: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        """As `Engine.decode`; sources of like length go together."""
        corpus, lines = InMemory(sources, sources), range(len(sources)) if lines is None else lines
        found: list[list[Hypothesis]] = [[] for _ in sources]
        with torch.inference_mode():
            for numbers in plan_in_order(corpus, max(1, TOKENS_PER_BATCH // decoding.rows)):
                source, source_mask = pad_sources([sources[number] for number in numbers])
                source, source_mask = source.to(self.device), source_mask.to(self.device)
                numbered = [lines[number] for number in numbers]
                hypotheses = search(
                    *(self.transformer, source, source_mask, decoding, self.max_length), prefix=prefix, lines=numbered
                )
                for number, alternatives in zip(numbers.tolist(), hypotheses, strict=True):
                    found[number] = alternatives
        return found

    def loss(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> float:
        """As `Engine.loss`."""
        corpus = InMemory(sources, targets)
        total, count = 0.0, 0
        with torch.inference_mode():
            for pairs in plan_in_order(corpus, TOKENS_PER_BATCH):
                batch = collate(corpus, pairs).to(self.device)
                logits = self.transformer(batch.source, batch.source_mask, batch.target_in)
                total += F.cross_entropy(
                    logits.flatten(0, 1).float(), batch.target_out.flatten(), ignore_index=PAD, reduction="sum"
                ).item()
                count += batch.target_tokens
        return total / count


def sees_gpu() -> bool:
    """Whether there is a GPU that torch can compute on."""
    return torch.cuda.is_available()


def _device(name: str) -> torch.device:
    available = sees_gpu()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r} is not one of auto, cpu, cuda") from error
    if device.type == "cuda" and not available:
        raise ConfigError(f"device {name!r}: torch sees no GPU; use cpu")
    return device
