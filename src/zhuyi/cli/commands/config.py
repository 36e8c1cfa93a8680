"""The command `config`: show every setting."""

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
    "[dim]# All settings of the 2017 model, to start a file of your own.[/]\nzhuyi config --preset paper > en-de.toml",
    "[dim]# From now on, this model searches with a beam of 8.[/]\nzhuyi config en-de --set decoding.beam=8 --save",
)
def config(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG.toml|MODEL", show_default=False, help="The settings of a run to be, or of a trained model."
        ),
    ] = None,
    settings: Settings = None,
    preset: Preset = None,
    save: Annotated[bool, typer.Option("--save", help="Keep decoding.KEY=VALUE in the MODEL.")] = False,
) -> None:
    """Show every setting of a run, its value, and what it means.

    What is shown is the resolved configuration: defaults, under the preset, under CONFIG.toml, under --set. It is
    TOML itself. Without a CONFIG.toml, the defaults are shown. Of a trained model, only how it searches can be changed.
    """
    from zhuyi.config import to_toml

    if config is not None and config.is_dir():
        resolved = of_model(config, settings, preset, save)
    elif save:
        raise ConfigError(
            "--save writes into a MODEL directory; a configuration is kept with: zhuyi config > FILE.toml"
        )
    else:
        resolved = resolve(config, settings or [], preset)
    text = to_toml(resolved)
    if sys.stdout is not None and sys.stdout.isatty():
        from rich.console import Console
        from rich.syntax import Syntax

        Console().print(Syntax(text, "toml", background_color="default", word_wrap=True))
    else:
        write_stdout(text)
