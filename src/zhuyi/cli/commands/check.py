"""The command `check`: report on a corpus without training on it."""

import zhuyi
from zhuyi.cli.app import TRAIN, command
from zhuyi.cli.options import (
    ConfigFile,
    DevSource,
    DevTarget,
    Preset,
    Settings,
    Source,
    Target,
    configuration,
)


@command(
    TRAIN,
    "zhuyi check --source train.en --target train.de",
    "[dim]# Two columns of a table, and which pairs are also in the dev set.[/]\n"
    "zhuyi check --source pairs.tsv#1 --target pairs.tsv#2 \\\n"
    "    --dev-source dev.tsv#1 --dev-target dev.tsv#2",
    "zhuyi check en-de.toml",
)
def check(
    config: ConfigFile = None,
    source: Source = None,
    target: Target = None,
    dev_source: DevSource = None,
    dev_target: DevTarget = None,
    settings: Settings = None,
    preset: Preset = None,
) -> None:
    """Report on a corpus without training on it.

    Counts pairs, empty lines, duplicates, unknown tokens, pairs that are also in the dev or test set, and lines over
    the length limit, and shows the distribution of lengths. For running text (data.text), it counts characters, bytes,
    repeated lines, and dev lines that are also in the training text. [bold]train[/] shows the same table before it
    starts.
    """
    from rich.console import Console

    from zhuyi.display import ProgressDisplay, show_report

    console = Console()
    resolved = configuration(config, source, target, dev_source, dev_target, settings, preset)
    with ProgressDisplay(console) as display:
        report = zhuyi.check(resolved, [display])
    show_report(report, console)
