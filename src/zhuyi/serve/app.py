"""The application: all APIs over one service, and what keeps a server in order.

    GET /health         200 while the process lives
    GET /ready          200 while requests are taken
    GET /metrics        for Prometheus
    GET /openapi.json   the description of all APIs

A row of `APIS` is an API. Its paths, its errors and its metrics follow from it.
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
"""All of them. What none owns is refused in the format of the last one."""


def api_of(path: str) -> API:
    """The API that owns a path."""
    return next((api for api in APIS if api.owns(path)), APIS[-1])


def application(service: Service, origins: Sequence[str] = ("*",), hosts: Sequence[str] = ("*",)) -> ASGIApp:
    """The ASGI application.

    `run` also bounds the connections and the heads of requests; another ASGI server has to do so itself.

    Args:
        service: translates.
        origins: the sites whose pages may call it in a browser; "*": all, and browser plug-ins.
        hosts: the names and addresses that the Host header of a request may have; "*.example.org": all
            below that one; "*": any.
    """
    app = FastAPI(title="zhuyi", version=__version__, docs_url=None, redoc_url=None)  # their pages come from elsewhere
    metrics = Metrics(service)
    for api in APIS:
        app.include_router(api.router(service))

    @app.get("/health", tags=["server"])
    @app.get("/ready", tags=["server"])
    async def health() -> dict[str, str]:
        """The server takes requests: one that is ending takes no connection."""
        return {"status": "ok"}

    @app.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        """What it has done, for Prometheus."""
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
        what = "there is nothing at this path: /openapi.json lists what there is"
    elif status == HTTPStatus.METHOD_NOT_ALLOWED and error.headers:
        what = f"this path takes {error.headers['Allow']} and no other method"
    elif isinstance(error.__cause__, UnicodeDecodeError):
        what = "the request is not UTF-8"
    return await _refuse(request, Refusal(status, what, dict(error.headers or {})))


async def _fail(request: Request, _: Exception) -> Response:
    what = "an error of the server's own; its log says where"
    return await _refuse(request, Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, what))
