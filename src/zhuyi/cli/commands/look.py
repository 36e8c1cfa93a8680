"""The command `look`: show every step of a model in the browser."""

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
    "[dim]# One file with the model in it, for any sentence, offline.[/]\n"
    "zhuyi look zhuyi-demo --html dates.html\n"
    "[dim]# It opens with this sentence and its reference.[/]\n"
    'zhuyi look en-de "A dog runs." --target "Ein Hund rennt." --html dog.html\n'
    "[dim]# What is the mask for? Two models on one page.[/]\n"
    "zhuyi look zhuyi-demo --beside runs/no-mask",
)
def look(
    model: ModelDirectory,
    sentence: Annotated[
        str | None,
        typer.Argument(
            parser=as_text,
            metavar="SENTENCE",
            show_default=False,
            help="Sentence to look at; you can also type one on the page.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(parser=as_text, metavar="TEXT", help="Reference, to compare with.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the page as one file with the model in it, and start no server."),
    ] = None,
    with_checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints", help="With --html: include the checkpoints of the training, each as large as the model."
        ),
    ] = False,
    beside: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Another model for the same page, such as one trained --without a part."),
    ] = None,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="With --html: only the answer to SENTENCE, in 2 MB, for large models.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With --frozen: include every value, whatever the size.")
    ] = False,
    to: To = None,
    from_language: FromLanguage = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    max_ratio: MaxRatio = None,
    n_best: NBest = None,
    settings: DecodingSettings = None,
    device: Device = "auto",
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 admits other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Show every step of your own model in the browser: tokens, queries, scores, heads, steps and beams.

    The page is served to this machine alone, until Ctrl-C. With --html it is written as one file, which works without
    a server.
    """
    if (target is not None or frozen) and sentence is None:
        raise ConfigError("--target and --frozen need a SENTENCE to look at")
    if (frozen or with_checkpoints) and html is None:
        raise ConfigError("--frozen and --checkpoints need --html FILE")
    if full and not frozen:
        raise ConfigError("--full needs --frozen")
    if frozen and (with_checkpoints or beside is not None):
        raise ConfigError("a frozen file holds no models: leave out --frozen, or --checkpoints and --beside")
    from zhuyi.directory import checkpoints
    from zhuyi.microscope.page import save_page
    from zhuyi.microscope.server import Microscope
    from zhuyi.translator import OF_ENGINE

    if named := OF_ENGINE & of_decoding(settings).keys():
        keys = ", ".join(f"decoding.{key}" for key in sorted(named))
        raise ConfigError(f"look computes with torch, in float32: leave out --set {keys}")

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
        print(f"{url}\nPress Ctrl-C to stop.", flush=True)
        if browser:
            webbrowser.open(url)
        server.serve_forever()
