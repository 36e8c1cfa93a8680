"""The command `import`: a model of another program becomes a model directory."""

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
    "[dim]# OPUS-MT, as it lies in a directory of Hugging Face, or on the hub.[/]\n"
    "zhuyi import opus-mt-en-de --out en-de\n"
    "zhuyi import hub:Helsinki-NLP/opus-mt-en-de --out en-de\n"
    'echo "A dog runs." | zhuyi translate en-de',
    "[dim]# A model of Marian; its vocabularies lie elsewhere.[/]\n"
    "zhuyi import model.npz --out en-de \\\n"
    "    --vocabulary source.spm --vocabulary target.spm",
    "[dim]# Go on with it on pairs of your own.[/]\nzhuyi train --from en-de --source my.en --target my.de --out mine",
    name="import",
)
def import_model(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", show_default=False, help="A directory or file, or hub:USER/NAME.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default=False, help="Where it goes. Default: the name of PATH.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="What PATH is, where it could be either: huggingface or marian.",
        ),
    ] = None,
    vocabulary: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="The vocabulary, where it does not lie beside the model; given twice: of the source, of the target.",
        ),
    ] = None,
    keep_vocabulary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Keep only the tokens that the lines of these files need, in both languages, and the model's answers "
            "to them; single characters are kept too. May be repeated.",
        ),
    ] = None,
) -> None:
    """Make a model directory of another program's model. It translates as the original does.

    Known are directories of Hugging Face with a MarianMT model, such as those of OPUS-MT, M2M-100, NLLB and mBART,
    whose language translate chooses by --to, or with BART, T5, mT5 or ByT5; and Marian's own models: a .npz, or the
    directory that it lies in with its vocabularies and decoder.yml. The result is an ordinary model: translate it, look
    into it, go on training it. What zhuyi has not is refused by the name of the setting, and nothing is written. The
    licence of the original goes on to hold: what is found about it is printed.
    """
    if is_on_hub(path):
        place = out or Path(path.name.partition("@")[0])
    else:
        whole = path.resolve()
        place = out or Path(whole.stem if path.is_file() else whole.name)
        if out is None and place.resolve() == whole:
            raise CheckpointError(f"{path}: the original lies here: say by --out where the new model goes")
    from zhuyi.data.corpus import read_lines

    keep = chain.from_iterable(map(read_lines, keep_vocabulary)) if keep_vocabulary else None
    imported = zhuyi.import_model(path, place, format, vocabularies=vocabulary or (), keep=keep)
    source, target = imported.tokens
    sizes = f"{source:,} tokens" if source == target else f"{source:,} and {target:,} tokens"
    print(f"{place}: {imported.program}, {imported.parameters:,} parameters, {sizes}")
    if imported.left_out:
        print(f"Left out: {imported.left_out:,} tokens that the files do not need")
    print(f"Licence: {imported.licence or 'nothing is said about it beside the model; ask its makers'}")
    if imported.languages:
        print(f"Languages: {listed(imported.languages)}")
    print(f"Use it:  zhuyi translate {place}{' --to LANGUAGE' if imported.languages else ''}")
