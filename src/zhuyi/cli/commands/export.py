"""The command `export`: write a model in the format of another program."""

from pathlib import Path
from typing import Annotated

import typer

import zhuyi
from zhuyi.cli.app import USE, command
from zhuyi.cli.options import ModelDirectory
from zhuyi.errors import ConfigError
from zhuyi.hub import HUB


@command(
    USE,
    "zhuyi export en-de --to ctranslate2 --out en-de-ct2",
    "[dim]# A quarter of the size, compared on lines of your own.[/]\n"
    "zhuyi export en-de --to ctranslate2 --out en-de-int8 \\\n"
    "    --precision int8 --source test.en\n"
    "[dim]# For AutoModelForSeq2SeqLM, and for a browser or C#.[/]\n"
    "zhuyi export en-de --to huggingface --out en-de-hf\n"
    "zhuyi export en-de --to onnx --out en-de-onnx\n"
    "[dim]# Any machine then runs: zhuyi translate hub:me/en-de[/]\n"
    "zhuyi export en-de --to hub:me/en-de",
)
def export(
    model: ModelDirectory,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="Format: ctranslate2, huggingface or onnx; or hub:USER/NAME to upload the model as it is.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False, help="Directory to write; replaces an earlier export."),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Precision of the weights: float32; or int8 (ctranslate2, onnx), int16 or float16 (ctranslate2), "
            "which may change translations.",
        ),
    ] = "float32",
    source: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Compare translations of the first 20 lines of this file; text or FILE.tsv#COLUMN, ... Default: lines "
            "of random tokens.",
        ),
    ] = None,
) -> None:
    """Write a model in the format of another program, and check that it translates the same there.

    DIR gets the model, its tokenizers, and a README.md with Python code that translates without zhuyi. With --to
    ctranslate2, ctranslate2.Translator opens DIR. With --to huggingface, AutoModelForSeq2SeqLM and AutoTokenizer of
    transformers open it, and zhuyi import reads it back. With --to onnx, it holds two graphs for onnxruntime. Each
    format needs the extra of its name.

    With --to hub:USER/NAME, the model directory itself is uploaded to the Hugging Face hub; a new repository is
    private. Every command accepts hub:USER/NAME in place of a model directory. This needs the extra "hub" and a login
    (hf auth login).

    Before DIR is written, both programs translate 20 lines with greedy search, and the results are compared. If the
    other program does not support the model, for example model.mixer = "convolution", the command says why and writes
    nothing.
    """
    if to.startswith(HUB):
        if out is not None or source is not None or precision != "float32":
            raise ConfigError(f"--to {to}: the model is uploaded as it is: leave out --out, --precision and --source")
        print(f"{to}: {zhuyi.upload_model(model, to)}")
        return
    if out is None:
        raise ConfigError(f"--to {to}: give the directory to write with --out")
    from zhuyi.data.corpus import read_lines

    lines = read_lines(source) if source is not None else None
    exported = zhuyi.export_model(model, out, to, precision=precision, lines=lines)
    print(
        f"{out}: {exported.same} of {exported.lines} the same as zhuyi, by greedy search; log-probabilities of tokens "
        f"differ by {exported.difference:.1g} at most"
    )
    print(f"How to use it, and when beams agree: see {out / 'README.md'}")
