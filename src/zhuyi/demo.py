"""`zhuyi demo`: the main job on data that it makes itself: dates as people write them → ISO 8601."""

import shlex
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.table import Table

from zhuyi.checkpoint import ensure_writable, write_atomically
from zhuyi.config import build_config, load_config
from zhuyi.data.dates import LOCALES, date_pairs, write_dates
from zhuyi.errors import CheckpointError
from zhuyi.training.loop import Result, train
from zhuyi.translator import load

SHOWN = 12
"""Answers that are printed at the end."""


def demo(minutes: float = 2.0, out: str | Path = "zhuyi-demo", console: Console | None = None) -> Result:
    """Make the dates, train on them, and show what the model says to dates that it has never seen.

    Args:
        minutes: of training.
        out: gets the data, the configuration and the model.
        console: where to show it.

    Raises:
        ConfigError: if no run can have so many minutes.
        CheckpointError: if `out` exists already, or cannot be written.
    """
    budget = f"training.minutes={minutes}"
    build_config({}, [budget])
    out, console = Path(out), console or Console(quiet=True)
    if out.exists() and any(out.iterdir()):
        raise CheckpointError(f"{out} exists already: remove it, or choose another place with --out")
    ensure_writable(out)
    pairs = date_pairs()
    write_dates(out / "dates", pairs)
    configuration = out / "dates.toml"
    write_atomically(configuration, resources.files("zhuyi").joinpath("dates.toml").read_bytes())
    console.print(
        f"[bold]Dates of {len(LOCALES)} locales → ISO 8601.[/] {len(pairs.train):,} pairs to learn from, "
        f"{len(pairs.test):,} of other dates to be tested on; an encoder–decoder Transformer from scratch.\n",
        highlight=False,
    )
    result = train(load_config(configuration, [budget]), out, console=console)
    if result.interrupted:
        return result

    shown = pairs.test[:SHOWN]
    table = Table("a date it has never seen", "the model's answer", "", title_justify="left", box=None)
    translator = load(out)
    answers = translator.translate([written for written, _ in shown])
    for (written, iso), answer in zip(shown, answers, strict=True):
        table.add_row(written, answer, "[green]✓[/]" if answer == iso else f"[red]✗ {iso}[/]")
    console.print(table)
    exact, place = result.evaluations["test"].scores["exact"].value, shlex.quote(str(out))
    console.print(
        f"\n[bold]{exact:.2f} % exactly right[/] of {len(pairs.test):,} test dates "
        f"after {result.steps:,} steps in {result.seconds / 60:.1f} minutes (weights: {result.chosen}).",
        highlight=False,
    )
    page = out / "look.html"
    translator.look(shown[0][0], target=shown[0][1]).save(page)
    console.print(
        f"\nEvery step of the first one is a page now; open it in a browser: {page}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    console.print(
        "\nNext:\n\n"
        f"  echo '7. März 2024' | zhuyi translate {place}\n"
        f"  zhuyi look {place} '7. März 2024'\n"
        f"  zhuyi evaluate {place} --source {place}/dates/test.text --target {place}/dates/test.iso\n"
        "  zhuyi train --source your.src --target your.tgt --dev-source dev.src --dev-target dev.tgt\n",
        highlight=False,
        markup=False,
        soft_wrap=True,  # the terminal may wrap: a line break of our own would be pasted with the command
    )
    return result
