"""The object that users work with: lines in, translations out, one for each line and in their order."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from zhuyi.config import Config, DecodingConfig, TextConfig, changed
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.directory import Origin
from zhuyi.engine.protocol import Engine
from zhuyi.errors import ConfigError, DataError
from zhuyi.text.lines import one_line
from zhuyi.text.template import with_languages
from zhuyi.text.tokenizer import Tokenizers

OF_ENGINE = {"engine", "precision", "workers"}
"""The keys of [decoding] that determine what computes, and not how to search."""


@dataclass(frozen=True)
class Translation:
    """One translation of a line.

    `text` is one line, without tabs (see `one_line`). `score` is the log-probability divided by the length penalty.
    `token_logprobs` are those of `pieces`, and of EOS after them if `finished`, which is False if the length limit was
    reached before EOS. `tokens` are the ids of `pieces`. The pieces of `text.target_prefix` are not part of the text.
    """

    text: str
    score: float
    pieces: list[str]
    token_logprobs: list[float]
    finished: bool
    tokens: list[int] = field(default_factory=list, repr=False)


EMPTY = Translation("", 0.0, [], [], True)
"""The translation of a line without tokens."""


class Translator:
    """Lines of text in, translations out: tokenizer → engine → tokenizer. `zhuyi.load` makes one.

    No method changes the model, so any number of threads may use one translator at once.

    Args:
        config: the configuration of the model; its `decoding` section is how this translator searches.
        tokenizers: those of both sides.
        engine: searches for outputs, in tokens.
        name: what to call the model in messages: the name of its directory.
        origins: where the weights of the model, or of each model of an ensemble, can be read again, because an engine
            need not keep them; empty if they cannot.
    """

    def __init__(
        self, config: Config, tokenizers: Tokenizers, engine: Engine, name: str = "", origins: Sequence[Origin] = ()
    ) -> None:
        self.config, self.tokenizers, self.engine, self.name, self.origins = config, tokenizers, engine, name, origins

    @property
    def origin(self) -> Origin | None:
        """Where the weights can be read again; None if they cannot, or if this is an ensemble."""
        return self.origins[0] if len(self.origins) == 1 else None

    @property
    def text(self) -> TextConfig:
        """The settings of the normal form, into which lines are brought before they are tokenised."""
        return self.config.text

    @property
    def labels(self) -> Literal["line", "token"] | None:
        """What has a label each, if the model gives labels (the encoder shape); None if it writes text."""
        return self.config.model.labels if self.config.model.shape == "encoder" else None

    @property
    def longest(self) -> int:
        """The largest number of tokens of a line that the model can read, without EOS."""
        return self.config.model.max_length - 1

    def encode(self, line: str) -> list[int]:
        """All tokens of a line, of which the model can read `longest`."""
        return self.tokenizers.source.encode([line])[0]

    def translate(
        self,
        lines: Sequence[str],
        *,
        beam: int | None = None,
        length_penalty: float | None = None,
        max_ratio: float | None = None,
        on_cut: Callable[[int, int], None] | None = None,
        to: str | None = None,
        from_language: str | None = None,
    ) -> list[str]:
        """The best translation of each line; an empty line gives an empty line.

        Args:
            lines: the text, one sentence each.
            beam: overrides `decoding.beam` of the model's configuration.
            length_penalty: overrides `decoding.length_penalty`.
            max_ratio: overrides `decoding.max_ratio`.
            on_cut: called for each line that is cut because it is too long for the model, with the number of the line
                (from 0) and of its tokens.
            to: the language of the translations, for a model of several languages; see `with_languages`.
            from_language: the language of the lines.

        Raises:
            ConfigError: as `decoding` and `with_languages`.
        """
        decoding = self.decoding(beam=beam, length_penalty=length_penalty, max_ratio=max_ratio, n_best=1)
        chosen = self.with_languages(to, from_language)
        return [best[0].text for best in chosen.hypotheses(lines, decoding, on_cut)]

    def hypotheses(
        self,
        lines: Sequence[str],
        decoding: DecodingConfig | None = None,
        on_cut: Callable[[int, int], None] | None = None,
        first: int = 0,
    ) -> list[list[Translation]]:
        """Up to `decoding.n_best` translations of each line, best first, at least one.

        Args:
            lines: the text, one sentence each.
            decoding: how to search. Unset: as the model's configuration says.
            on_cut: as for `translate`.
            first: the number of the first line in the text that it belongs to, from 0, on which samples depend.
        """
        decoding = decoding or self.config.decoding
        encoded = self._encode(lines, on_cut)
        translations = [[EMPTY] for _ in lines]
        wanted = [number for number, tokens in enumerate(encoded) if tokens]
        sources, numbers = [encoded[number] for number in wanted], [first + number for number in wanted]
        found = self.engine.decode(sources, decoding, numbers, self.tokenizers.target.template.prefix)
        for number, alternatives in zip(wanted, found, strict=True):
            translations[number] = self._texts(alternatives)
        return translations

    async def find(
        self, line: str, decoding: DecodingConfig | None = None, number: int = 0, tokens: list[int] | None = None
    ) -> list[Translation]:
        """What `hypotheses` finds for one line, awaited: the line joins those that are being decoded.

        Any number of lines may be awaited at once, each with its own settings. One that is cancelled gives way to the
        others.

        Args:
            line: one sentence.
            decoding: how to search. Unset: as the model's configuration says.
            number: the number of the line in the text that it belongs to, from 0, on which samples depend.
            tokens: what `encode` gave for the line, at most `longest`. Unset: it is encoded.
        """
        if tokens is None:
            (tokens,) = self._encode([line])
        if not tokens:
            return [EMPTY]
        prefix = self.tokenizers.target.template.prefix
        found = self.engine.submit(tokens, decoding or self.config.decoding, number, prefix)
        return self._texts(await asyncio.wrap_future(found))

    def _encode(self, lines: Sequence[str], on_cut: Callable[[int, int], None] | None = None) -> list[list[int]]:
        """The tokens of each line, cut to what the model can read."""
        encoded = self.tokenizers.source.encode(lines)
        for number, tokens in enumerate(encoded):
            if len(tokens) > self.longest:
                if on_cut is not None:
                    on_cut(number, len(tokens))
                encoded[number] = self.tokenizers.source.cut(tokens, self.longest)
        return encoded

    def answers(self, lines: Sequence[str], n_best: int) -> list[list[Translation]]:
        """One to `n_best` translations of each line, best first, as `evaluate` takes them.

        Raises:
            ConfigError: if `n_best` is more than the beam.
        """
        return self.hypotheses(lines, self.decoding(n_best=n_best))

    @property
    def search_signature(self) -> str:
        """The settings of the search, or what is labelled, as a part of a score's signature."""
        if self.labels is not None:
            return f"per:{self.labels}"
        decoding, default = self.config.decoding, DecodingConfig()
        if decoding.strategy == "beam":
            parts: dict[str, Any] = {"beam": decoding.beam}
        else:
            parts = {"strategy": decoding.strategy, "seed": decoding.seed}
        parts |= {"alpha": decoding.length_penalty, "ratio": decoding.max_ratio, "extra": decoding.max_extra}
        rules = ("penalty", "stop", "min_length", "end_at_limit", "allow_unknown")
        for key in ("temperature", "top_k", "top_p", "no_repeat_ngram", "max_repetition", *rules):
            if getattr(decoding, key) != getattr(default, key):
                parts[key] = getattr(decoding, key)
        if self.engine.precision != "float32":
            parts["precision"] = self.engine.precision
        if len(self.origins) > 1:
            parts["models"] = len(self.origins)
        return "|".join(f"{name}:{_short(value)}" for name, value in parts.items() if value is not None)

    def loss(self, sources: Sequence[str], targets: Sequence[str]) -> float:
        """Mean cross entropy per target token in nats: EOS included, no label smoothing, teacher forcing.

        The pieces of `text.target_prefix` count, as in training. Lines too long for the model are cut, as in
        `translate`.

        Raises:
            DataError: if there are no lines.
        """
        if not sources:
            raise DataError("there are no lines: the mean loss of none is no number")
        source, target = (
            [side.cut(tokens, self.longest) for tokens in side.encode(lines)]
            for side, lines in ((self.tokenizers.source, sources), (self.tokenizers.target, targets))
        )
        return self.engine.loss(source, target)

    def decoding(self, **settings: Any) -> DecodingConfig:
        """The `decoding` section of the model, with the settings given here instead of its own; None changes nothing.

        If `beam` is given without `n_best`, the model's own `n_best` is reduced to it where necessary. A model that
        gives labels does not search: its only setting is `n_best`, the number of alternative labels of a line.

        Raises:
            ConfigError: as for the section in a file; if a beam is given for sampling, which has none; if another
                setting than `n_best` is given for labels; or if one differs that only `zhuyi.load` can change.
        """
        given = {key: value for key, value in settings.items() if value is not None}
        for key in OF_ENGINE & given.keys():
            if given[key] != getattr(self.config.decoding, key):
                raise ConfigError(f"decoding.{key} belongs to loading: zhuyi.load(DIRECTORY, {key}={given[key]!r})")
        if self.labels is not None:
            return self._label_decoding({key: value for key, value in given.items() if key not in OF_ENGINE})
        strategy = given.get("strategy", self.config.decoding.strategy)
        if strategy == "sampling" and "beam" in given:
            raise ConfigError(
                f'decoding.beam = {given["beam"]} is of no use with decoding.strategy = "sampling": choose one of them'
            )
        if strategy == "beam" and isinstance(given.get("beam"), int) and "n_best" not in given:
            given["n_best"] = max(1, min(self.config.decoding.n_best, given["beam"]))
        return changed(self.config.decoding, given)

    def _label_decoding(self, given: dict[str, Any]) -> DecodingConfig:
        for key in given.keys() - {"n_best"}:
            raise ConfigError(
                f"decoding.{key} = {given[key]!r}: this model gives labels, without a search: leave it out"
            )
        n_best = given.get("n_best", 1)
        if self.labels == "token" and n_best != 1:
            raise ConfigError(f"decoding.n_best = {n_best}: each token has one label, the most probable: leave it out")
        return changed(DecodingConfig(), {"n_best": n_best, "beam": max(n_best, 1)})

    def with_decoding(self, decoding: DecodingConfig) -> "Translator":
        """The same model with another `decoding` section."""
        config = self.config.model_copy(update={"decoding": decoding})
        return Translator(config, self.tokenizers, self.engine, self.name, self.origins)

    def with_languages(self, to: str | None = None, from_language: str | None = None) -> "Translator":
        """The same model, set to translate between other languages: for one that was trained on several.

        Args:
            to: the language of the translations, as one of the model's tags (`text.tags`) names it: `fra` finds
                `>>fra<<`, `__fra__`, `<fra>` or `fra_Latn`. Unset: as the model's configuration says.
            from_language: the language of the lines, likewise.

        Raises:
            ConfigError: if the model has no such language; the message lists those that it has.
        """
        if to is None and from_language is None:
            return self
        text = with_languages(self.config.text, to, from_language)
        config, tokenizers = self.config.model_copy(update={"text": text}), self.tokenizers.with_templates_of(text)
        return Translator(config, tokenizers, self.engine, self.name, self.origins)

    def _texts(self, hypotheses: list[Hypothesis]) -> list[Translation]:
        target = self.tokenizers.target
        texts = map(one_line, target.decode([hypothesis.tokens for hypothesis in hypotheses]))
        return [
            Translation(text, best.score, target.pieces(best.tokens), best.token_logprobs, best.finished, best.tokens)
            for text, best in zip(texts, hypotheses, strict=True)
        ]


def _short(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
