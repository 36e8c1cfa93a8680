"""The small APIs of browser plug-ins and desktop tools.

POST /deeplx    {"text", "source_lang", "target_lang"}           DeepLX, for Bob, Pot, Zotero's translators and others
                → {"code", "id", "data", "alternatives", "method", "source_lang", "target_lang"}
POST /imme      {"text_list", "source_lang", "target_lang"}      Immersive Translate: "custom API"
                → {"translations": [{"detected_source_lang", "text"}]}
POST /kiss      {"text" or "texts", "from", "to"}                KISS Translator: "custom"
                → {"text", "src"}, or {"translations": [{"text", "src"}]}

MTranServer has the paths `/imme` and `/kiss` too: a plug-in set up for it needs only another address. The API key
is `?token=KEY`, or the header `Authorization`, with or without "Bearer".
"""

import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.security import APIKeyHeader, APIKeyQuery
from pydantic import BaseModel, Field

from zhuyi.serve.api import API
from zhuyi.serve.models import AUTO
from zhuyi.serve.query import Query
from zhuyi.serve.refusals import Refusal, malformed
from zhuyi.serve.service import Service


async def _key(
    token: Annotated[str | None, Depends(APIKeyQuery(name="token", auto_error=False))],
    authorization: Annotated[str | None, Depends(APIKeyHeader(name="Authorization", auto_error=False))],
) -> str | None:
    return token or (authorization or "").removeprefix("Bearer ") or None


Key = Annotated[str | None, Depends(_key)]
"""The API key of a request; None without one."""


class ToDeepLX(BaseModel):
    """A request for DeepLX."""

    text: str
    target_lang: str
    source_lang: str = AUTO


class ToImmersive(BaseModel):
    """A request of Immersive Translate."""

    text_list: list[str]
    target_lang: str
    source_lang: str = AUTO


class ToKiss(BaseModel):
    """A request of KISS Translator, with one text or several."""

    to: str
    source: str = Field(AUTO, alias="from")
    text: str | None = None
    texts: list[str] | None = None


class DeepLXAnswer(BaseModel):
    """The answer to a request for DeepLX."""

    code: int
    id: int
    data: str
    alternatives: list[str]
    method: str
    source_lang: str
    target_lang: str


class ImmersiveTranslation(BaseModel):
    """The translation of a text of Immersive Translate."""

    detected_source_lang: str
    text: str


class ImmersiveAnswer(BaseModel):
    """The answer to a request of Immersive Translate."""

    translations: list[ImmersiveTranslation]


class KissTranslation(BaseModel):
    """The translation of a text of KISS Translator."""

    text: str
    src: str


class KissAnswer(BaseModel):
    """The answer to a request of KISS Translator with several texts."""

    translations: list[KissTranslation]


class Refused(BaseModel):
    """Why a request is refused."""

    code: int
    message: str


def router(service: Service) -> APIRouter:
    """The routes of these APIs."""
    routes = APIRouter(tags=["plug-ins"])

    async def translate(texts: list[str], source: str, target: str) -> list[tuple[str, str]]:
        """The translation and the source language of each text."""
        source = AUTO if source.lower() in ("", AUTO) else source
        answers = await service.translate(Query(texts, None, source, target))
        return [(answer.text, answer.source.language) for answer in answers]

    @routes.post("/deeplx")
    @routes.post("/deeplx/translate")
    async def deeplx(asked: ToDeepLX, key: Key) -> DeepLXAnswer:
        """Translate a text for clients of DeepLX."""
        service.authorize(key)
        ((text, source),) = await translate([asked.text], asked.source_lang, asked.target_lang)
        return DeepLXAnswer(
            code=HTTPStatus.OK,
            id=uuid.uuid4().int >> 96,
            data=text,
            alternatives=[],
            method="Free",
            source_lang=source.upper(),
            target_lang=asked.target_lang.upper(),
        )

    @routes.post("/imme")
    async def immersive(asked: ToImmersive, key: Key) -> ImmersiveAnswer:
        """Translate texts for Immersive Translate."""
        service.authorize(key)
        translated = await translate(asked.text_list, asked.source_lang, asked.target_lang)
        translations = [ImmersiveTranslation(detected_source_lang=source, text=text) for text, source in translated]
        return ImmersiveAnswer(translations=translations)

    @routes.post("/kiss")
    async def kiss(asked: ToKiss, key: Key) -> KissTranslation | KissAnswer:
        """Translate a text or several texts for KISS Translator."""
        service.authorize(key)
        texts = asked.texts if asked.texts is not None else [asked.text] if asked.text is not None else None
        if texts is None:
            raise malformed("text or texts: Field required")
        translated = await translate(texts, asked.source, asked.to)
        translations = [KissTranslation(text=text, src=source) for text, source in translated]
        return KissAnswer(translations=translations) if asked.texts is not None else translations[0]

    return routes


def refused(refusal: Refusal) -> tuple[int, Refused]:
    """`{"code": STATUS, "message": "..."}`, with the status of the refusal."""
    return refusal.status, Refused(code=refusal.status, message=refusal.message)


PLUGINS = API("plugins", ("/deeplx", "/imme", "/kiss"), router, refused)
