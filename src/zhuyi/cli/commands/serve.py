"""The command `serve`: serve models over HTTP."""

import re
from typing import Annotated

import typer

from zhuyi.cli.app import USE, command
from zhuyi.cli.options import Device, Engine, Precision, Workers
from zhuyi.errors import ConfigError, MissingExtra

ORIGIN = re.compile(r"[a-z][a-z0-9.+-]*://[^/\s]+|\*")
"""An origin as browsers write it."""
HOST = re.compile(r"(\*\.)?[\w.-]+|\[[\da-fA-F:.]+\]|\*")
"""Of a Host header, without its port."""


@command(
    USE,
    "zhuyi serve en-de",
    "[dim]# Then, in another terminal:[/]\n"
    "curl 127.0.0.1:8000/api/translate -H 'Content-Type: application/json' \\\n"
    '    -d \'{"lines": ["A dog runs."]}\'',
    "[dim]# Several models; English to French is translated through German.[/]\n"
    "zhuyi serve en-de de-fr=runs/7 --precision int8",
    "[dim]# For other machines, with an API key.[/]\nZHUYI_API_KEY=... zhuyi serve en-de --host 0.0.0.0 --port 80",
)
def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            show_default=False,
            help="Model directories, or hub:USER/NAME; NAME=MODEL gives a model another name. A model named en-de "
            "translates English to German, unless its configuration names its languages.",
        ),
    ],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 admits other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="ZHUYI_API_KEY",
            help="Key that requests have to send. Default: none is needed.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Site whose pages may call the server from a browser, such as https://example.org. Can be repeated. "
            "Default: all sites, and browser plug-ins.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Further name of the server in the Host header, such as translate.example.org or *.example.org. Can "
            "be repeated. Default: localhost and --host only, or any name if --host admits other machines.",
        ),
    ] = None,
    idle: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Unload a model that was not used for this time.")
    ] = 300.0,
    queue: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Most characters of all requests together, waiting or in translation; a beam wider than the model's "
            "own counts more.",
        ),
    ] = 100_000,
    deadline: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Time limit of a request.")] = 60.0,
    connections: Annotated[int, typer.Option(min=1, metavar="N", help="Most connections at once.")] = 1000,
    request_bytes: Annotated[int, typer.Option(min=1, metavar="N", help="Largest size of a request.")] = 1_000_000,
    alternatives: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most translations of a text, and widest beam.")
    ] = 10,
    device: Device = "auto",
    engine: Engine = None,
    precision: Precision = None,
    workers: Workers = None,
) -> None:
    """Serve models over HTTP, with the APIs that programs already use, and with a page to translate in.

    The APIs are those of LibreTranslate, OpenAI, DeepL, the plug-ins DeepLX, Immersive Translate and KISS Translator,
    and zhuyi's own; docs/serving.md explains how to set up each client.

    Requests are batched dynamically: they join and leave a running search between its steps. Batching does not change
    any translation. A model is loaded when it is first used. A single model answers requests for every model name and
    language; with several, a request names the model or the languages. Where no model has both languages, two are
    chained.

    Only this machine can connect, unless --host admits others. An overloaded server replies when to try again (429).
    After SIGTERM or Ctrl-C, the server finishes the requests that it has accepted. No text is logged. This needs the
    extra "serve".
    """
    try:
        from zhuyi.serve import Limits, Models, Service, Settings, run
    except ModuleNotFoundError as error:
        raise MissingExtra("serve", "serve") from error

    origins, hosts = allow_origin or ["*"], allow_host or []
    for each in origins:
        if not ORIGIN.fullmatch(each):
            raise ConfigError(f"--allow-origin {each}: write it as https://example.org, without a path")
    for each in hosts:
        if not HOST.fullmatch(each):
            raise ConfigError(f"--allow-host {each}: write it as translate.example.org, without a port")
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
            print(f"{model.pairs}: {model.weight_bytes / 1e6:,.1f} MB of weights when loaded")
        print(f"{url}\nPress Ctrl-C to stop after all accepted requests are answered; twice to stop now.", flush=True)

    run(service, host, port, origins, hosts, announce)
