"""The engine that computes with torch: it batches sources of similar length, and searches on the CPU or a GPU."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from zhuyi.checkpoint import model_of
from zhuyi.config import DecodingConfig, Precision
from zhuyi.data.batches import collate, pad_sources, plan_in_order
from zhuyi.data.labelled import Labelled
from zhuyi.data.sequences import InMemory, Sequences
from zhuyi.decoding.ensemble import Ensemble
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.decoding.labels import label
from zhuyi.decoding.sampling import draw, random_words, sampling_weights
from zhuyi.decoding.search import Stepper, Strategy, log_probabilities, search
from zhuyi.directory import StoredModel
from zhuyi.engine.dynamic import DynamicBatches
from zhuyi.engine.protocol import Tokens
from zhuyi.errors import ConfigError, ZhuyiWarning
from zhuyi.model.broken import symptoms
from zhuyi.model.shapes import DecoderOnly, EncoderOnly
from zhuyi.model.transformer import Network
from zhuyi.text.tokenizer import BOS, EOS, PAD

TOKENS_PER_BATCH = 4096
"""Of sources and outputs together, for one row a line; more rows take fewer lines at once."""


@dataclass(frozen=True)
class Losses:
    """The cross entropies of a corpus's targets under a model."""

    rows: npt.NDArray[np.float64]
    """`pairs 3`: the sum of the cross entropies of a pair's target tokens in nats, the number of these tokens, and how
    many of them are the most probable token under the model."""

    @property
    def nats(self) -> float:
        """Sum of the cross entropies of all tokens."""
        return float(self.rows[:, 0].sum())

    @property
    def tokens(self) -> int:
        """Target tokens of all pairs."""
        return int(self.rows[:, 1].sum())

    @property
    def right(self) -> int:
        """Target tokens of all pairs that are the most probable token under the model."""
        return int(self.rows[:, 2].sum())

    @property
    def mean(self) -> float:
        """Nats a token."""
        return self.nats / max(self.tokens, 1)


