"""The OpenAPI description of FastAPI, with the errors of each path in the format of its API.

FastAPI's own error, 422, is removed: no API here uses it.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from zhuyi.serve.api import API
from zhuyi.serve.refusals import REFUSALS, Refusal, Unknown

RETRY_AFTER = {
    status: {
        "Retry-After": {"description": "Seconds.", "required": always, "schema": {"type": "integer", "minimum": 1}}
    }
    for status, always in ((HTTPStatus.TOO_MANY_REQUESTS, True), (HTTPStatus.SERVICE_UNAVAILABLE, False))
}
"""Headers of the errors that tell a client when to try again: always, or only if that is known."""
OF_FASTAPI = ("HTTPValidationError", "ValidationError")
"""Schemas of FastAPI's 422."""


def describe(app: FastAPI, api_of: Callable[[str], API]) -> dict[str, Any]:
    """The OpenAPI description of an application.

    Args:
        app: with all its routes.
        api_of: the API that a path belongs to.
    """
    description = get_openapi(title=app.title, version=app.version, routes=app.routes)
    operations = [
        (api_of(path), operation)
        for path, operations in description["paths"].items()
        for operation in operations.values()
    ]
    formats = {type(api.refused(Refusal(status, ""))[1]) for api, _ in operations for status in REFUSALS}
    references, defined = models_json_schema(
        [(each, "serialization") for each in sorted(formats, key=lambda each: each.__module__)],
        ref_template="#/components/schemas/{model}",
    )
    for api, operation in operations:
        operation["responses"].pop(str(int(HTTPStatus.UNPROCESSABLE_ENTITY)), None)
        for refused_with, what in REFUSALS.items():
            kind = Unknown if refused_with == HTTPStatus.NOT_FOUND else Refusal  # the path exists
            status, content = api.refused(kind(refused_with, ""))
            schema = references[type(content), "serialization"]
            response = {
                "description": what,
                "headers": RETRY_AFTER.get(refused_with, {}),
                "content": {"application/json": {"schema": schema}},
            }
            operation["responses"].setdefault(str(int(status)), response)
    schemas = description["components"]["schemas"]
    for name in OF_FASTAPI:
        schemas.pop(name, None)
    schemas.update(defined["$defs"])
    return description
