"""The typer application: the help page with its groups of commands, and what runs before every command."""

import inspect
import os
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

import zhuyi
from zhuyi.errors import ConfigError

START, TRAIN, USE, LOOK = "Start", "Train", "Use", "Look"
"""The groups of commands on the help page."""

Command = TypeVar("Command", bound=Callable[..., None])


def _examples(*examples: str) -> str:
    """The examples at the end of a help page."""
    return "\n\n".join(["[bold]Examples[/]", *examples])


def _prose(docstring: str | None) -> str:
    """The paragraphs of a docstring as one line each, which are wrapped to the width of the terminal."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


app = typer.Typer(
    help=_prose(
        """注意, "attention": train a Transformer on your own pairs of lines, labels or text, use it, look inside it.

        Start with [bold]demo[/]. Then run [bold]train[/] on two text files of your own. It writes a model directory, on
        which you run [bold]translate[/], [bold]evaluate[/] and [bold]look[/]. For the options of a command:
        zhuyi train --help
        """
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples(
        "[dim]# See it work, in two minutes and without a download.[/]\nzhuyi demo",
        "[dim]# Train on your own text: two files with as many lines, in the same order.[/]\n"
        "zhuyi check --source train.en --target train.de\n"
        "zhuyi train --source train.en --target train.de \\\n"
        "    --dev-source dev.en --dev-target dev.de --out en-de",
        "[dim]# Use it.[/]\n"
        'echo "A dog runs." | zhuyi translate en-de\n'
        "zhuyi evaluate en-de --source test.en --target test.de",
        '[dim]# Look inside it.[/]\nzhuyi look en-de "A dog runs."',
    ),
)


def command(group: str, *examples: str, name: str | None = None) -> Callable[[Command], Command]:
    """Add a command to the application, whose docstring is its help page.

    Args:
        group: the group on the help page, such as `START`.
        examples: shown at the end of the help page.
        name: unset: the name of the function.
    """
    return lambda run: app.command(name, help=_prose(run.__doc__), epilog=_examples(*examples), rich_help_panel=group)(
        run
    )


def _version(asked: bool) -> None:
    if asked:
        print(f"zhuyi {zhuyi.__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)]


@app.callback()
def _before_any_command(version: Version = False) -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:  # torch's own libraries end the process where there is none
        raise ConfigError("the current directory has been removed: change to another one") from error
