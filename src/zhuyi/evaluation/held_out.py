"""Dev and test sets: lines, which are answered and scored, or running text, on which the loss is computed."""

from typing import Protocol

import numpy as np

from zhuyi.config import Config, Metric
from zhuyi.data.batches import Batch, collate, token_counts
from zhuyi.data.build import build_store
from zhuyi.data.corpus import Corpus, Text
from zhuyi.data.masked import Masked
from zhuyi.data.prepare import examples
from zhuyi.data.sequences import Sequences
from zhuyi.data.store import Store
from zhuyi.data.windows import Windows
from zhuyi.errors import ConfigError
from zhuyi.evaluation.lines import Evaluation, evaluate
from zhuyi.evaluation.running_text import ReadsText, score_masked, score_text
from zhuyi.evaluation.score import shown_with
from zhuyi.text.tokenizer import PAD, Tokenizer, Tokenizers
from zhuyi.translator import Translator

SAMPLE_TOKENS = 40
"""Tokens of a text that a sample shows, and that the model writes for it."""


class HeldOut(Protocol):
    """A dev or test set."""

    def __len__(self) -> int:
        """Its lines or windows."""

    def evenly(self, count: int) -> "HeldOut":
        """`count` of them, evenly spread."""

    def tokens(self, translator: Translator) -> float:
        """The mean number of tokens computed for one line or window, over all beams."""

    def evaluate(self, translator: Translator, metric: Metric) -> Evaluation:
        """Score the model as it is now; `metric` is among the scores."""

    def sample(self, translator: Translator, evaluation: Evaluation, number: int) -> tuple[str, str, str]:
        """Line or window `number` as a text: the input, the right answer, and the model's answer."""


class Lines:
    """Lines of text and their targets.

    Args:
        sources: the lines to translate.
        targets: the right answer to each.
    """

    def __init__(self, sources: list[str], targets: list[str]) -> None:
        self.sources, self.targets = sources, targets

    @classmethod
    def read(cls, source: str | None, target: str | None) -> "Lines | None":
        """Read the pairs of two files; None if one of them is not given."""
        if source is None or target is None:
            return None
        pairs = list(Corpus(source, target))
        return cls([pair.source for pair in pairs], [pair.target for pair in pairs])

    def __repr__(self) -> str:
        return f"Lines(sources={self.sources!r}, targets={self.targets!r})"  # by which a resumed run checks its dev set

    def __len__(self) -> int:
        return len(self.sources)

    def evenly(self, count: int) -> "Lines":
        """As `HeldOut.evenly`."""
        chosen = evenly(len(self), count)
        return Lines([self.sources[i] for i in chosen], [self.targets[i] for i in chosen])

    def tokens(self, translator: Translator) -> float:
        """As `HeldOut.tokens`: the most that may be written; for labels, what is read."""
        source_tokens = np.array([len(tokens) + 1 for tokens in translator.tokenizers.source.encode(self.sources)])
        decoding, model = translator.config.decoding, translator.config.model
        if model.shape == "encoder":
            return float(source_tokens.mean())
        return decoding.rows * float(decoding.limits(source_tokens, model.max_length).mean())

    def evaluate(self, translator: Translator, metric: Metric) -> Evaluation:
        """As `HeldOut.evaluate`."""
        return evaluate(translator, self.sources, self.targets, shown_with(metric))

    def sample(self, translator: Translator, evaluation: Evaluation, number: int) -> tuple[str, str, str]:
        """As `HeldOut.sample`."""
        return self.sources[number], self.targets[number], evaluation.hypotheses[number]


