"""The command `demo`: train a small model, and show what it has learnt."""

from pathlib import Path
from typing import Annotated

import typer

from zhuyi.cli.app import START, command
from zhuyi.cli.messages import stopped


@command(
    START,
    "zhuyi demo",
    "[dim]# Half the time, in another directory; then translate with the model.[/]\n"
    "zhuyi demo --minutes 1 --out my-dates\n"
    'echo "3 July 1998" | zhuyi translate my-dates',
)
def demo(
    minutes: Annotated[float, typer.Option(min=0.01, metavar="MINUTES", help="Duration of the training.")] = 2.0,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Model directory to write.")] = Path("zhuyi-demo"),
) -> None:
    """Train a small model, and show what it has learnt.

    The model converts dates as people write them in many languages to ISO 8601: "3. Juli 1998" → 1998-07-03. Nothing is
    downloaded. The result is a model directory like any other.
    """
    from rich.console import Console

    from zhuyi.demo import demo as run
    from zhuyi.display import ProgressDisplay, show_demo
    from zhuyi.training.precision import keep_memory

    keep_memory()
    console = Console()
    with ProgressDisplay(console) as display:
        made = run(minutes=minutes, out=out, listeners=[display])
    if made.result.interrupted:
        budget = f"training.minutes={minutes}"
        stopped(["train", str(out / "dates.toml"), "--set", budget, "--out", str(out), "--resume"])
    show_demo(made, console)
