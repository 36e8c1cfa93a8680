"""The records of a run: `metrics.jsonl`, TensorBoard's events, and the plot of its losses and scores."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zhuyi.directory import METRICS, read_metrics
from zhuyi.errors import MissingExtra
from zhuyi.files import readable_failure, write_atomically
from zhuyi.training.events import Event, Saved, Started, Updated, Validated
from zhuyi.training.run_state import RUN_ADVICE


class Recorder:
    """A listener that makes a record of every `log_every` updates, and of each validation.

    Args:
        log_every: updates between two records. There is also one before each validation and each checkpoint, so that
            the records after it do not depend on whether the run is resumed there.
        write: called with each record.
    """

    def __init__(self, log_every: int, write: Callable[[dict[str, Any]], None]) -> None:
        self._log_every, self._write = log_every, write
        self._losses: list[float] = []
        self._tokens, self._since = 0, 0.0
        self._last: Updated | None = None

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case Started():
                self._since = event.seconds
            case Updated():
                self._last = event
                self._losses.append(event.loss)
                self._tokens += event.tokens
                if event.step % self._log_every == 0:
                    self._write_training()
            case Validated():
                self._write_training()
                scores = {f"dev_{name}": round(value, 4) for name, value in event.scores.items()}
                figures = {"step": event.step, "seconds": event.seconds, "dev_loss": event.loss, **scores}
                self._write({**figures, "sample": event.sample})
            case Saved():
                self._write_training()
                self._since = event.seconds  # the speed does not include validations and checkpoints

    def _write_training(self) -> None:
        """Write the mean loss and the speed since the last record."""
        if not self._losses:
            return
        assert self._last is not None
        last, speed = self._last, self._tokens / max(self._last.seconds - self._since, 1e-9)
        self._write(
            {
                "step": last.step,
                "epoch": last.passes,
                "seconds": last.seconds,
                "learning_rate": last.learning_rate,
                "norm": last.norm,
                "loss": sum(self._losses) / len(self._losses),
                "tokens_per_second": round(speed, 1),
            }
        )
        self._losses.clear()
        self._tokens, self._since = 0, last.seconds


class MetricsFile:
    """`metrics.jsonl` in the directory of a run, with one record per line.

    Args:
        directory: of the run.
        step: at which the run begins or is resumed; records of later steps are removed.
    """

    def __init__(self, directory: Path, step: int) -> None:
        self._path = directory / METRICS
        records = [record for record in read_metrics(self._path) if record["step"] <= step]
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        write_atomically(self._path, lines.encode())

    def append(self, record: dict[str, Any]) -> None:
        """Write a record.

        Raises:
            CheckpointError: when it cannot be written.
        """
        with readable_failure(self._path, RUN_ADVICE), self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


class TensorBoard:
    """TensorBoard's events in the directory of a run.

    Args:
        directory: of the run.
        step: as for `MetricsFile`.

    Raises:
        MissingExtra: if TensorBoard is not installed.
    """

    def __init__(self, directory: Path, step: int) -> None:
        self._writer = event_writer()(str(directory / "tensorboard"), purge_step=step + 1)

    def add(self, record: dict[str, Any]) -> None:
        """Write the numbers of a record."""
        for name, value in record.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Write all remaining events."""
        self._writer.close()


def draw(directory: Path) -> None:
    """Plot loss and dev score over time into `training.svg` in the directory of a run.

    Raises:
        CheckpointError: if it cannot be written.
    """
    from matplotlib.figure import Figure  # and not pyplot, whose state is the user's

    records = read_metrics(directory / METRICS)
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
    write_atomically(directory / "training.svg", content.getvalue())


def event_writer() -> Any:
    """TensorBoard's class that writes events.

    Raises:
        MissingExtra: if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("training.tensorboard", "tensorboard") from error
    return SummaryWriter
