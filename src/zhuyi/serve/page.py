"""The page to translate in, and the microscope's page for a sentence.

GET  /        the page to translate in, which uses zhuyi's own API (`own.py`)
POST /look    {"text", "model", "source", "target", "api_key"}, as a form → the microscope's page for the sentence

A content security policy allows only the script and the style of the page.
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
"""Most characters of a sentence to look at."""
WAIT = 5
"""Seconds after which to try again while another sentence is being looked at."""


class ToLook(BaseModel):
    """A request to look at a sentence, and the model that translates it."""

    text: str
    model: str = ""
    source: str = ""
    target: str = ""
    api_key: str = ""


def router(service: Service) -> APIRouter:
    """The routes of the page."""
    routes = APIRouter(tags=["page"], default_response_class=HTMLResponse)
    looking = threading.Lock()  # one sentence at a time: it takes a processor, and memory for all recorded values

    @routes.get("/")
    async def page() -> HTMLResponse:
        """The page to translate in."""
        content = html()
        return HTMLResponse(content, headers={"Content-Security-Policy": policy(content)})

    @routes.post("/look", openapi_extra=described(ToLook))
    async def look(request: Request) -> HTMLResponse:
        """The microscope's page for a sentence; if two models are chained, for the first one."""
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
    """The content security policy of the page, with the hashes of its script and its style."""
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
    from zhuyi.microscope.page import frozen_html, look  # imports torch

    if not looking.acquire(blocking=False):
        raise busy("another sentence is being looked at: try again in a moment", WAIT)
    try:
        return frozen_html(look(translator, text))
    finally:
        looking.release()


PAGE = API("page", ("/", "/look"), router, refused)
