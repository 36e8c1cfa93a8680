"""An API: paths, what requests and answers look like there, and how it says that a request is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from zhuyi.serve.refusals import Refusal
from zhuyi.serve.service import Service


class Refused(BaseModel):
    """A refusal in the APIs that have no other format for it."""

    error: str


def refused(refusal: Refusal) -> tuple[int, Refused]:
    """Such a refusal, with its own status."""
    return refusal.status, Refused(error=refusal.message)


async def _bearer_key(
    authorization: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> str | None:
    return authorization.credentials if authorization else None


BearerKey = Annotated[str | None, Depends(_bearer_key)]
"""The API key of a request with the header `Authorization: Bearer KEY`; None: it brings none."""


@dataclass(frozen=True)
class API:
    """One API: `app.APIS` lists them."""

    name: str
    """By which metrics count its requests."""
    paths: tuple[str, ...]
    """Prefixes of the paths that are its own: what is refused there is refused in its format."""
    router: Callable[[Service], APIRouter]
    """Its routes, over a service."""
    refused: Callable[[Refusal], tuple[int, BaseModel]]
    """The status and the content of a refusal; all contents of an API have the same type."""

    def owns(self, path: str) -> bool:
        """Whether a path is one of this API's."""
        return any(path == own or path.startswith(f"{own}/") for own in self.paths)

    def response(self, refusal: Refusal) -> JSONResponse:
        """What refuses a request."""
        status, content = self.refused(refusal)
        return JSONResponse(content.model_dump(), status, refusal.headers)
