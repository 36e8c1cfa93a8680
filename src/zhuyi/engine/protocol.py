"""What a `Translator` asks of its engine. No torch is needed to say it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeAlias

from zhuyi.config import DecodingConfig, Precision
from zhuyi.decoding.hypothesis import Hypothesis

Tokens: TypeAlias = Sequence[int]
"""Token ids of one line, without BOS and EOS."""


class Engine(Protocol):
    """A model's weights on a device, and how they are computed with."""

    precision: Precision
    """What it computes in."""

    def decode(
        self,
        sources: Sequence[Tokens],
        decoding: DecodingConfig,
        lines: Sequence[int] | None = None,
        prefix: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        """Search for the best outputs of each source: 1 to `n_best` hypotheses each, best first.

        The order is that of the sources, and what else is among them does not matter. A source for which the model
        gives no number (NaN) gets one empty, unfinished hypothesis with score −inf.

        Args:
            sources: each of 1 to `max_length` − 1 tokens.
            decoding: how to search; its settings of the engine itself are ignored.
            lines: the number of each source in the text that it comes from, which sampling depends on; 0, 1, … by
                default.
            prefix: the first tokens of every output, whatever the model and the filters think of them.
        """
        ...

    def submit(
        self, source: Tokens, decoding: DecodingConfig, line: int = 0, prefix: Sequence[int] = ()
    ) -> "Future[list[Hypothesis]]":
        """What `decode` finds for one source, later; any number of them may be under way, each with its own settings.

        One whose future is cancelled makes place for others, as soon as the engine can. The arguments are those of
        `decode`, for one source.
        """
        ...

    def stream(self, text: Tokens, decoding: DecodingConfig, line: int = 0) -> Iterator[int]:
        """Continue a text after BOS, with an empty source: tokens one by one, each drawn as `decoding` samples.

        It ends before EOS, and where the text has `max_length` − 1 tokens. The same in every engine, but for draws
        that rounding decides.

        Args:
            text: the tokens so far, at most `max_length` − 2.
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
