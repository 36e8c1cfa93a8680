"""The engines that score the model of a run: its current weights in validations, and int8 at the end."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from zhuyi.checkpoint import Model
from zhuyi.config import DecodingConfig, EngineName, Precision
from zhuyi.data.sequences import Sequences
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.engine.native import NativeEngine
from zhuyi.engine.packed import PackedModel, unsupported
from zhuyi.engine.protocol import Tokens
from zhuyi.engine.torch import Losses, TorchEngine
from zhuyi.training.events import Listener, Notice
from zhuyi.training.run_state import RunState

COMPARED_LINES = 8
"""Lines that both engines decode in the first validation of a run, to compare them."""


class ScoringEngine:
    """An `Engine` for a model whose weights change: each call uses the current weights.

    On a CPU, the native engine decodes if it can compute the model and `decoding.engine` is not "torch". It computes in
    float32, since `decoding.precision` is for inference. The first call of a run also decodes some lines with torch. If
    their results differ, a notice is given, and torch decodes in all validations of the run. Losses are always computed
    by torch.

    Args:
        model: on the device where it is scored.
        state: of the run; the first call sets its `engine`.
        notify: gets the notice.

    Raises:
        ConfigError: if the environment variable ZHUYI_ENGINE_ISA names a library that this machine cannot run.
    """

    precision: Precision = "float32"

    def __init__(self, model: Model, state: RunState, notify: Listener) -> None:
        device = next(model.transformer.parameters()).device
        self._model, self._state, self._notify = model, state, notify
        self._torch = TorchEngine(model.transformer, model.config.model.max_length, str(device))
        self._tries_native = device.type == "cpu" and native_runs(model, self.precision)

    def decode(
        self,
        sources: Sequence[Tokens],
        decoding: DecodingConfig,
        lines: Sequence[int] | None = None,
        prefix: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        """As `Engine.decode`."""
        if self._tries_native and self._state.engine != "torch":
            found = native_engine(self._model, self.precision).decode(sources, decoding, lines, prefix)
            if not self._state.engine:
                self._state.engine = self._compared(found, sources, decoding, lines, prefix)
            if self._state.engine == "native":
                return found
        return self._torch.decode(sources, decoding, lines, prefix)

    def submit(
        self, source: Tokens, decoding: DecodingConfig, line: int = 0, prefix: Sequence[int] = ()
    ) -> "Future[list[Hypothesis]]":
        """As `Engine.submit`, by torch."""
        return self._torch.submit(source, decoding, line, prefix)

    def stream(self, text: Tokens, decoding: DecodingConfig, line: int = 0) -> Iterator[int]:
        """As `Engine.stream`, by torch."""
        return self._torch.stream(text, decoding, line)

    def loss(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> float:
        """As `Engine.loss`."""
        return self._torch.loss(sources, targets)

    def losses(self, corpus: Sequences) -> Losses:
        """As `TorchEngine.losses`."""
        return self._torch.losses(corpus)

    def _compared(
        self,
        found: Sequence[Sequence[Hypothesis]],
        sources: Sequence[Tokens],
        decoding: DecodingConfig,
        lines: Sequence[int] | None,
        prefix: Sequence[int],
    ) -> EngineName:
        """The engine to use from now on: the native one, if torch has the same results for some of the sources."""
        count = min(COMPARED_LINES, len(sources))
        some = [number * len(sources) // count for number in range(count)]
        numbers = range(len(sources)) if lines is None else lines
        others = self._torch.decode([sources[n] for n in some], decoding, [numbers[n] for n in some], prefix)
        differ = sum(_tokens(found[n]) != _tokens(other) for n, other in zip(some, others, strict=True))
        if not differ:
            return "native"
        which = f"{differ} of {count} dev lines differ between the native engine and torch"
        self._notify(Notice("torch decodes in the validations of this run, which is slower.", warning=which))
        return "torch"


def native_runs(model: Model, precision: Precision) -> bool:
    """Whether the native engine can compute a model on this machine, and its settings allow that.

    Raises:
        ConfigError: as `ScoringEngine`.
    """
    return model.config.decoding.engine != "torch" and unsupported(model.config.model, precision) is None


def native_engine(model: Model, precision: Precision) -> NativeEngine:
    """The native engine with the current weights of a model, and a worker for each thread that the run may use."""
    config = model.config
    workers = config.decoding.workers or config.training.threads
    return NativeEngine([PackedModel(model.stored().weights, config.model, precision)], workers)


def _tokens(hypotheses: Sequence[Hypothesis]) -> list[list[int]]:
    return [hypothesis.tokens for hypothesis in hypotheses]
