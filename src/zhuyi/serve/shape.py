"""A request shape: paths, what requests and answers look like there, and how it says that a request is refused."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from zhuyi.serve.refusals import Refusal
from zhuyi.serve.service import Service


class Refused(BaseModel):
    """How the shapes say that a request is refused which have no other form for it."""

    error: str


@dataclass(frozen=True)
class Shape:
    """One request shape: `app.SHAPES` lists them."""

    name: str
    """By which metrics count its requests."""
    paths: tuple[str, ...]
    """Beginnings of the paths that are its own: what is refused there is refused in its form."""
    router: Callable[[Service], APIRouter]
    """Its routes, over a service."""
    refused: Callable[[Refusal], tuple[int, BaseModel]]
    """The status and the content of a refusal; all contents of a shape have the same type."""

    def owns(self, path: str) -> bool:
        """Whether a path is one of this shape's."""
        return any(path == own or path.startswith(f"{own}/") for own in self.paths)

    def response(self, refusal: Refusal) -> JSONResponse:
        """What refuses a request."""
        status, content = self.refused(refusal)
        return JSONResponse(content.model_dump(), status, refusal.headers)
