"""Messages for the user: warnings on standard error, and the table of an evaluation."""

import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TextIO

import typer

from zhuyi.errors import ZhuyiWarning

if TYPE_CHECKING:
    from zhuyi.evaluation import Evaluation
    from zhuyi.translator import Translation

MAX_UNKNOWN = 0.3
"""With a larger share of unknown tokens, the source is probably not in the language that the model was trained on."""
LABEL_METRICS = {"accuracy", "macro_f1", "span_f1"}
MAX_NAMED = 10
"""Most line numbers in a warning."""


class Cut:
    """Warns of the first lines that are too long for the model, and counts them all.

    Args:
        longest: the most tokens that a line may have.
        place: where the lines are, with a comma after it.
    """

    def __init__(self, longest: int, place: str = "") -> None:
        self._longest, self._place, self._count = longest, place, 0

    def add(self, first: int, index: int, tokens: int) -> None:
        """Count line `index` of a chunk whose first line has the number `first`; warn of it unless many have come."""
        self._count += 1
        if self._count <= MAX_NAMED:
            line = f"{self._place}line {first + index}"
            warn(f"{line} has {tokens:,} tokens; the model reads {self._longest:,}, the rest is cut off")

    def warn(self) -> None:
        """Warn of the number of lines that were cut off, if not all of them have been named."""
        if self._count > MAX_NAMED:
            warn(f"{self._place}{self._count:,} lines were cut off in all: a higher model.max_length reads more")


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Within the block, print each ZhuyiWarning once, on one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", ZhuyiWarning)
        others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, ZhuyiWarning):
                warn(str(message))
            else:
                others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


class Unfinished:
    """Counts the lines whose best translation was cut off by the length limit.

    Args:
        place: where the lines are, with a comma after it.
    """

    def __init__(self, place: str = "") -> None:
        self._place = place
        self._count = self._of = 0
        self._first: list[int] = []

    def add(self, first: int, found: Sequence[Sequence["Translation"]]) -> None:
        """Count the translations of a chunk whose first line has the number `first`."""
        lines = [number for number, each in enumerate(found, start=first) if not each[0].finished]
        self._count += len(lines)
        self._of += len(found)
        self._first += lines[: MAX_NAMED - len(self._first)]

    def warn(self) -> None:
        """Warn of them, if there are any."""
        if self._count:
            warn(f"{self._place}{met_the_limit(self._count, self._of)} ({_lines(self._count, self._first)})")


def warn_blank(sources: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Warn of blank references: they are rarely intended, unless the source is blank too."""
    pairs = enumerate(zip(sources, references, strict=True), start=1)
    blank = [number for number, (source, right) in pairs if not any(right) and source.strip()]
    if blank:
        warn(f"the reference is blank on {_lines(len(blank), blank)}: only an empty translation is right there")


def warn_unknown(encoded: Sequence[Sequence[int]], fallback: range) -> None:
    """Warn if many tokens are unknown to the model."""
    tokens = sum(map(len, encoded))
    unknown = sum(token in fallback for line in encoded for token in line)
    if unknown > MAX_UNKNOWN * tokens:
        warn(
            f"{unknown / tokens:.0%} of the source's tokens are not in the model's vocabulary: is it in the right "
            "language, and are source and target swapped?"
        )


def _lines(count: int, first: Sequence[int]) -> str:
    shown = first[:MAX_NAMED]
    return f"{'line' if count == 1 else 'lines'} {', '.join(map(str, shown))}{', ...' if count > len(shown) else ''}"


def met_the_limit(count: int, of: int) -> str:
    """The message that `count` of `of` outputs reached the length limit."""
    reached = f"{count:,} of {of:,} outputs reached the length limit"
    if count > of / 2:  # right outputs reach it rarely
        return f"{reached}: the model repeats itself, and needs longer training"
    return f"{reached} and may be cut off; a higher --max-ratio allows longer ones"


def warn(what: str) -> None:
    """Print a warning on standard error."""
    print(f"zhuyi: warning: {what}", file=sys.stderr)


def show(evaluation: "Evaluation", name: str = "") -> None:
    """Print the scores as a table: of translations, of labels, or of running text."""
    from rich.console import Console
    from rich.table import Table

    of_text, of_labels = not evaluation.hypotheses, LABEL_METRICS & evaluation.scores.keys()
    title = f"{evaluation.lines:,} {'windows' if of_text else 'lines'}"
    if evaluation.seconds:
        title += f", {'read' if of_text or of_labels else 'translated'} in {evaluation.seconds:.1f} s"
    table = Table(title=f"{name}: {title}" if name else title, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("how", overflow="fold", style="dim")
    for name, score in evaluation.scores.items():
        table.add_row(name, f"{score.value:.{3 if name == 'bits_per_byte' else 2}f}", score.signature)
    if evaluation.loss is not None:
        unit = "nats per target token, the end of the line included"
        unit = "nats per token" if of_text else "nats per label" if of_labels else unit
        table.add_row("loss", f"{evaluation.loss:.4f}", unit)
    Console().print(table)


def stopped(again: list[str]) -> NoReturn:
    """End the process after Ctrl-C in a training, with the command that continues it.

    Args:
        again: the arguments of that command.
    """
    command = ["zhuyi"] if "TORCHELASTIC_RUN_ID" not in os.environ else ["torchrun", "...", "-m", "zhuyi"]
    print(f"zhuyi: stopped and saved; continue with: {shlex.join([*command, *again])}", file=sys.stderr)
    raise typer.Exit(130)
