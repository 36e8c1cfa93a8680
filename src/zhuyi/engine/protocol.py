"""The interface of an engine, as a `Translator` uses it; imports no torch."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeAlias

from zhuyi.config import DecodingConfig, Precision
from zhuyi.decoding.hypothesis import Hypothesis

Tokens: TypeAlias = Sequence[int]
"""Token ids of one line, without BOS and EOS."""


class Engine(Protocol):
    """The weights of a model on a device, and how to compute with them."""

    precision: Precision
    """Of weights and activations."""

    def decode(
        self,
        sources: Sequence[Tokens],
        decoding: DecodingConfig,
        lines: Sequence[int] | None = None,
        prefix: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        """Search for the best outputs of each source: 1 to `n_best` hypotheses each, best first.

        The results are in the order of the sources, and independent of each other. A source for which the model gives
        NaN gets one empty, unfinished hypothesis with score −inf.

        Args:
            sources: each of 1 to `max_length` − 1 tokens.
            decoding: how to search; `engine`, `precision` and `workers` are ignored.
            lines: the number of each source in the text that it comes from, which sampling depends on; 0, 1, … by
                default.
            prefix: the first tokens of every output, regardless of the model and the filters.
        """
        ...

    def submit(
        self, source: Tokens, decoding: DecodingConfig, line: int = 0, prefix: Sequence[int] = ()
    ) -> "Future[list[Hypothesis]]":
        """Start to `decode` one source, and return a future of its hypotheses.

        Any number of sources may be pending, each with its own settings. If its future is cancelled, a source gives way
        to others as soon as the engine can. The arguments are those of `decode`, for one source.
        """
        ...

    def stream(self, text: Tokens, decoding: DecodingConfig, line: int = 0) -> Iterator[int]:
        """Continue a text after BOS, with an empty source: tokens one by one, each drawn as `decoding` samples.

        It ends before EOS, or when the text has `max_length` − 1 tokens. Every engine draws the same tokens, except
        where rounding decides.

        Args:
            text: the tokens so far, at most `max_length` − 2 of them.
            decoding: temperature, top-k, top-p and seed.
            line: a number that the draws depend on.
        """
        ...

    def loss(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> float:
        """Mean cross entropy per target token in nats: EOS included, no label smoothing, teacher forcing.

        Args:
            sources: each of at most `max_length` − 1 tokens.
            targets: one for each source, of at most as many tokens.
        """
        ...
