"""The ASGI application: all APIs for one service, and what is needed to operate a server.

    GET /health         200 while the process runs
    GET /ready          200 while requests are accepted
    GET /metrics        for Prometheus
    GET /openapi.json   the OpenAPI description of all APIs

Each API is a row of `APIS`, which defines its paths, its errors and its metrics.
"""

from collections.abc import Sequence
from functools import cache, partial
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from zhuyi.serve.api import API
from zhuyi.serve.deepl import DEEPL
from zhuyi.serve.description import describe
from zhuyi.serve.libretranslate import LIBRETRANSLATE
from zhuyi.serve.metrics import CONTENT_TYPE, Metrics
from zhuyi.serve.middleware import RequestMiddleware
from zhuyi.serve.openai import OPENAI
from zhuyi.serve.own import OWN
from zhuyi.serve.page import PAGE
from zhuyi.serve.plugins import PLUGINS
from zhuyi.serve.refusals import Refusal, malformed, one_line
from zhuyi.serve.service import Service
from zhuyi.version import __version__

APIS = (LIBRETRANSLATE, OPENAI, DEEPL, PLUGINS, PAGE, OWN)
"""All APIs. Errors for a path that belongs to none have the format of the last one."""


def api_of(path: str) -> API:
    """The API that a path belongs to; the last one, if it belongs to none."""
    return next((api for api in APIS if api.owns(path)), APIS[-1])


def application(service: Service, origins: Sequence[str] = ("*",), hosts: Sequence[str] = ("*",)) -> ASGIApp:
    """The ASGI application.

    `run` also limits connections and the headers of requests; with another ASGI server, configure that there.

    Args:
        service: translates.
        origins: the sites whose pages may call the server from a browser; "*" allows all, and browser plug-ins.
        hosts: the names and addresses that the Host header of a request may have; "*.example.org" allows all
            subdomains, "*" any name.
    """
    app = FastAPI(
        title="zhuyi", version=__version__, docs_url=None, redoc_url=None
    )  # these load scripts from other sites
    metrics = Metrics(service)
    for api in APIS:
        app.include_router(api.router(service))

    @app.get("/health", tags=["server"])
    @app.get("/ready", tags=["server"])
    async def health() -> dict[str, str]:
        """The server accepts requests. While it shuts down, it accepts no connections."""
        return {"status": "ok"}

    @app.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        """Counters of the server, for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    app.openapi = cache(partial(describe, app, api_of))  # type: ignore[method-assign]  # as FastAPI's documentation does
    app.add_exception_handler(Refusal, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_request)
    app.add_exception_handler(HTTPException, _refuse_path)
    app.add_exception_handler(Exception, _fail)
    return CORSMiddleware(
        RequestMiddleware(app, service.limits, api_of, metrics, hosts),
        allow_origins=origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Retry-After"],
        allow_private_network=True,
    )


async def _refuse(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return api_of(request.url.path).response(refusal)


async def _refuse_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _refuse(request, malformed(one_line(error.errors())))


async def _refuse_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, what = HTTPStatus(error.status_code), error.detail
    if status == HTTPStatus.NOT_FOUND:
        what = "no such path: /openapi.json lists all paths"
    elif status == HTTPStatus.METHOD_NOT_ALLOWED and error.headers:
        what = f"this path allows only {error.headers['Allow']}"
    elif isinstance(error.__cause__, UnicodeDecodeError):
        what = "the request is not UTF-8"
    return await _refuse(request, Refusal(status, what, dict(error.headers or {})))


async def _fail(request: Request, _: Exception) -> Response:
    what = "internal error; the server's log says where"
    return await _refuse(request, Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, what))
