"""The command `import`: convert a model of another program to a model directory."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

import zhuyi
from zhuyi.cli.app import START, command
from zhuyi.errors import CheckpointError
from zhuyi.hub import is_on_hub
from zhuyi.text.template import listed


@command(
    START,
    "[dim]# OPUS-MT, from a directory or from the Hugging Face hub.[/]\n"
    "zhuyi import opus-mt-en-de --out en-de\n"
    "zhuyi import hub:Helsinki-NLP/opus-mt-en-de --out en-de\n"
    'echo "A dog runs." | zhuyi translate en-de',
    "[dim]# A model of Marian whose vocabularies are in another place.[/]\n"
    "zhuyi import model.npz --out en-de \\\n"
    "    --vocabulary source.spm --vocabulary target.spm",
    "[dim]# Train it further on your own pairs.[/]\nzhuyi train --from en-de --source my.en --target my.de --out mine",
    name="import",
)
def import_model(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", show_default=False, help="A directory or file, or hub:USER/NAME.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False, help="Model directory to write. Default: the name of PATH."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Format of PATH, if it could be either: huggingface or marian.",
        ),
    ] = None,
    vocabulary: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Vocabulary, if it is not beside the model. Give it twice for source and target.",
        ),
    ] = None,
    keep_vocabulary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Keep only the tokens that these lines, in both languages, and the model's translations of them "
            "need, and all single characters. Can be repeated.",
        ),
    ] = None,
) -> None:
    """Convert a model of another program to a model directory. It translates as the original does.

    PATH is a directory of Hugging Face with a MarianMT (OPUS-MT), M2M-100, NLLB, mBART, BART, T5, mT5 or ByT5 model, or
    a model of Marian: a .npz file, or its directory with the vocabularies and decoder.yml. The result is a model like
    any other, to translate with, look into and train further; for a multilingual one, translate --to sets the language.
    If zhuyi does not support a setting of the model, the command names it and writes nothing. The licence of the
    original also applies to the result; what is found about it is printed.
    """
    if is_on_hub(path):
        place = out or Path(path.name.partition("@")[0])
    else:
        whole = path.resolve()
        place = out or Path(whole.stem if path.is_file() else whole.name)
        if out is None and place.resolve() == whole:
            raise CheckpointError(
                f"{path}: the original is here: choose another directory for the new model with --out"
            )
    from zhuyi.data.corpus import read_lines

    keep = chain.from_iterable(map(read_lines, keep_vocabulary)) if keep_vocabulary else None
    imported = zhuyi.import_model(path, place, format, vocabularies=vocabulary or (), keep=keep)
    source, target = imported.tokens
    sizes = f"{source:,} tokens" if source == target else f"{source:,} and {target:,} tokens"
    print(f"{place}: {imported.program}, {imported.parameters:,} parameters, {sizes}")
    if imported.left_out:
        print(f"Left out: {imported.left_out:,} tokens that the files do not need")
    print(f"Licence: {imported.licence or 'not stated beside the model; ask its authors'}")
    if imported.languages:
        print(f"Languages: {listed(imported.languages)}")
    print(f"Use it:  zhuyi translate {place}{' --to LANGUAGE' if imported.languages else ''}")
