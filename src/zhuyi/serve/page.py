"""The page to translate in, and the microscope on a sentence of it.

GET  /        the page, which uses zhuyi's own API (`own.py`)
POST /look    {"text", "model", "source", "target", "api_key"}, as a form → the microscope's page of that sentence

A content-security policy lets nothing run and nothing load but the page's own.
"""

import asyncio
import base64
import hashlib
import re
import threading
from functools import cache
from importlib import resources

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from zhuyi.errors import ZhuyiError
from zhuyi.serve.api import API, refused
from zhuyi.serve.query import Query
from zhuyi.serve.refusals import busy, malformed, too_large
from zhuyi.serve.request_body import described, read
from zhuyi.serve.service import Service
from zhuyi.translator import Translator

LONGEST = 500
"""Characters of a sentence that is looked at."""
WAIT = 5
"""Seconds until one who cannot look now should try again."""


class ToLook(BaseModel):
    """A sentence, and the model that translates it."""

    text: str
    model: str = ""
    source: str = ""
    target: str = ""
    api_key: str = ""


def router(service: Service) -> APIRouter:
    """Its routes."""
    routes = APIRouter(tags=["page"], default_response_class=HTMLResponse)
    looking = threading.Lock()  # of one sentence at a time: each takes a processor, and memory for all that is recorded

    @routes.get("/")
    async def page() -> HTMLResponse:
        """The page to translate in."""
        content = html()
        return HTMLResponse(content, headers={"Content-Security-Policy": policy(content)})

    @routes.post("/look", openapi_extra=described(ToLook))
    async def look(request: Request) -> HTMLResponse:
        """The microscope's page of a sentence; where two models translate, of the first one."""
        asked = await read(ToLook, request)
        service.authorize(asked.api_key)
        if len(asked.text) > LONGEST:
            raise too_large(f"a sentence of at most {LONGEST} characters can be looked at")
        query = Query([asked.text], asked.model, asked.source, asked.target)
        async with service.in_time():
            hop, *_ = await service.hops(query)
            async with hop.model.translator():
                opened = await hop.model.opened()
                try:
                    translator = opened.with_languages(hop.target, hop.source)
                    return HTMLResponse(await asyncio.to_thread(_look, translator, asked.text, looking))
                except ZhuyiError as error:
                    raise malformed(str(error)) from error

    return routes


@cache
def html() -> str:
    """The page."""
    return resources.files("zhuyi.serve").joinpath("page.html").read_text(encoding="utf-8")


def policy(content: str) -> str:
    """The content-security policy of the page: its own script and its own style, by their hashes."""
    script, style = (_hash(re.findall(f"<{tag}>(.*?)</{tag}>", content, re.DOTALL)[0]) for tag in ("script", "style"))
    return (
        f"default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _look(translator: Translator, text: str, looking: threading.Lock) -> str:
    """The microscope's page; in a thread.

    Raises:
        ZhuyiError: as `zhuyi.look`.
        Refusal: if another sentence is being looked at.
    """
    from zhuyi.microscope.page import frozen_html, look  # and torch, which few need

    if not looking.acquire(blocking=False):
        raise busy("another sentence is being looked at: try again in a moment", WAIT)
    try:
        return frozen_html(look(translator, text))
    finally:
        looking.release()


PAGE = API("page", ("/", "/look"), router, refused)