class RunningText:
    """Windows of a text.

    Args:
        windows: of the text's tokens.
        size: of the text, in bytes of UTF-8.
        name: identifies the content of the text.
        chosen: which windows are scored. Unset: all of them.
    """

    ends = Windows.ends

    def __init__(self, windows: Sequences, size: int, name: str, chosen: list[int] | None = None) -> None:
        self._windows, self._size, self._name = windows, size, name
        self._chosen = np.arange(len(windows.target_lengths)) if chosen is None else np.array(chosen)
        self.source_lengths = windows.source_lengths[self._chosen]
        self.target_lengths = windows.target_lengths[self._chosen]

    @staticmethod
    def of(config: Config, tokenizers: Tokenizers, text: Text, store: Store) -> "RunningText":
        """A text and its tokens, as a model with this configuration is scored on it."""
        kind = MaskedText if config.training.objective == "masked" else RunningText
        return kind(examples(config, store, tokenizers, epoch=None), store.outcome.bytes, text.fingerprint())

    @staticmethod
    def read(text: str, config: Config, tokenizers: Tokenizers) -> "RunningText":
        """Read a text from files, named as in `data.text`."""
        opened = Text(text)
        store = build_store(opened, tokenizers, None, config.data.long_lines)
        return RunningText.of(config, tokenizers, opened, store)

    def __repr__(self) -> str:
        return self._name  # by which a resumed run checks its dev set

    def __len__(self) -> int:
        return len(self._chosen)

    def source(self, window: int) -> np.ndarray:
        """As `Sequences.source`."""
        return np.asarray(self._windows.source(int(self._chosen[window])))

    def target(self, window: int) -> np.ndarray:
        """As `Sequences.target`."""
        return np.asarray(self._windows.target(int(self._chosen[window])))

    def collate(self, pairs: np.ndarray) -> Batch:
        """As `Collated.collate`."""
        return collate(self._windows, self._chosen[pairs])

    def text(self, window: int) -> np.ndarray:
        """The tokens of a window."""
        return self.target(window)

    def count(self, token: int) -> int:
        """How often a token occurs."""
        return sum(int((self.text(window) == token).sum()) for window in range(len(self)))

    def evenly(self, count: int) -> "RunningText":
        """As `HeldOut.evenly`; the bytes are in proportion to the tokens."""
        chosen = self._chosen[evenly(len(self), count)]
        share = self._windows.target_lengths[chosen].sum() / self.target_lengths.sum()
        return type(self)(self._windows, round(self._size * float(share)), self._name, chosen.tolist())

    def tokens(self, translator: Translator) -> float:
        """As `HeldOut.tokens`."""
        return sum(token_counts(self, slice(None))) / len(self)

    def evaluate(self, translator: Translator, metric: Metric) -> Evaluation:
        """As `HeldOut.evaluate`."""
        engine, config = translator.engine, translator.config
        assert isinstance(engine, ReadsText)
        return score_text(engine, self, self._size, config.model.max_length - 1, config.text)

    def sample(self, translator: Translator, evaluation: Evaluation, number: int) -> tuple[str, str, str]:
        """As `HeldOut.sample`: the beginning of a window, how it goes on, and how the model continues it."""
        window = self.text(number).tolist()
        half = min(len(window) // 2, SAMPLE_TOKENS)
        decoding = translator.decoding(strategy="sampling", n_best=1)
        stream = translator.engine.stream(window[:half], decoding)
        answer = [token for token, _ in zip(stream, range(SAMPLE_TOKENS), strict=False)]
        return _shown(translator.tokenizers.target, window[:half], window[half : half + SAMPLE_TOKENS], answer)


class MaskedText(RunningText):
    """Windows of a text, some tokens of which are masked (`data.masked`)."""

    ends = Masked.ends

    def text(self, window: int) -> np.ndarray:
        """As `RunningText.text`."""
        return self.source(window)

    def evaluate(self, translator: Translator, metric: Metric) -> Evaluation:
        """As `HeldOut.evaluate`."""
        assert isinstance(translator.engine, ReadsText)
        return score_masked(translator.engine, self, translator.config.text)

    def sample(self, translator: Translator, evaluation: Evaluation, number: int) -> tuple[str, str, str]:
        """As `HeldOut.sample`: the beginning of a window with its masks, as it is, and as the model fills it in."""
        batch = self.collate(np.array([number]))
        hidden, asked = batch.source[0, :-1].tolist()[:SAMPLE_TOKENS], batch.target_out[0] != PAD
        ((best, *_),) = translator.engine.decode([hidden], translator.config.decoding)
        filled = [new if each else old for new, old, each in zip(best.tokens, hidden, asked, strict=False)]
        return _shown(translator.tokenizers.target, hidden, self.text(number).tolist()[:SAMPLE_TOKENS], filled)


def evaluate_text(translator: Translator, text: str) -> Evaluation:
    """Score a model of running text: bits a byte of a language model, or accuracy of masked tokens; and the loss.

    Args:
        translator: of the model, with the torch engine.
        text: files, named as in `data.text`.

    Raises:
        ConfigError: if the model was trained on pairs, or if its engine does not compute losses of a corpus.
        DataError: if the text cannot be read, or is empty.
    """
    if translator.config.data.text is None:
        raise ConfigError("the model was trained on pairs: zhuyi.evaluate scores it")
    if not isinstance(translator.engine, ReadsText):
        raise ConfigError('running text is scored by the torch engine: zhuyi.load(DIRECTORY, engine="torch")')
    held_out = RunningText.read(text, translator.config, translator.tokenizers)
    return held_out.evaluate(translator, translator.config.training.metric)


def _shown(tokenizer: Tokenizer, *tokens: list[int]) -> tuple[str, str, str]:
    given, right, answer = (text.replace("\n", " ⏎ ") for text in tokenizer.decode(tokens))
    return given, right, answer


def evenly(size: int, count: int) -> list[int]:
    """`count` of the numbers below `size`, evenly spread."""
    return [number * size // count for number in range(count)]
