"""DeepL's API, version 2, which computer-assisted translation (CAT) tools use.

POST /v2/translate      {"text", "source_lang", "target_lang"}, as JSON or as a form; `text` is a text or several of
                        them → {"translations": [{"detected_source_language", "text", "billed_characters"}]}
GET  /v2/languages      ?type=source | target → [{"language", "name"}]
GET  /v2/usage          → {"character_count", "character_limit"}, by which tools check their API key

Options that would change a translation and are not supported (XML, glossaries, formality) are refused; others are
ignored.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, Field

from zhuyi.serve import languages
from zhuyi.serve.api import API
from zhuyi.serve.markup import translate_html
from zhuyi.serve.models import AUTO
from zhuyi.serve.query import Query
from zhuyi.serve.refusals import Refusal, malformed, status_as_403_and_400
from zhuyi.serve.request_body import described, read
from zhuyi.serve.service import Service

SCHEME = "DeepL-Auth-Key"
"""The scheme in the header `Authorization`, before the API key."""
UNLIMITED = 10**12
"""The number of characters by which DeepL's API means no limit."""
NEUTRAL = ("default", "prefer_more", "prefer_less")
"""Values of `formality` that have no effect where it is not supported."""

Side = Literal["source", "target"]


async def _key(
    authorization: Annotated[
        str | None,
        Depends(APIKeyHeader(name="Authorization", scheme_name=SCHEME, description=f"{SCHEME} KEY", auto_error=False)),
    ],
) -> str | None:
    scheme, _, key = (authorization or "").partition(" ")
    return key if scheme == SCHEME else None


Key = Annotated[str | None, Depends(_key)]
"""The API key of a request; None without one."""


class ToTranslate(BaseModel):
    """A request to translate."""

    text: str | list[str]
    target_lang: str
    source_lang: str | None = None
    tag_handling: str | None = None
    glossary_id: str | None = None
    formality: str | None = None


class OfLanguages(BaseModel):
    """A request to list the source or the target languages."""

    type: Side = "source"


class Translation(BaseModel):
    """The translation of a text."""

    detected_source_language: str = Field(description="Also set if the request states it.")
    text: str
    billed_characters: int = Field(description="Characters of the text; nothing is billed.")


class Translations(BaseModel):
    """The translations of the texts, in their order."""

    translations: list[Translation]


class Language(BaseModel):
    """A source or target language."""

    language: str
    name: str
    supports_formality: bool | None = Field(None, description="For target languages only.")


class Usage(BaseModel):
    """Number of characters translated with an API key, and its limit."""

    character_count: int
    character_limit: int


class Refused(BaseModel):
    """Why a request is refused."""

    message: str


def router(service: Service) -> APIRouter:
    """The routes of this API."""
    routes = APIRouter(prefix="/v2", tags=["DeepL"])

    @routes.post("/translate", openapi_extra=described(ToTranslate))
    async def translate(request: Request, key: Key) -> Translations:
        """Translate a text, or several."""
        service.authorize(key)
        asked = await read(ToTranslate, request)
        _check_is_supported(asked)
        texts = asked.text if isinstance(asked.text, list) else [asked.text]
        query = Query(texts, None, asked.source_lang or AUTO, asked.target_lang)
        answers = await (translate_html(service, query) if asked.tag_handling else service.translate(query))
        translations = [
            Translation(
                detected_source_language=answer.source.language.upper(), text=answer.text, billed_characters=len(text)
            )
            for text, answer in zip(texts, answers, strict=True)
        ]
        return Translations(translations=translations)

    @routes.get("/languages", response_model_exclude_none=True)
    async def list_languages(request: Request, key: Key, type: Side | None = None) -> list[Language]:
        """List the source or the target languages."""
        service.authorize(key)
        wanted = type or (await read(OfLanguages, request)).type  # DeepL's client sends a form
        if wanted == "target":
            return [_language(code, supports_formality=False) for code in service.models.targets]
        return [_language(code) for code in service.models.sources]

    @routes.get("/usage")
    async def usage(key: Key) -> Usage:
        """The usage of an API key, which is not counted and has no limit."""
        service.authorize(key)
        return Usage(character_count=0, character_limit=UNLIMITED)

    return routes


def refused(refusal: Refusal) -> tuple[int, Refused]:
    """`{"message": "..."}`; a wrong API key is 403, and an unknown language is 400."""
    return status_as_403_and_400(refusal), Refused(message=refusal.message)


def _check_is_supported(asked: ToTranslate) -> None:
    if asked.tag_handling not in (None, "", "html"):
        raise malformed('tag_handling: only "html" is supported')
    if asked.glossary_id:
        raise malformed("glossary_id: glossaries are not supported")
    if asked.formality and asked.formality not in NEUTRAL:
        raise malformed(f"formality: not supported, other than {', '.join(NEUTRAL)}, which have no effect")


def _language(code: str, supports_formality: bool | None = None) -> Language:
    return Language(language=code.upper(), name=languages.name(code), supports_formality=supports_formality)


DEEPL = API("deepl", ("/v2",), router, refused)