class TorchEngine:
    """An `Engine` around a `Network`, or an ensemble of them, in float32.

    Args:
        transformer: is moved to the device and put into evaluation mode. If it is trained afterwards, it must be put
            into evaluation mode again before the engine is used.
        max_length: of the model: no output has more tokens, EOS counted.
        device: where to compute: "auto" is the GPU if there is one.

    Raises:
        ConfigError: if there is no such device.
    """

    precision: Precision = "float32"

    def __init__(self, transformer: Network | Ensemble, max_length: int, device: str = "auto") -> None:
        self.device = device_of(device)
        self.transformer = transformer.to(self.device).eval()
        self.max_length = max_length
        self._waiting = DynamicBatches()

    @classmethod
    def of(cls, models: Sequence[StoredModel], device: str = "auto") -> "TorchEngine":
        """An engine around the network of a model directory, or an ensemble of several.

        A ZhuyiWarning says so if a model lacks a part (`model.without`).

        Raises:
            CheckpointError: if the weights are not those of its configuration.
            ConfigError: if there is no such device.
        """
        for model in models:
            if without := model.config.model.without:
                warnings.warn(f"this model was {symptoms(without)}", ZhuyiWarning, stacklevel=1)
        networks = [model_of(model).transformer for model in models]
        network = networks[0] if len(networks) == 1 else Ensemble(networks)
        return cls(network, min(model.config.model.max_length for model in models), device)

    @property
    def network(self) -> Network:
        """The network; an ensemble has several instead."""
        assert isinstance(self.transformer, Network)
        return self.transformer

    def decode(
        self,
        sources: Sequence[Tokens],
        decoding: DecodingConfig,
        lines: Sequence[int] | None = None,
        prefix: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        """As `Engine.decode`; sources of similar length are batched."""
        lines = range(len(sources)) if lines is None else lines
        found: list[list[Hypothesis]] = [[] for _ in sources]
        with torch.inference_mode():
            for numbers in self._batches(sources, decoding.rows):
                source, source_mask = pad_sources([sources[number] for number in numbers])
                source, source_mask = source.to(self.device), source_mask.to(self.device)
                numbered = [lines[number] for number in numbers]
                hypotheses = answer(
                    *(self.transformer, source, source_mask, decoding, self.max_length), prefix=prefix, lines=numbered
                )
                for number, alternatives in zip(numbers.tolist(), hypotheses, strict=True):
                    found[number] = alternatives
        return found

    def submit(
        self, source: Tokens, decoding: DecodingConfig, line: int = 0, prefix: Sequence[int] = ()
    ) -> "Future[list[Hypothesis]]":
        """As `Engine.submit`: it waits for the batch that is being decoded, and joins the next one."""
        return self._waiting.submit(self.decode, source, decoding, line, prefix)

    def _batches(self, sources: Sequence[Tokens], rows: int) -> list[np.ndarray]:
        """The numbers of the sources of each batch: of similar length, or of equal length where none is padded."""
        batches = plan_in_order(InMemory(sources, sources), max(1, TOKENS_PER_BATCH // rows))
        if self.transformer.config.shape != "decoder":
            return batches
        lengths = [groupby(numbers, key=lambda number: len(sources[number])) for numbers in batches]
        return [np.array(list(same)) for groups in lengths for _, same in groups]

    def stream(self, text: Tokens, decoding: DecodingConfig, line: int = 0) -> Iterator[int]:
        """As `Engine.stream`."""
        network, place = self.transformer, len(text)
        assert isinstance(network, DecoderOnly)
        lines, sample = (torch.tensor([number], device=self.device) for number in (line, 0))
        new = torch.tensor([[BOS, *text]], device=self.device)
        with torch.inference_mode():
            cache = network.decoder.start(1, self.max_length)
        while place < self.max_length - 1:
            with torch.inference_mode():
                hidden, cache = network.decoder.step(new, cache)
                log_probs = log_probabilities(network.project(hidden[:, -1:])[:, 0])
                words = random_words(decoding.seed, lines, place, sample)
                new = draw(sampling_weights(log_probs, decoding), words)[:, None]
            if (token := int(new)) == EOS:
                return
            yield token
            place += 1

    def loss(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> float:
        """As `Engine.loss`."""
        pairs, network = InMemory(sources, targets), self.transformer
        return self.losses(Labelled(pairs, network.config.labels) if isinstance(network, EncoderOnly) else pairs).mean

    def losses(self, corpus: Sequences) -> Losses:
        """The cross entropy of all target tokens of a corpus: teacher forcing, no label smoothing."""
        rows = np.zeros((len(corpus.target_lengths), 3))
        with torch.inference_mode():
            for pairs in plan_in_order(corpus, TOKENS_PER_BATCH):
                batch = collate(corpus, pairs).without(self.transformer.config.without).to(self.device)
                logits = self.transformer(batch.source, batch.source_mask, batch.target_in)
                nats = F.cross_entropy(logits.mT.float(), batch.target_out, ignore_index=PAD, reduction="none")
                counted = batch.target_out != PAD
                right = (logits.argmax(dim=-1) == batch.target_out) & counted
                rows[pairs] = torch.stack([each.double().sum(dim=1) for each in (nats, counted, right)], dim=1).cpu()
        return Losses(rows)


def answer(
    network: Network | Ensemble,
    source: Int[Tensor, "batch source"],
    source_mask: Bool[Tensor, "batch source"],
    decoding: DecodingConfig,
    max_length: int,
    observe: Callable[[Strategy], None] | None = None,
    prefix: Sequence[int] = (),
    lines: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """The output of a network or an ensemble: labels, or what `search` finds; arguments as of `search`."""
    if isinstance(network, EncoderOnly):
        return label(network, source, source_mask, decoding.n_best)
    assert isinstance(network, Stepper)
    return search(network, source, source_mask, decoding, max_length, observe, prefix, lines)


def sees_gpu() -> bool:
    """Whether there is a GPU that torch can compute on."""
    return torch.cuda.is_available()


def device_of(name: str) -> torch.device:
    """The device of that name; "auto" is the GPU if there is one.

    Raises:
        ConfigError: if there is no such device.
    """
    gpus = torch.cuda.device_count() if sees_gpu() else 0
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    known = re.fullmatch("cpu|cuda(?::(0|[1-9][0-9]*))?", name)
    if known is None:
        raise ConfigError(f"device {name!r} is not one of auto, cpu, cuda")
    if name != "cpu" and int(known[1] or 0) >= gpus:
        raise ConfigError(
            f"device {name!r}: torch sees {gpus or 'no'} GPU{'s' * (gpus > 1)}; use {'cuda' if gpus else 'cpu'}"
        )
    return torch.device(name)
