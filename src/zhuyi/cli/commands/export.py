"""The command `export`: write a model for another program."""

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
    "[dim]# A quarter of the size; compared on lines of your own.[/]\n"
    "zhuyi export en-de --to ctranslate2 --out en-de-int8 \\\n"
    "    --precision int8 --source test.en\n"
    "[dim]# For AutoModelForSeq2SeqLM; for a browser, or C#.[/]\n"
    "zhuyi export en-de --to huggingface --out en-de-hf\n"
    "zhuyi export en-de --to onnx --out en-de-onnx\n"
    "[dim]# zhuyi translate hub:me/en-de then uses it anywhere.[/]\n"
    "zhuyi export en-de --to hub:me/en-de",
)
def export(
    model: ModelDirectory,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="Whose format: ctranslate2, huggingface or onnx; or hub:USER/NAME, to upload the model as it is.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False, help="Where it goes; an earlier export in it is replaced."),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Of the weights: float32; int8 (ctranslate2, onnx), int16 or float16 (ctranslate2), whose answers may "
            "differ.",
        ),
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

    DIR holds the model, its tokenizers, and a README.md whose lines of Python translate without zhuyi. With --to
    ctranslate2, ctranslate2.Translator opens it. With --to huggingface, AutoModelForSeq2SeqLM and AutoTokenizer of
    transformers do, and zhuyi import reads it again. With --to onnx, it has two graphs for onnxruntime. Each needs the
    extra of its name.

    With --to hub:USER/NAME, the model directory itself is uploaded to the Hugging Face hub, to a private repository
    unless there is one. Every command takes hub:USER/NAME in the place of a model directory. It needs the extra "hub",
    and a login (hf auth login).

    At the end, 20 lines are translated by both programs, with greedy search, and compared. What the other program
    cannot compute, such as model.mixer = "convolution", is refused, and nothing is written.
    """
    if to.startswith(HUB):
        if out is not None or source is not None or precision != "float32":
            raise ConfigError(f"--to {to}: the model is uploaded as it is: leave out --out, --precision and --source")
        print(f"{to}: {zhuyi.upload_model(model, to)}")
        return
    if out is None:
        raise ConfigError(f"--to {to}: where is it to go? Name a directory by --out")
    from zhuyi.data.corpus import read_lines

    lines = read_lines(source) if source is not None else None
    exported = zhuyi.export_model(model, out, to, precision=precision, lines=lines)
    print(
        f"{out}: {exported.same} of {exported.lines} the same as zhuyi, by greedy search; log-probabilities of tokens "
        f"differ by {exported.difference:.1g} at most"
    )
    print(f"How to use it, and when beams agree: see {out / 'README.md'}")
