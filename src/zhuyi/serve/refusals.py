"""Why a request is refused. Each API reports it in its own format."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

REFUSALS = {
    HTTPStatus.BAD_REQUEST: "The request is not valid.",
    HTTPStatus.UNAUTHORIZED: "The API key is missing or wrong.",
    HTTPStatus.NOT_FOUND: "There is no such model or language.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not arrive within the deadline.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large.",
    HTTPStatus.TOO_MANY_REQUESTS: "The server is overloaded.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The server cannot answer now.",
    HTTPStatus.GATEWAY_TIMEOUT: "There was no answer within the deadline.",
}
"""The statuses of all refusals, as the OpenAPI description explains them."""

_NO_FIELD = re.compile(r"body|query|str|list\[\w+\]")
"""Parts of a problem's location that name no field: FastAPI's parts of a request, and types that pydantic tried."""


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818 – an answer to a client, not a failure
    """A request that is refused, or given up.

    `status` is the HTTP status; `message` is one line for people, without any text of the request; `headers` are added
    to the response.
    """

    status: HTTPStatus
    message: str
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


class Unknown(Refusal):
    """A model or a language that does not exist. Some APIs distinguish this from a path that does not exist."""


def malformed(message: str) -> Refusal:
    """A request that is not valid."""
    return Refusal(HTTPStatus.BAD_REQUEST, message)


def unknown(message: str) -> Unknown:
    """A model or a language that does not exist."""
    return Unknown(HTTPStatus.NOT_FOUND, message)


def status_as_403_and_400(refusal: Refusal) -> HTTPStatus:
    """The status in APIs where a wrong API key is 403, and an unknown model or language is 400."""
    if isinstance(refusal, Unknown):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.FORBIDDEN if refusal.status == HTTPStatus.UNAUTHORIZED else refusal.status


def too_large(message: str) -> Refusal:
    """A request that is larger than the limit; the rest of it is not read."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, {"Connection": "close"})


def busy(message: str, seconds: int) -> Refusal:
    """The server is overloaded; the client should try again after `seconds`."""
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, message, {"Retry-After": str(seconds)})


def late(message: str) -> Refusal:
    """There was no answer within the deadline."""
    return Refusal(HTTPStatus.GATEWAY_TIMEOUT, message)


def unavailable(message: str) -> Refusal:
    """The server cannot answer now."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, message)


def unauthorized() -> Refusal:
    """The server requires an API key, which is missing or wrong."""
    return Refusal(HTTPStatus.UNAUTHORIZED, "the API key is missing or wrong")


def one_line(problems: Sequence[Any]) -> str:
    """The most relevant validation error of pydantic or FastAPI on one line, without any text of the request.

    If a field can have several types, pydantic reports an error for each. The one with the longest location belongs to
    the type that came closest to matching.
    """
    problem = max(problems, key=lambda each: len(each["loc"]))
    if problem["type"] == "json_invalid":
        where = "".join(f" (character {part})" for part in problem["loc"] if isinstance(part, int))
        return f"the request is not JSON: {problem['ctx']['error']}{where}"
    place = ".".join(str(part) for part in problem["loc"] if not _NO_FIELD.fullmatch(str(part)))
    if not place:
        return "the request is not a JSON object with the header Content-Type: application/json"
    return f"{place}: {problem['msg']}"
