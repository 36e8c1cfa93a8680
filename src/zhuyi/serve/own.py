"""zhuyi's own API: lines in, translations with their scores out.

POST /api/translate     {"lines": ["A dog runs."], "target": "de", "n_best": 2}
                        → {"translations": [[{"text", "score", "finished"}, ...]]}
GET  /api/models        → {"models": [{"name", "source", "target", "loaded", "weight_bytes"}], "alternatives"}
"""

import math

from fastapi import APIRouter
from pydantic import BaseModel, Field

from zhuyi.serve.api import API, BearerKey, refused
from zhuyi.serve.query import Alignment, Answer, Query
from zhuyi.serve.service import Service


class Asked(BaseModel):
    """A request to translate."""

    lines: list[str] = Field(description="Each is translated by itself.")
    model: str | None = Field(None, description="Name of the model. Unset: one that has the languages.")
    source: str | None = Field(None, description="Language of the lines: en, eng, eng_Latn, ...")
    target: str | None = Field(None, description="Language of the translations.")
    beam: int | None = Field(None, ge=1, description="Hypotheses kept at each step. Unset: the model's own setting.")
    n_best: int = Field(1, ge=1, description="Translations of each line.")
    alignment: bool = Field(False, description="Whether to return the alignment of the best translation of each line.")


class Translated(BaseModel):
    """One translation of a line."""

    text: str
    score: float | None = Field(description="Log-probability divided by the length penalty; null if not a number.")
    finished: bool = Field(description="False if the length limit cut it off.")


class Translations(BaseModel):
    """The translations of each line, best first."""

    translations: list[list[Translated]]
    alignments: list[list[Alignment]] | None = Field(
        None, description="For each line, if requested: one alignment, or several if the line was split."
    )


class Described(BaseModel):
    """A model of the server."""

    name: str
    source: list[str] = Field(description="Source languages, as the model names them.")
    target: list[str] = Field(description="Target languages.")
    loaded: bool = Field(description="Whether its weights are in memory.")
    weight_bytes: int = Field(description="Memory for its weights when they are loaded.")


class Listed(BaseModel):
    """All models of the server."""

    models: list[Described]
    alternatives: int = Field(description="Most translations of a line.")


def router(service: Service) -> APIRouter:
    """The routes of this API."""
    routes = APIRouter(prefix="/api", tags=["zhuyi"])

    @routes.post("/translate", response_model_exclude_unset=True)
    async def translate(asked: Asked, key: BearerKey) -> Translations:
        """Translate lines."""
        service.authorize(key)
        query = Query(asked.lines, asked.model, asked.source, asked.target, asked.beam, asked.n_best, asked.alignment)
        answers = await service.translate(query)
        alignments = {"alignments": [answer.alignments for answer in answers]} if asked.alignment else {}
        return Translations(translations=[_translated(answer) for answer in answers], **alignments)

    @routes.get("/models")
    async def models(key: BearerKey) -> Listed:
        """List the models."""
        service.authorize(key)
        found = [
            Described(
                name=model.name,
                source=list(model.sources),
                target=list(model.targets),
                loaded=model.is_loaded,
                weight_bytes=model.weight_bytes,
            )
            for model in service.models
        ]
        return Listed(models=found, alternatives=service.limits.alternatives)

    return routes


def _translated(answer: Answer) -> list[Translated]:
    return [
        Translated(text=each.text, score=each.score if math.isfinite(each.score) else None, finished=each.finished)
        for each in (answer, *answer.alternatives)
    ]


OWN = API("zhuyi", ("/api",), router, refused)
