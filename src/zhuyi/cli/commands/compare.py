"""The command `compare`: train variants of a model and compare them."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import zhuyi
from zhuyi.cli.app import TRAIN, command
from zhuyi.cli.options import Preset, Settings, resolve
from zhuyi.cli.streams import write_stdout
from zhuyi.errors import ConfigError


@command(
    TRAIN,
    "[dim]# Three runs of each variant, in runs/compare-en-de.[/]\n"
    "zhuyi compare en-de.toml \\\n"
    "    --vary model.mixer=attention,convolution,recurrence",
    "[dim]# With equal numbers of parameters, 2,000 updates, two runs at once.[/]\n"
    "zhuyi compare en-de.toml \\\n"
    "    --vary model.mixer=attention,convolution,recurrence \\\n"
    "    --equal parameters --jobs 2 --set training.steps=2000",
    "[dim]# Every combination of two settings, with two seeds.[/]\n"
    "zhuyi compare en-de.toml --vary model.norm=pre,post \\\n"
    "    --vary model.dropout=0.1,0.3 --seeds 2",
)
def compare(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG.toml", show_default=False, help="File of the settings that all variants share."),
    ],
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            metavar="SECTION.KEY=A,B",
            help="Values of one setting. Repeat it to compare all combinations of several settings.",
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each variant, with different seeds.")] = 3,
    settings: Settings = None,
    preset: Preset = None,
    equal: Annotated[
        str | None,
        typer.Option(
            metavar="parameters",
            show_default=False,
            help="Choose model.feed_forward of each variant so that it has as many parameters as the first one.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Runs at once. With several GPUs, each run uses one.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False, help="Directory to write. Default: runs/compare-CONFIG."),
    ] = None,
) -> None:
    """Train variants of a model, each with several seeds, and compare them.

    DIR gets comparison.md (tables, and how to read them), comparison.svg (score by updates and by minutes, with bands
    over the seeds), comparison.json (all results), and each run in runs/NAME-sN, a model directory like any other. The
    report has scores, parameters, speed, memory, how far one layer reaches, and confidence intervals of the differences
    from the first variant.

    An estimate of the cost is shown before the first run. After Ctrl-C, the same command continues; with a higher
    --seeds, it adds runs. Each run uses one CPU thread unless training.threads is set. A budget in updates
    (training.steps) gives the same result on a busy machine; a budget in minutes does not.
    """
    from rich.console import Console
    from rich.markdown import Markdown

    from zhuyi.comparison.markdown import MARKDOWN, to_markdown
    from zhuyi.display.comparison import ComparisonDisplay

    directory = out or Path("runs") / f"compare-{config.stem}"
    resolved = resolve(config, settings or [], preset)
    with ComparisonDisplay(Console(stderr=True)) as display:
        found = zhuyi.compare(
            resolved, dict(map(_values, vary)), directory, seeds=seeds, equal=equal, jobs=jobs, listener=display
        )
    if found is None:
        print(f"zhuyi: stopped and saved; continue with: {shlex.join(['zhuyi', *sys.argv[1:]])}", file=sys.stderr)
        raise typer.Exit(130)
    if sys.stdout is not None and sys.stdout.isatty():
        Console().print(Markdown(to_markdown(found)))
    else:
        write_stdout(to_markdown(found))
    print(f"{directory / MARKDOWN}", file=sys.stderr)


def _values(text: str) -> tuple[str, list[Any]]:
    """`section.key=A,B` → the key and its values."""
    from zhuyi.config import parse_override

    key, equals, values = map(str.strip, text.partition("="))
    if not equals or not values:
        raise ConfigError(f"--vary {text}: write it as section.key=A,B")
    try:
        return key, [parse_override(f"{key}={value.strip()}")[1] for value in values.split(",")]
    except ConfigError as error:
        raise ConfigError(str(error).replace("--set ", "--vary ")) from error
