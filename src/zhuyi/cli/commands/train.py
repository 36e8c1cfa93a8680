"""The command `train`: train a model."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

import zhuyi
from zhuyi.cli.app import TRAIN, command
from zhuyi.cli.messages import show, stopped
from zhuyi.cli.options import (
    ConfigFile,
    DevSource,
    DevTarget,
    Preset,
    Settings,
    Source,
    Target,
    configuration,
    taken_away,
)
from zhuyi.cli.streams import to_json


@command(
    TRAIN,
    "[dim]# On two files, for 30 minutes, into zhuyi-model.[/]\nzhuyi train --source train.en --target train.de",
    "[dim]# A smaller model for ten minutes, with a dev set.[/]\n"
    "zhuyi train --source train.en --target train.de \\\n"
    "    --dev-source dev.en --dev-target dev.de \\\n"
    "    --preset tiny --set training.minutes=10 --out en-de",
    "[dim]# From a file of settings, into runs/en-de; then resumed.[/]\n"
    "zhuyi train en-de.toml\n"
    "zhuyi train en-de.toml --resume",
    "[dim]# Fine-tune an existing model on your own pairs.[/]\n"
    "zhuyi train --from en-de --source my.en --target my.de \\\n"
    "    --dev-source dev.en --dev-target dev.de --out my-en-de",
    "[dim]# A language model on a file of running text.[/]\n"
    "zhuyi train --set data.text=book.txt \\\n"
    "    --set model.shape=decoder --out book",
    "[dim]# Without the causal mask, to see what it is for.[/]\nzhuyi train en-de.toml --without mask --out no-mask",
)
def train(
    config: ConfigFile = None,
    source: Source = None,
    target: Target = None,
    dev_source: DevSource = None,
    dev_target: DevTarget = None,
    settings: Settings = None,
    preset: Preset = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="Model directory to write. Default: runs/CONFIG, or zhuyi-model without a CONFIG.",
        ),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="MODEL", show_default=False, help="Start from the weights and vocabulary of this model."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="Train without a part of the model, to see what it is for: mask, positions, residual, norm, scaling, "
            "cross, begin, end, shift or warmup. Can be repeated.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in DIR that was stopped.")] = False,
) -> None:
    """Train a model on pairs of lines, on lines and their labels, or on running text.

    Two files with aligned lines are enough. With a dev set, the best checkpoint is kept instead of the last.
    model.shape sets the architecture: encoder-decoder (the default), decoder (GPT, on pairs or on data.text) or encoder
    (BERT, whose targets are labels). Options override CONFIG.toml; [bold]zhuyi config[/] lists all settings. Ctrl-C
    saves the run and prints the command that continues it.
    """
    from rich.console import Console

    from zhuyi.display import ProgressDisplay
    from zhuyi.training.distributed import is_main_process
    from zhuyi.training.precision import keep_memory

    keep_memory()
    start = [f"training.start_from={to_json(str(start_from))}"] if start_from is not None else []
    settings = [*start, *taken_away(without or []), *(settings or [])]
    resolved = configuration(config, source, target, dev_source, dev_target, settings, preset)
    directory = out or (Path("zhuyi-model") if config is None else Path("runs") / config.stem)
    with ProgressDisplay(Console(quiet=not is_main_process())) as display:
        result = zhuyi.train(resolved, directory, resume=resume, listeners=[display])
    if not is_main_process():
        raise typer.Exit(130 if result.interrupted else 0)
    if result.interrupted:
        stopped(sys.argv[1:] if resume else [*sys.argv[1:], "--resume"])
    print(f"\n{result.steps:,} steps in {result.seconds / 60:.1f} minutes; {directory} holds {result.chosen}.")
    if resolved.model.without:
        from zhuyi.model.broken import symptoms

        print(f"It was {symptoms(resolved.model.without)}.")
    for name, evaluation in result.evaluations.items():
        show(evaluation, name)
    if result.before and "dev" in result.evaluations:
        from zhuyi.training.card import gained

        print(f"{gained(result.before, result.evaluations['dev'])}.")
    place, int8 = shlex.quote(str(directory)), result.int8
    if int8 is not None:
        print(f"{int8}." if int8.recommended else f"{int8}: that changes too much, so stay with float32.")
    if resolved.data.text is None:
        print(f"Use it:  zhuyi translate {place} < in > out")
    elif resolved.model.shape == "decoder":
        print(f'Use it:  zhuyi generate {place} "PROMPT"')
    else:
        print(f"Train it further on labels:  zhuyi train LABELS.toml --from {place}")
    if int8 is not None and int8.recommended:
        print(f"Faster on CPUs:  zhuyi config {place} --set decoding.precision=int8 --save")
