"""Request bodies that may be JSON or a form."""

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from zhuyi.serve.refusals import malformed, one_line

Asked = TypeVar("Asked", bound=BaseModel)


async def read(kind: type[Asked], request: Request) -> Asked:
    """Read and validate a request body, JSON or a form. A field that a form has several times is a list.

    Raises:
        Refusal: if it is neither, or does not match `kind`.
    """
    is_json = request.headers.get("content-type", "").lower().startswith("application/json")
    try:
        if is_json:
            return kind.model_validate_json(await request.body())
        async with request.form() as form:
            fields = {key: form.getlist(key) for key in form}
            return kind.model_validate({key: each if len(each) > 1 else each[0] for key, each in fields.items()})
    except ValidationError as error:
        if not is_json and fields.keys().isdisjoint(kind.model_fields):
            what = "the request is neither a form, nor JSON with the header Content-Type: application/json"
            raise malformed(what) from None
        raise malformed(one_line(error.errors())) from None


def described(kind: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI description of a body for `read`."""
    content = {"schema": kind.model_json_schema()}
    forms = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
    return {"requestBody": {"required": True, "content": dict.fromkeys(forms, content)}}
