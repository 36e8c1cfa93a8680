"""The command `look`: see every step of a model in the browser."""

import webbrowser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import typer

import zhuyi
from zhuyi.cli.app import LOOK, command
from zhuyi.cli.options import (
    Beam,
    DecodingSettings,
    Device,
    FromLanguage,
    LengthPenalty,
    MaxRatio,
    ModelDirectory,
    NBest,
    To,
    as_text,
    of_decoding,
    translator_of,
)
from zhuyi.errors import ConfigError

if TYPE_CHECKING:
    from zhuyi.translator import Translator


@command(
    LOOK,
    'zhuyi look zhuyi-demo "3. Juli 1998"',
    "[dim]# One file with the model in it: it answers any sentence, offline.[/]\n"
    "zhuyi look zhuyi-demo --html dates.html\n"
    "[dim]# It opens with this sentence, and with the right answer beside it.[/]\n"
    'zhuyi look en-de "A dog runs." --target "Ein Hund rennt." --html dog.html\n'
    "[dim]# What is the mask for? Two models on one page.[/]\n"
    "zhuyi look zhuyi-demo --beside runs/no-mask",
)
def look(
    model: ModelDirectory,
    sentence: Annotated[
        str | None,
        typer.Argument(
            parser=as_text, metavar="SENTENCE", show_default=False, help="What to look at; or type it there."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(parser=as_text, metavar="TEXT", help="The right answer, to compare.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one file with the model in it, and serve nothing.")
    ] = None,
    with_checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="With --html: the models kept in training, too, each as large.")
    ] = False,
    beside: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Another model on the same page, such as one trained --without a part."),
    ] = None,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="With --html: only the answer to SENTENCE, in 2 MB; for large models.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="With --frozen: leave nothing out, whatever the size.")] = False,
    to: To = None,
    from_language: FromLanguage = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    max_ratio: MaxRatio = None,
    n_best: NBest = None,
    settings: DecodingSettings = None,
    device: Device = "auto",
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page.")] = True,
) -> None:
    """See every step of your own model in the browser: tokens, queries, scores, heads, steps and beams.

    The page is served to this machine alone, until Ctrl-C. With --html it becomes one file that opens anywhere, and
    in which everything works.
    """
    if (target is not None or frozen) and sentence is None:
        raise ConfigError("--target and --frozen want a SENTENCE to look at")
    if (frozen or with_checkpoints) and html is None:
        raise ConfigError("--frozen and --checkpoints are of the file that --html writes")
    if full and not frozen:
        raise ConfigError("--full is of the file that --frozen writes")
    if frozen and (with_checkpoints or beside is not None):
        raise ConfigError("a frozen file has no models in it: leave out --frozen, or --checkpoints and --beside")
    from zhuyi.directory import checkpoints
    from zhuyi.microscope.page import save_page
    from zhuyi.microscope.server import Microscope
    from zhuyi.translator import OF_ENGINE

    if named := OF_ENGINE & of_decoding(settings).keys():
        keys = ", ".join(f"decoding.{key}" for key in sorted(named))
        raise ConfigError(f"torch computes what is looked at, in float32: leave out --set {keys}")

    def load(path: Path) -> "Translator":
        search = beam, length_penalty, max_ratio, n_best, settings
        return translator_of([path], device, *search, "torch", "float32", to=to, from_language=from_language)

    translator, other = load(model), load(beside) if beside is not None else None
    kept = {path.name: partial(load, path) for path in checkpoints(model)}
    if html is not None:
        if frozen:
            assert sentence is not None
            size = zhuyi.look(translator, sentence, target=target).save(html, frozen=True, full=full)
        else:
            size = save_page(html, translator, sentence, target, kept, with_checkpoints, other)
        print(f"{html}: {size / 1e6:.1f} MB; open it in any browser")
        return
    with Microscope(translator, host, port, kept, other) as server:
        words = {"text": sentence, "target": target} if sentence is not None else {}
        url = server.url + ("#" + urlencode({key: value for key, value in words.items() if value}) if words else "")
        print(f"{url}\nCtrl-C ends it.", flush=True)
        if browser:
            webbrowser.open(url)
        server.serve_forever()
