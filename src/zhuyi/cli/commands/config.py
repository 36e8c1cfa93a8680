"""The command `config`: show every setting of a run or of a model."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zhuyi.cli.app import TRAIN, command
from zhuyi.cli.options import (
    Preset,
    Settings,
    of_model,
    resolve,
)
from zhuyi.cli.streams import write_stdout
from zhuyi.errors import ConfigError


@command(
    TRAIN,
    "zhuyi config en-de.toml",
    "zhuyi config en-de.toml --preset tiny --set training.minutes=10",
    "[dim]# A file to start from, with all settings of the 2017 model.[/]\nzhuyi config --preset paper > en-de.toml",
    "[dim]# Make a beam of 8 the default of a model.[/]\nzhuyi config en-de --set decoding.beam=8 --save",
)
def config(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG.toml|MODEL", show_default=False, help="File of settings, or directory of a trained model."
        ),
    ] = None,
    settings: Settings = None,
    preset: Preset = None,
    save: Annotated[bool, typer.Option("--save", help="Write decoding.KEY=VALUE into the MODEL.")] = False,
) -> None:
    """Show every setting of a run, its value, and what it means.

    Prints the resolved configuration as TOML: --set overrides CONFIG.toml, which overrides the preset, which overrides
    the defaults. Without CONFIG.toml, it starts from the preset. For a trained model, only the settings of the search
    (decoding.KEY) can be changed.
    """
    from zhuyi.config import to_toml

    if config is not None and config.is_dir():
        resolved = of_model(config, settings, preset, save)
    elif save:
        raise ConfigError("--save writes into a MODEL directory; save a configuration with: zhuyi config > FILE.toml")
    else:
        resolved = resolve(config, settings or [], preset)
    text = to_toml(resolved)
    if sys.stdout is not None and sys.stdout.isatty():
        from rich.console import Console
        from rich.syntax import Syntax

        Console().print(Syntax(text, "toml", background_color="default", word_wrap=True))
    else:
        write_stdout(text)
