"""How far a corpus is translated: a live line on a terminal, and a line for each shard that is done."""

from rich.console import Console
from rich.text import Text

from zhuyi.display.duration import duration
from zhuyi.shards import Progress


class ShardsDisplay:
    """A listener of `translate_shards`. Use it as a context, so that the terminal is left in order.

    Args:
        console: where to show it. Where it is no terminal, there is no live line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.status("")

    def __enter__(self) -> "ShardsDisplay":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def __call__(self, event: Progress) -> None:
        """Show an event."""
        shards = f"{event.finished} of {event.jobs} shards"
        if event.seconds_left is not None and event.finished < event.jobs:
            shards += f", about {duration(event.seconds_left)} left"
        if event.lines < event.of_lines:
            self._live.update(Text(f"{event.source}: {event.lines:,} of {event.of_lines:,} lines; {shards}"))
        else:
            self._console.print(
                f"{event.source}: {event.lines:,} lines; {shards}", highlight=False, markup=False, soft_wrap=True
            )
