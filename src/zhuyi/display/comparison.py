"""What a comparison costs, and where it is: a live line on a terminal, and a line for each run that begins or ends."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from zhuyi.comparison import Planned
from zhuyi.comparison import Progress as ComparisonProgress
from zhuyi.display.duration import duration


class ComparisonDisplay:
    """A listener of `compare`. Use it as a context, so that the terminal is left in order.

    Args:
        console: where to show it. Where it is no terminal, there is no live line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("Comparing", total=1.0, figures="")
        self._shown: tuple[int, tuple[str, ...]] = (0, ())

    def __enter__(self) -> "ComparisonDisplay":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, event: Planned | ComparisonProgress) -> None:
        """Show an event."""
        if isinstance(event, Planned):
            self._console.print(cost(event), highlight=False, soft_wrap=True)
            self._bar.start()
            return
        left = f", about {duration(event.seconds_left)} left" if event.seconds_left is not None else ""
        figures = f"{event.finished} of {event.runs} runs{left}"
        self._bar.update(self._task, completed=event.share, figures=figures)
        if self._shown != (event.finished, event.running):
            self._shown = (event.finished, event.running)
            training = f"training {', '.join(event.running)}; " if event.running else ""
            self._console.print(f"{training}{figures}", highlight=False, soft_wrap=True)


def cost(plan: Planned) -> str:
    """What a comparison is going to cost, in a sentence."""
    todo = plan.runs - plan.finished
    if not todo:
        return f"All {plan.runs} runs have finished."
    done = f" of {plan.runs} ({plan.finished} have finished)" if plan.finished else ""
    together = f", {plan.jobs} at once" if plan.jobs > 1 else ""
    if plan.updates is not None:
        budget = f"{plan.updates:,} updates in all; how long they take is known when the first have been made"
    elif plan.minutes is not None:
        budget = f"{duration(60 * plan.minutes / min(plan.jobs, max(todo, 1)))} of training"
    else:
        budget = "how long they take is known when the first updates have been made"
    return f"{todo} runs{done}{together}: {budget}."
