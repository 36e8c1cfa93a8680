"""Why a request is not answered. Each API says it in its own format."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

REFUSALS = {
    HTTPStatus.BAD_REQUEST: "The request says what is not possible.",
    HTTPStatus.UNAUTHORIZED: "The API key is missing or wrong.",
    HTTPStatus.NOT_FOUND: "There is no such model or language.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not come within the deadline.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is larger than any that is taken.",
    HTTPStatus.TOO_MANY_REQUESTS: "The server has too much to do.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The server cannot do now what it should.",
    HTTPStatus.GATEWAY_TIMEOUT: "The answer did not come within the deadline.",
}
"""The statuses of all refusals, as the OpenAPI description explains them."""

_NO_FIELD = re.compile(r"body|query|str|list\[\w+\]")
"""In the place of a problem: FastAPI's names of parts of a request, and pydantic's of the types that it tries."""


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818 – an answer to a client, and no failure
    """A request that is refused, or given up.

    `status` is what HTTP says of it, and what the APIs' own formats are chosen by; `message` is one line for people, in
    which nothing of the text stands; `headers` are further ones of the response.
    """

    status: HTTPStatus
    message: str
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


class Unknown(Refusal):
    """A model or a language that is not there. Some APIs say this otherwise than that a path is not there."""


def malformed(message: str) -> Refusal:
    """A request that says what is not possible."""
    return Refusal(HTTPStatus.BAD_REQUEST, message)


def unknown(message: str) -> Unknown:
    """A model or a language that is not there."""
    return Unknown(HTTPStatus.NOT_FOUND, message)


def status_as_403_and_400(refusal: Refusal) -> HTTPStatus:
    """The status in APIs where a wrong API key is 403, and a model or a language that is not there is 400."""
    if isinstance(refusal, Unknown):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.FORBIDDEN if refusal.status == HTTPStatus.UNAUTHORIZED else refusal.status


def too_large(message: str) -> Refusal:
    """A request that is larger than any that is taken; the rest of it is not read."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, {"Connection": "close"})


def busy(message: str, seconds: int) -> Refusal:
    """There is no place for a request now, but there may be in so many seconds."""
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, message, {"Retry-After": str(seconds)})


def late(message: str) -> Refusal:
    """The answer did not come within the deadline."""
    return Refusal(HTTPStatus.GATEWAY_TIMEOUT, message)


def unavailable(message: str) -> Refusal:
    """The server cannot do now what it should."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, message)


def unauthorized() -> Refusal:
    """The server wants an API key, and this is not it."""
    return Refusal(HTTPStatus.UNAUTHORIZED, "the API key is missing or wrong")


def one_line(problems: Sequence[Any]) -> str:
    """What pydantic and FastAPI find wrong with a request, without what the request says.

    Where a field can be of several types, pydantic tries them all: what it finds deepest inside comes closest to one.
    """
    problem = max(problems, key=lambda each: len(each["loc"]))
    if problem["type"] == "json_invalid":
        where = "".join(f" (character {part})" for part in problem["loc"] if isinstance(part, int))
        return f"the request is not JSON: {problem['ctx']['error']}{where}"
    place = ".".join(str(part) for part in problem["loc"] if not _NO_FIELD.fullmatch(str(part)))
    if not place:
        return "the request is not a JSON object with the header Content-Type: application/json"
    return f"{place}: {problem['msg']}"
