"""The verb `look`: see every step of a model in the browser."""

import webbrowser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import typer

import zhuyi
from zhuyi.cli.app import LOOK, verb
from zhuyi.cli.options import (
    Beam,
    DecodingSettings,
    Device,
    LengthPenalty,
    MaxRatio,
    ModelDirectory,
    NBest,
    as_text,
    of_decoding,
    translator_of,
)
from zhuyi.errors import ConfigError

if TYPE_CHECKING:
    from zhuyi.translator import Translator


@verb(
    LOOK,
    'zhuyi look zhuyi-demo "3. Juli 1998"',
    "[dim]# With the right answer beside it, and as one file that needs no network.[/]\n"
    'zhuyi look en-de "A dog runs." --target "Ein Hund rennt." --html dog.html',
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
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one file, and serve nothing.")] = None,
    full: Annotated[bool, typer.Option("--full", help="With --html: leave nothing out, whatever the size.")] = False,
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

    The page is served to this machine alone, until Ctrl-C. With --html it becomes one file that opens anywhere.
    """
    if (target is not None or html is not None) and sentence is None:
        raise ConfigError("--target and --html want a SENTENCE to look at")
    if full and html is None:
        raise ConfigError("--full is of the file that --html writes")
    from zhuyi.directory import checkpoints
    from zhuyi.microscope.server import Microscope
    from zhuyi.translator import OF_ENGINE

    if named := OF_ENGINE & of_decoding(settings).keys():
        keys = ", ".join(f"decoding.{key}" for key in sorted(named))
        raise ConfigError(f"torch computes what is looked at, in float32: leave out --set {keys}")

    def load(path: Path) -> "Translator":
        return translator_of(path, device, beam, length_penalty, max_ratio, n_best, settings, "torch", "float32")

    translator = load(model)
    if html is not None:
        assert sentence is not None
        size = zhuyi.look(translator, sentence, target=target).save(html, full)
        print(f"{html}: {size / 1e6:.1f} MB; open it in any browser")
        return
    kept = {path.name: partial(load, path) for path in checkpoints(model)}
    with Microscope(translator, host, port, kept) as server:
        words = {"text": sentence, "target": target} if sentence is not None else {}
        url = server.url + ("#" + urlencode({key: value for key, value in words.items() if value}) if words else "")
        print(f"{url}\nCtrl-C ends it.", flush=True)
        if browser:
            webbrowser.open(url)
        server.serve_forever()
