"""What `zhuyi demo` shows at its end."""

import shlex
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from zhuyi.demo import Demo


def show_demo(demo: "Demo", console: Console) -> None:
    """Print the model's answers, its score, and what to do next."""
    table = Table("a date it has never seen", "the model's answer", "", title_justify="left", box=None)
    for written, iso, answer in demo.answers:
        table.add_row(written, answer, "[green]✓[/]" if answer == iso else f"[red]✗ {iso}[/]")
    console.print(table)
    result, place = demo.result, shlex.quote(str(demo.result.directory))
    exact = result.evaluations["test"].scores["exact"].value
    console.print(
        f"\n[bold]{exact:.2f} % exactly right[/] of {demo.test_pairs:,} test dates "
        f"after {result.steps:,} steps in {result.seconds / 60:.1f} minutes (weights: {result.chosen}).",
        highlight=False,
    )
    console.print(
        f"\nA page with the model in it, which shows its every step; open it in a browser: {demo.page}\n\n"
        "Next:\n\n"
        f"  echo '7. März 2024' | zhuyi translate {place}\n"
        f"  zhuyi look {place} '7. März 2024'\n"
        f"  zhuyi evaluate {place} --source {place}/dates/test.text --target {place}/dates/test.iso\n"
        "  zhuyi train --source your.src --target your.tgt --dev-source dev.src --dev-target dev.tgt\n",
        highlight=False,
        markup=False,
        soft_wrap=True,  # the terminal may wrap: a line break of our own would be pasted with the command
    )
