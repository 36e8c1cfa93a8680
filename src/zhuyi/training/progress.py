"""What a run says while it goes: a live line, `metrics.jsonl`, TensorBoard, and a picture at the end."""

import io
import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from zhuyi.checkpoint import readable_failure, write_atomically
from zhuyi.errors import MissingExtra

METRICS = "metrics.jsonl"
SHOWN = 100
"""Most characters of a sample line on the terminal."""


class Reporter:
    """Shows and records a run. Use it as a context.

    Args:
        directory: of the run; `metrics.jsonl` and TensorBoard's events go there.
        console: for the live line, or a plain line a validation where there is no terminal.
        step: where the run begins or goes on: what `metrics.jsonl` says of later steps is removed.
        tensorboard: write events too.

    Raises:
        MissingExtra: TensorBoard was asked for and is not installed.
    """

    def __init__(self, directory: Path, console: Console, step: int, tensorboard: bool) -> None:
        self.directory, self.console = directory, console
        self._board = event_writer()(str(directory / "tensorboard"), purge_step=step + 1) if tensorboard else None
        self._path = directory / METRICS
        self.records = [record for record in read_metrics(self._path) if record["step"] <= step]
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in self.records)
        write_atomically(self._path, lines.encode())
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("Training", total=1.0, figures="")
        self._last_score = ""
        self._losses: list[float] = []
        self._tokens, self._since = 0, time.perf_counter()

    def __enter__(self) -> "Reporter":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def update(self, share: float, step: int, loss: float, tokens: int) -> None:
        """After each step: `share` of the budget used, plain `loss` per token, non-padding `tokens` of the step."""
        self._tokens += tokens
        self._losses.append(loss)
        figures = f"step {step} · loss {self._loss():.3f} · {self._speed():,.0f} tok/s"
        if self.console.width >= 100:  # else bar and time left would have no room
            figures += self._last_score
        self._bar.update(self._task, completed=min(share, 1.0), figures=figures)

    def record_training(self, **values: float) -> None:
        """Every so many steps: a line of `metrics.jsonl`, mean loss and speed since then (or a validation)."""
        self._record({**values, "loss": self._loss(), "tokens_per_second": round(self._speed(), 1)})
        self._losses.clear()
        self.restart_clock()

    def record_validation(self, values: dict[str, float], sample: tuple[str, str, str] | None) -> None:
        """After a validation: its figures, and one line with its reference and its translation."""
        self._record({**values, **({"sample": sample} if sample else {})})
        figures = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name.startswith("dev_"))
        self._last_score = f" · {figures}".replace("dev_", "dev ")
        line = Text(f"step {values['step']:>6.0f}  {values['seconds'] / 60:6.1f} min  ", style="bold")
        line.append(figures.replace("dev_", "dev "), style="not bold cyan")
        if sample:
            source, reference, answer = (_shortened(text) for text in sample)
            line.append(f"\n   {source}\n → {answer}\n = {reference}", style="not bold dim")
        self.console.print(line)

    def restart_clock(self) -> None:
        """Time spent on anything else than steps does not count in the speed."""
        self._tokens, self._since = 0, time.perf_counter()

    def _loss(self) -> float:
        """The mean since the last line: that of one batch, of long lines or short ones, says little."""
        return sum(self._losses) / len(self._losses)

    def _speed(self) -> float:
        return self._tokens / max(time.perf_counter() - self._since, 1e-9)

    def _record(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        with readable_failure(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        if self._board is not None:
            for name, value in record.items():
                if isinstance(value, int | float) and name != "step":
                    self._board.add_scalar(name, value, record["step"])


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`; a last line that was cut off by a kill is left out, and a FIFO has none."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_bytes().splitlines():  # bytes: a character may be cut off too, and U+2028 ends no line
        try:
            records.append(json.loads(line))
        except ValueError:  # UnicodeDecodeError is one too
            break
    return records


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """The picture of a run: loss and dev score over time, as SVG."""
    from matplotlib.figure import Figure  # and not pyplot, whose state is the user's

    training = [record for record in records if "loss" in record]
    validation = [record for record in records if "dev_loss" in record]
    scores = [name for name in (validation[-1] if validation else {}) if name.startswith("dev_") and name != "dev_loss"]
    figure = Figure(figsize=(7, 3 + 2 * bool(scores)))
    axes = figure.subplots(1 + bool(scores), 1, sharex=True, squeeze=False)
    curves = [
        (axes[0][0], training, "loss", "training", "#9aa5b1"),
        (axes[0][0], validation, "dev_loss", "dev", "#1f77b4"),
    ]
    for name, colour in zip(scores, ("#d95f02", "#7570b3"), strict=False):
        curves.append((axes[1][0], validation, name, name.replace("_", " "), colour))
    for axis, points, name, label, colour in curves:
        marker = "o-" if points is validation else "-"
        minutes = [point["seconds"] / 60 for point in points]
        axis.plot(minutes, [point[name] for point in points], marker, markersize=4, color=colour, label=label)
    axes[0][0].set_ylabel("loss (nats a token)")
    axes[-1][0].set_xlabel("minutes")
    for axis in axes[:, 0]:
        axis.legend(frameon=False)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    content = io.BytesIO()
    figure.savefig(content, format="svg")
    write_atomically(path, content.getvalue())


def _shortened(text: str) -> str:
    """An untrained model repeats itself to the length limit; nobody wants to read all of it."""
    return text if len(text) <= SHOWN else text[: SHOWN - 4] + " ..."


def event_writer() -> Any:
    """TensorBoard's class that writes events.

    Raises:
        MissingExtra: if it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("training.tensorboard", "tensorboard") from error
    return SummaryWriter
