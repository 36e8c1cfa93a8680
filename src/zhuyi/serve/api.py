"""What defines an API: its paths, its routes, and its format of errors."""

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
    """An error, in the APIs that define no other format."""

    error: str


def refused(refusal: Refusal) -> tuple[int, Refused]:
    """The status and the content of an error in that format."""
    return refusal.status, Refused(error=refusal.message)


async def _bearer_key(
    authorization: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> str | None:
    return authorization.credentials if authorization else None


BearerKey = Annotated[str | None, Depends(_bearer_key)]
"""The API key of a request, from the header `Authorization: Bearer KEY`; None without one."""


@dataclass(frozen=True)
class API:
    """One API: `app.APIS` lists them."""

    name: str
    """The label of its requests in the metrics."""
    paths: tuple[str, ...]
    """Prefixes of its paths. Errors there have its format."""
    router: Callable[[Service], APIRouter]
    """Makes its routes for a service."""
    refused: Callable[[Refusal], tuple[int, BaseModel]]
    """The status and the content of the error for a refusal; all contents of an API have the same type."""

    def owns(self, path: str) -> bool:
        """Whether a path belongs to this API."""
        return any(path == own or path.startswith(f"{own}/") for own in self.paths)

    def response(self, refusal: Refusal) -> JSONResponse:
        """The response to a request that is refused."""
        status, content = self.refused(refusal)
        return JSONResponse(content.model_dump(), status, refusal.headers)
