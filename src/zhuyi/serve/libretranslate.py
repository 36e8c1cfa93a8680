"""LibreTranslate's API, which most applications support that use a self-hosted server.

POST /translate     {"q", "source", "target", "format", "alternatives", "api_key"}, as JSON or as a form; `q` is a
                    text or a list of them → {"translatedText", "detectedLanguage", "alternatives"}
POST /detect        {"q"} → [{"language", "confidence"}]
GET  /languages     → [{"code", "name", "targets"}]
"""

from functools import cache
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from zhuyi.serve import languages
from zhuyi.serve.api import API, Refused
from zhuyi.serve.detection import Detected
from zhuyi.serve.markup import translate_html
from zhuyi.serve.models import AUTO
from zhuyi.serve.query import Query
from zhuyi.serve.refusals import Refusal, status_as_403_and_400
from zhuyi.serve.request_body import described, read
from zhuyi.serve.service import Service

MOST_DETECTED = 5
"""Most languages in the answer to /detect."""


class ToTranslate(BaseModel):
    """A request to translate."""

    q: str | list[str]
    source: str = AUTO
    target: str
    format: Literal["text", "html"] = "text"
    alternatives: int = Field(0, ge=0)
    api_key: str | None = None


class ToDetect(BaseModel):
    """A request to detect the language of a text."""

    q: str
    api_key: str | None = None


class Found(BaseModel):
    """A language that a text may be in."""

    language: str
    confidence: float = Field(description="In percent.")


class Translated(BaseModel):
    """The translation of a text; for a list of texts, each field is a list."""

    model_config = ConfigDict(alias_generator=to_camel)

    translated_text: str | list[str]
    detected_language: Found | list[Found] | None = Field(None, description="If the source is auto.")
    alternatives: list[str] | list[list[str]] | None = Field(None, description="If requested.")


class Language(BaseModel):
    """A language, and the languages that it can be translated to."""

    code: str
    name: str
    targets: list[str]


def router(service: Service) -> APIRouter:
    """The routes of this API."""
    routes = APIRouter(tags=["LibreTranslate"])
    models = service.models

    @cache  # 200 languages have 40,000 pairs
    def listed() -> list[Language]:
        return [
            Language(code=code, name=languages.name(code), targets=models.targets_of(code))
            for code in sorted({*models.sources, *models.targets})
        ]

    @routes.post("/translate", openapi_extra=described(ToTranslate), response_model_exclude_none=True)
    async def translate(request: Request) -> Translated:
        """Translate a text, or a list of them."""
        asked = await read(ToTranslate, request)
        service.authorize(asked.api_key)
        texts = asked.q if isinstance(asked.q, list) else [asked.q]
        query = Query(texts, None, asked.source, asked.target, n_best=asked.alternatives + 1)
        answers = await (translate_html(service, query) if asked.format == "html" else service.translate(query))
        found: dict[str, list[Any]] = {"translatedText": [answer.text for answer in answers]}
        if asked.source == AUTO:
            found["detectedLanguage"] = [_in_percent(answer.source) for answer in answers]
        if asked.alternatives:
            found["alternatives"] = [[other.text for other in answer.alternatives] for answer in answers]
        if isinstance(asked.q, str):
            return Translated.model_validate({key: value for key, (value,) in found.items()})
        return Translated.model_validate(found)

    @routes.post("/detect", openapi_extra=described(ToDetect))
    async def find_language(request: Request) -> list[Found]:
        """Detect the language of a text."""
        asked = await read(ToDetect, request)
        service.authorize(asked.api_key)
        async with service.in_time():
            return [_in_percent(each) for each in (await service.detect(asked.q))[:MOST_DETECTED]]

    @routes.get("/languages")
    async def list_languages() -> list[Language]:
        """List the languages of all models, and for each the languages that it can be translated to."""
        return listed()

    return routes


def refused(refusal: Refusal) -> tuple[int, Refused]:
    """`{"error": "..."}`; a wrong API key is 403, and an unknown language is 400."""
    return status_as_403_and_400(refusal), Refused(error=refusal.message)


def _in_percent(detected: Detected) -> Found:
    return Found(language=detected.language, confidence=round(100 * detected.confidence, 1))


LIBRETRANSLATE = API("libretranslate", ("/translate", "/detect", "/languages"), router, refused)
