"""The command `serve`: answer requests over HTTP."""

import re
from typing import Annotated

import typer

from zhuyi.cli.app import USE, command
from zhuyi.cli.options import Device, Engine, Precision, Workers
from zhuyi.errors import ConfigError, MissingExtra

ORIGIN = re.compile(r"[a-z][a-z0-9.+-]*://[^/\s]+|\*")
"""As browsers write it; any other never matches."""
HOST = re.compile(r"(\*\.)?[\w.-]+|\[[\da-fA-F:.]+\]|\*")
"""Of a Host header, without its port."""


@command(
    USE,
    "zhuyi serve en-de",
    "[dim]# Then, in another terminal:[/]\n"
    "curl 127.0.0.1:8000/api/translate -H 'Content-Type: application/json' \\\n"
    '    -d \'{"lines": ["A dog runs."]}\'',
    "[dim]# Several models, by their languages; English to French goes through German.[/]\n"
    "zhuyi serve en-de de-fr=runs/7 --precision int8",
    "[dim]# For others, with a key.[/]\nZHUYI_API_KEY=... zhuyi serve en-de --host 0.0.0.0 --port 80",
)
def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            show_default=False,
            help="Model directories, or hub:USER/NAME; NAME=MODEL gives one another name. One called en-de is from "
            "English into German, unless it says its languages itself.",
        ),
    ],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="ZHUYI_API_KEY",
            help="Requests for translations have to bring it. Unset: none has to.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="A site whose pages may call the server in a browser, such as https://example.org; as often as you "
            "like. Unset: all of them, and browser plug-ins.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A further name that the server is called by (Host header), such as translate.example.org or "
            "*.example.org; as often as you like. Unset: localhost and --host alone, or any name if other machines are "
            "let in.",
        ),
    ] = None,
    idle: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="A model that is not used for so long is released.")
    ] = 300.0,
    queue: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Characters of all requests that wait or are translated; more for a beam wider than the model's own.",
        ),
    ] = 100_000,
    deadline: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Then a request is given up.")] = 60.0,
    connections: Annotated[int, typer.Option(min=1, metavar="N", help="Connections at once, at most.")] = 1000,
    request_bytes: Annotated[int, typer.Option(min=1, metavar="N", help="Size of a request, at most.")] = 1_000_000,
    alternatives: Annotated[
        int, typer.Option(min=1, metavar="N", help="Translations of a text and width of the beam, at most.")
    ] = 10,
    device: Device = "auto",
    engine: Engine = None,
    precision: Precision = None,
    workers: Workers = None,
) -> None:
    """Answer requests over HTTP, with the APIs that programs already use, and with a page to translate in.

    The APIs are those of LibreTranslate, OpenAI, DeepL, the plug-ins DeepLX, Immersive Translate and KISS Translator,
    and zhuyi's own; docs/serving.md says how each is set up.

    Requests join and leave a running search between its steps, and what a line becomes depends on nothing beside it.
    A model is loaded when it is first used. With one model, every model name and language is taken for it; with
    several, a request names the model or the languages, and two models translate together where none does alone.

    Only this machine is answered, unless --host says otherwise. A server that has too much to do says when to come
    again (429); one that gets SIGTERM or Ctrl-C finishes what it has taken. Nothing of the text is logged. It needs the
    extra "serve".
    """
    try:
        from zhuyi.serve import Limits, Models, Service, Settings, run
    except ModuleNotFoundError as error:
        raise MissingExtra("serve", "serve") from error

    origins, hosts = allow_origin or ["*"], allow_host or []
    for each in origins:
        if not ORIGIN.fullmatch(each):
            raise ConfigError(f"--allow-origin {each}: write it as browsers do, https://example.org, without a path")
    for each in hosts:
        if not HOST.fullmatch(each):
            raise ConfigError(f"--allow-host {each}: write the name alone, translate.example.org, without a port")
    served = Models(models, Settings(device, engine, precision, workers, idle))
    limits = Limits(
        connections=connections,
        request_bytes=request_bytes,
        queue=queue,
        deadline=deadline,
        alternatives=alternatives,
    )
    service = Service(served, limits, api_key)

    def announce(url: str) -> None:
        for model in served:
            print(f"{model.pairs}: {model.weight_bytes / 1e6:,.1f} MB of weights once it is used")
        print(f"{url}\nCtrl-C ends it when all that it has taken is answered; a second one, at once.", flush=True)

    run(service, host, port, origins, hosts, announce)
