"""The object that users hold: strings in, hypotheses out. As many as came in, in order, always."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from zhuyi.checkpoint import Model, load_model
from zhuyi.config import DecodingConfig, changed
from zhuyi.data.batches import collate, pad_sources, plan_in_order
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.decoding.search import search
from zhuyi.errors import ConfigError
from zhuyi.microscope.trace import Trace, WhatIf, look
from zhuyi.text.tokenizer import PAD

TOKENS_PER_BATCH = 4096
"""Of sources and outputs together, for one beam; a wider beam takes fewer lines at once."""


@dataclass(frozen=True)
class Translation:
    """One translation of a line.

    `score` is the log-probability over the length penalty; `token_logprobs` are those of `pieces`, and of EOS after
    them if `finished`; it is False where the length limit came before EOS.
    """

    text: str
    score: float
    pieces: list[str]
    token_logprobs: list[float]
    finished: bool


class Translator:
    """A model and its tokenizers, ready for use.

    Args:
        model: as `load_model` gives it.
        device: where to compute: "auto" is the GPU if there is one.

    Raises:
        ConfigError: if there is no such device.
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        self.model, self.config, self.tokenizers = model, model.config, model.tokenizers
        self.text = model.config.text
        self.device = _device(device)
        self.transformer = model.transformer.to(self.device)

    @property
    def longest(self) -> int:
        """Most tokens of a line that the model can read, its EOS not counted."""
        return self.config.model.max_length - 1

    def translate(
        self,
        lines: Sequence[str],
        *,
        beam: int | None = None,
        length_penalty: float | None = None,
        max_ratio: float | None = None,
        on_cut: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """The best translation of each line; an empty line gives an empty line.

        Args:
            lines: the text, one sentence each.
            beam: overrides `decoding.beam` of the model's configuration.
            length_penalty: overrides `decoding.length_penalty`.
            max_ratio: overrides `decoding.max_ratio`.
            on_cut: told the number (from 0) and the tokens of each line too long for the model, which is cut.

        Raises:
            ConfigError: as for the section in a file.
        """
        decoding = self.decoding(beam=beam, length_penalty=length_penalty, max_ratio=max_ratio, n_best=1)
        return [best[0].text for best in self.hypotheses(lines, decoding, on_cut)]

    def hypotheses(
        self,
        lines: Sequence[str],
        decoding: DecodingConfig | None = None,
        on_cut: Callable[[int, int], None] | None = None,
    ) -> list[list[Translation]]:
        """Up to `decoding.n_best` translations of each line, best first, at least one."""
        decoding = decoding or self.config.decoding
        encoded = self.tokenizers.source.encode(lines)
        for number, tokens in enumerate(encoded):
            if len(tokens) > self.longest:
                if on_cut is not None:
                    on_cut(number, len(tokens))
                encoded[number] = tokens[: self.longest]
        found: list[list[Translation]] = [[Translation("", 0.0, [], [], True)] for _ in lines]
        wanted = [number for number, tokens in enumerate(encoded) if tokens]
        for numbers, hypotheses in self._search([encoded[number] for number in wanted], decoding):
            for number, alternatives in zip(numbers, hypotheses, strict=True):
                found[wanted[number]] = self._texts(alternatives)
        return found

    def answers(self, lines: Sequence[str], n_best: int) -> list[list[Translation]]:
        """One to `n_best` translations of each line, best first, as `evaluate` wants them.

        Raises:
            ConfigError: if `n_best` is more than the beam.
        """
        return self.hypotheses(lines, self.decoding(n_best=n_best))

    @property
    def search_signature(self) -> str:
        """The settings of its search, as a part of a score's signature."""
        decoding = self.config.decoding
        limits = {"ratio": decoding.max_ratio, "extra": decoding.max_extra}
        parts = {"beam": decoding.beam, "alpha": decoding.length_penalty, **limits}
        return "|".join(f"{name}:{value:g}" for name, value in parts.items() if value is not None)

    def look(
        self,
        line: str,
        *,
        target: str | None = None,
        beam: int | None = None,
        length_penalty: float | None = None,
        what_if: WhatIf = WhatIf(),  # noqa: B008  # frozen
    ) -> Trace:
        """Translate one line with everything recorded: every query, key, score, weight, step and beam.

        Args:
            line: a sentence.
            target: a reference, to see what the model makes of the right answer.
            beam: overrides `decoding.beam` of the model's configuration.
            length_penalty: overrides `decoding.length_penalty`.
            what_if: heads, positions or masks to be switched off meanwhile.

        Raises:
            DataError: if a text is empty, or too long to be looked at.
            ConfigError: as for the section in a file, or if a head is not there.
            CheckpointError: if the model's answer is not a number.
        """
        decoding = self.decoding(beam=beam, length_penalty=length_penalty)
        with self._evaluating():
            return look(self.model, line, decoding, target, what_if)

    def loss(self, sources: Sequence[str], targets: Sequence[str]) -> float:
        """Mean cross entropy per target token in nats: EOS included, no label smoothing, teacher forcing.

        Lines too long for the model are cut, as in `translate`.
        """
        longest = self.longest
        corpus = _InMemory(
            [tokens[:longest] for tokens in self.tokenizers.source.encode(sources)],
            [tokens[:longest] for tokens in self.tokenizers.target.encode(targets)],
        )
        total, count = 0.0, 0
        with torch.inference_mode(), self._evaluating():
            for pairs in plan_in_order(corpus, TOKENS_PER_BATCH):
                batch = collate(corpus, pairs).to(self.device)
                logits = self.transformer(batch.source, batch.source_mask, batch.target_in)
                total += F.cross_entropy(
                    logits.flatten(0, 1).float(), batch.target_out.flatten(), ignore_index=PAD, reduction="sum"
                ).item()
                count += batch.target_tokens
        return total / count

    def decoding(self, **settings: Any) -> DecodingConfig:
        """The model's own `decoding` section, with the settings given here in the place of its own; None changes none.

        Where the beam alone is given, it may be less than the model's own `n_best`, which it then bounds.

        Raises:
            ConfigError: as for the section in a file.
        """
        given = {key: value for key, value in settings.items() if value is not None}
        if isinstance(given.get("beam"), int) and "n_best" not in given:
            given["n_best"] = max(1, min(self.config.decoding.n_best, given["beam"]))
        return changed(self.config.decoding, given)

    def with_decoding(self, decoding: DecodingConfig) -> "Translator":
        """The same model, whose own `decoding` section is another one."""
        config = self.config.model_copy(update={"decoding": decoding})
        return Translator(replace(self.model, config=config), str(self.device))

    def _search(
        self, encoded: list[list[int]], decoding: DecodingConfig
    ) -> Iterator[tuple[list[int], list[list[Hypothesis]]]]:
        """Hypotheses batch by batch, with the numbers of their lines; lines of like length go together."""
        max_length = self.config.model.max_length
        corpus = _InMemory(encoded, encoded)
        with torch.inference_mode(), self._evaluating():
            for numbers in plan_in_order(corpus, max(1, TOKENS_PER_BATCH // decoding.beam)):
                source, source_mask = pad_sources([encoded[number] for number in numbers])
                source, source_mask = source.to(self.device), source_mask.to(self.device)
                yield numbers.tolist(), search(self.transformer, source, source_mask, decoding, max_length)

    def _texts(self, hypotheses: list[Hypothesis]) -> list[Translation]:
        target = self.tokenizers.target
        texts = target.decode([hypothesis.tokens for hypothesis in hypotheses])
        return [
            Translation(text, found.score, target.pieces(found.tokens), found.token_logprobs, found.finished)
            for text, found in zip(texts, hypotheses, strict=True)
        ]

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Dropout off for a while: in training, the model that is validated is the one that is trained."""
        was_training = self.transformer.training
        self.transformer.eval()
        try:
            yield
        finally:
            self.transformer.train(was_training)


def load(directory: str | Path, device: str = "auto") -> Translator:
    """The translator of a model directory.

    Raises:
        CheckpointError: if it is missing, incomplete or damaged.
        ConfigError: if there is no such device.
    """
    return Translator(load_model(directory), device)


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r} is not one of auto, cpu, cuda") from error
    if device.type == "cuda" and not available:
        raise ConfigError(f"device {name!r}: torch sees no GPU; use cpu")
    return device


class _InMemory:
    """A few tokenised pairs, as `data.batches` wants them."""

    def __init__(self, sources: list[list[int]], targets: list[list[int]]) -> None:
        self._sources, self._targets = sources, targets
        self.source_lengths = np.array([len(tokens) for tokens in sources], dtype=np.int64)
        self.target_lengths = np.array([len(tokens) for tokens in targets], dtype=np.int64)

    def source(self, pair: int) -> list[int]:
        return self._sources[pair]

    def target(self, pair: int) -> list[int]:
        return self._targets[pair]
