"""The verb `export`: write a model for another program."""

from pathlib import Path
from typing import Annotated

import typer

import zhuyi
from zhuyi.cli.app import USE, verb
from zhuyi.cli.options import (
    ModelDirectory,
)


@verb(
    USE,
    "zhuyi export en-de --to ctranslate2 --out en-de-ct2",
    "[dim]# A quarter of the size; compared on lines of your own.[/]\n"
    "zhuyi export en-de --to ctranslate2 --out en-de-int8 \\\n"
    "    --precision int8 --source test.en",
)
def export(
    model: ModelDirectory,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="Whose format: ctranslate2.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where it goes; an earlier export in it is replaced.")],
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="Of the weights: float32, or int8, whose answers may differ.")
    ] = "float32",
    source: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Compare the answers on the first 20 lines of this; text or FILE.tsv#COLUMN, ... Default: lines made "
            "of the vocabulary.",
        ),
    ] = None,
) -> None:
    """Write a model for another program, and check that it gives the same answers there.

    With --to ctranslate2, DIR is what ctranslate2.Translator opens, together with the tokenizers and a README.md whose
    lines of Python translate without zhuyi and without torch. It needs the extra "ctranslate2".

    At the end, 20 lines are translated by both programs, with greedy search, and compared. Beams agree at
    --length-penalty 0 only: other programs have other length penalties. What the other program cannot compute, such as
    model.positions = "alibi", is refused, and nothing is written.
    """
    from zhuyi.data.corpus import read_lines

    lines = read_lines(source) if source is not None else None
    exported = zhuyi.export_model(model, out, to, precision=precision, lines=lines)
    print(
        f"{out}: {exported.same} of {exported.lines} the same as zhuyi, by greedy search; log-probabilities of tokens "
        f"differ by {exported.difference:.1g} at most"
    )
    print(f"Beams agree with zhuyi's at length penalty 0 only. Use it: see {out / 'README.md'}")
