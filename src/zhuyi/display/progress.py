"""The progress of a run on the terminal: a live line, and a line for each validation and notice."""

from collections import deque

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from zhuyi.data.prepare import Preparing
from zhuyi.display.report import show_report
from zhuyi.training.events import Checked, Event, Finished, Notice, Saved, Started, Updated, Validated

MAX_SAMPLE_CHARACTERS = 100
"""An untrained model repeats itself to the length limit; nobody wants to read all of it."""
MIN_WIDTH_FOR_SCORES = 100
"""Columns of a terminal below which the live line leaves out the last scores, so that the time left fits."""
RECENT_UPDATES = 50
"""Updates whose mean loss and speed are shown."""


class ProgressDisplay:
    """A listener that shows a run. Use it as a context, so that the terminal is left in order.

    Args:
        console: where to show it. Where it is no terminal, there is no live line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._preparing = self._bar(transient=True)
        self._training = self._bar(transient=False)
        self._task = self._training.add_task("Training", total=1.0, figures="")
        self._recent: deque[Updated] = deque(maxlen=RECENT_UPDATES)
        self._last_score = ""

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, *error: object) -> None:
        self._preparing.stop()
        self._training.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Preparing():
                self._show_preparing(event)
            case Checked():
                show_report(event.report, self._console)
            case Started():
                self._show_start(event)
                self._training.start()
            case Updated():
                self._show_update(event)
            case Validated():
                self._show_validation(event)
            case Saved():
                self._recent.clear()  # a validation and a checkpoint do not count in the speed
            case Notice():
                self._show_notice(event)
            case Finished():
                self._training.stop()

    def _bar(self, transient: bool) -> Progress:
        return Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=transient,
            disable=not self._console.is_terminal,
        )

    def _show_preparing(self, event: Preparing) -> None:
        if not event.task:
            self._preparing.stop()
            return
        if not self._preparing.tasks:
            self._preparing.add_task("", figures="")
            self._preparing.start()
        figures = f"{event.pairs:,} lines" if event.pairs else ""
        task = self._preparing.task_ids[0]
        self._preparing.update(task, description=event.task, completed=event.pairs, total=event.total, figures=figures)

    def _show_start(self, event: Started) -> None:
        processes = f"{event.processes} processes, " if event.processes > 1 else ""
        self._console.print(
            f"{event.parameters:,} parameters on {event.device} in {'bf16' if event.bf16 else 'float32'}, "
            f"{processes}CPU threads: {event.threads}\n"
            f"batches an epoch: {event.batches:,}, padding: {100 * event.padding:.1f} % → {event.directory}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        if event.step:
            self._console.print(f"Going on from step {event.step:,}, epoch {event.epoch + 1}.", highlight=False)

    def _show_update(self, event: Updated) -> None:
        self._recent.append(event)
        loss = sum(update.loss for update in self._recent) / len(self._recent)
        first = self._recent[0]
        seconds = event.seconds - first.seconds + first.update_seconds
        speed = sum(update.tokens for update in self._recent) / max(seconds, 1e-9)
        figures = f"step {event.step} · loss {loss:.3f} · {speed:,.0f} tok/s"
        if self._console.width >= MIN_WIDTH_FOR_SCORES:
            figures += self._last_score
        self._training.update(self._task, completed=min(event.share, 1.0), figures=figures)

    def _show_validation(self, event: Validated) -> None:
        scores = {"loss": event.loss, **event.scores}
        figures = ", ".join(f"dev {name} {value:.4g}" for name, value in scores.items())
        self._last_score = f" · {figures}"
        line = Text(f"step {event.step:>6.0f}  {event.seconds / 60:6.1f} min  ", style="bold")
        line.append(figures, style="not bold cyan")
        source, reference, answer = (_shortened(text) for text in event.sample)
        line.append(f"\n   {source}\n → {answer}\n = {reference}", style="not bold dim")
        self._console.print(line)

    def _show_notice(self, event: Notice) -> None:
        heading = (f"{event.warning}: ", "yellow") if event.warning else ""
        # What is read by another program is not wrapped.
        self._console.print(Text.assemble(heading, event.text), soft_wrap=not self._console.is_terminal)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SAMPLE_CHARACTERS else text[: MAX_SAMPLE_CHARACTERS - 4] + " ..."
