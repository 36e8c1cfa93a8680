"""OpenAI's chat API, for programs that support only large language models.

POST /v1/chat/completions   {"model", "messages", "n", "stream"} → {"choices": [{"message": {"content"}}]}; streamed:
                            the same as server-sent events, all at once when the translation is complete
GET  /v1/models             → {"data": [{"id"}]}
GET  /v1/models/NAME        → {"id"}

The last message of the user is translated. A translation model cannot follow instructions: those that programs put
before the text are removed, after the languages have been read from them (`Instruction`). Other options, such as the
temperature, are ignored. Answers have no token counts.
"""

import json
import re
import time
import uuid
from collections.abc import Container, Iterator
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from zhuyi.serve import languages
from zhuyi.serve.api import API, BearerKey
from zhuyi.serve.query import Query
from zhuyi.serve.refusals import Refusal, Unknown, malformed
from zhuyi.serve.service import Service

LONGEST_INSTRUCTION = 500
"""Most characters of an instruction."""

STREAMED: dict[int | str, dict[str, Any]] = {HTTPStatus.OK: {"content": {"text/event-stream": {}}}}
"""For the OpenAPI description: the type of a streamed answer."""

_PAIR = re.compile(r"([a-z]{2,3}(?:_\w+)?)-([a-z]{2,3}(?:_\w+)?)")
_INSTRUCTION = re.compile(rf"(?=[^:：\n]*\btranslat)([^:：\n]{{1,{LONGEST_INSTRUCTION}}})[:：]\s*(?=\S)", re.IGNORECASE)
_SOURCE, _TARGET = (
    re.compile(rf"\b(?:{words})\s+(?=((?:[^\W\d_]+ ?){{1,4}})(?:\(([^\W\d_]+)\))?)", re.IGNORECASE)
    for words in ("from", "into|to")
)
"""A language after "from", and after "into" or "to": Simplified Chinese, or Chinese (Simplified)."""


class Part(BaseModel):
    """A part of a message: text, or something that is not translated, such as an image."""

    type: str
    text: str = ""


class Message(BaseModel):
    """A message of a conversation."""

    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """Its text."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class Asked(BaseModel):
    """A request to translate."""

    model: str = Field(description="Name of a model, or the languages: en-de, eng_Latn-zho_Hant.")
    messages: list[Message] = Field(description="The last message of the user is translated.")
    n: int | None = Field(None, ge=1, description="Number of translations.")
    stream: bool | None = None


class Reply(BaseModel):
    """A translation as a message of the assistant."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """One of the translations."""

    index: int
    message: Reply
    logprobs: None = None
    finish_reason: Literal["stop", "length"] = Field(description="length if the length limit cut it off.")


class Completion(BaseModel):
    """The translations, best first."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Seconds since 1970.")
    model: str = Field(description="As in the request.")
    choices: list[Choice]


class Model(BaseModel):
    """A model of the server."""

    id: str = Field(description="Its name.")
    object: Literal["model"] = "model"
    created: int = Field(description="When the server started, in seconds since 1970.")
    owned_by: Literal["zhuyi"] = "zhuyi"


class ModelList(BaseModel):
    """All models of the server."""

    object: Literal["list"] = "list"
    data: list[Model]


class Error(BaseModel):
    """The reason for an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class Refused(BaseModel):
    """An error."""

    error: Error


class Instruction(NamedTuple):
    """An instruction before the text of a message, such as "Translate from English to French:".

    It is the beginning of the message up to the first colon, if it is on one line, contains a form of the word
    "translate", and has the English name of a language after "to" or "into". Anything else is text.
    """

    target: str
    source: str | None
    end: int
    """The index at which the text begins."""

    @classmethod
    def of(cls, message: str) -> "Instruction | None":
        """The instruction at the beginning of a message; None without one."""
        found = _INSTRUCTION.match(message)
        target = _language(_TARGET, found[1]) if found else None
        return cls(target, _language(_SOURCE, found[1]), found.end()) if found and target else None


def router(service: Service) -> APIRouter:
    """The routes of this API."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"])
    started = int(time.time())
    names = {model.name for model in service.models}

    @routes.post("/chat/completions", responses=STREAMED, response_model=Completion)
    async def complete(asked: Asked, key: BearerKey) -> Completion | Response:
        """Translate the last message of the user."""
        service.authorize(key)
        (answer,) = await service.translate(_query(asked, names))
        choices = [
            Choice(index=index, message=Reply(content=each.text), finish_reason="stop" if each.finished else "length")
            for index, each in enumerate([answer, *answer.alternatives])
        ]
        completion = Completion(
            id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=asked.model, choices=choices
        )
        if not asked.stream:
            return completion
        events = "".join(f"data: {event}\n\n" for event in _events(completion))
        return Response(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    @routes.get("/models")
    async def list_models(key: BearerKey) -> ModelList:
        """List the models."""
        service.authorize(key)
        return ModelList(data=[Model(id=model.name, created=started) for model in service.models])

    @routes.get("/models/{name}")
    async def one_model(name: str, key: BearerKey) -> Model:
        """Describe a model."""
        service.authorize(key)
        return Model(id=service.models.named(name).name, created=started)

    return routes


def refused(refusal: Refusal) -> tuple[int, Refused]:
    """`{"error": {"message", "type", "param", "code"}}`, with the status of the refusal."""
    codes = {
        HTTPStatus.UNAUTHORIZED: "invalid_api_key",
        HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_exceeded",
    }
    kind = "invalid_request_error" if refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    code = "model_not_found" if isinstance(refusal, Unknown) else codes.get(refusal.status)
    error = Error(message=refusal.message, type=kind, param=None, code=code)
    return refusal.status, Refused(error=error)


def _query(asked: Asked, names: Container[str]) -> Query:
    """The query of a request; its languages are those of the model's name, or else of an instruction.

    Args:
        asked: the request.
        names: of the server's models.

    Raises:
        Refusal: if there is no message of the user.
    """
    text = next((message.text for message in reversed(asked.messages) if message.role == "user"), None)
    if text is None:
        raise malformed('messages: none has the role "user"')
    model: str | None = asked.model
    source = target = None
    instruction = Instruction.of(text)
    if instruction:
        source, target, text = instruction.source, instruction.target, text[instruction.end :]
    if asked.model not in names:
        pair = _PAIR.fullmatch(asked.model)
        if pair and all(map(languages.is_known, pair.groups())):
            source, target = pair.groups()
        if target:
            model = None
    return Query([text], model, source, target, n_best=asked.n or 1)


def _language(place: re.Pattern[str], instruction: str) -> str | None:
    """The language with the longest name at a match of a pattern in an instruction; None without one."""
    for found in place.finditer(instruction):
        words = found[1].split()
        for count in range(len(words), 0, -1):
            name = " ".join(words[:count])
            if tag := languages.named(f"{found[2]} {name}") or languages.named(name):
                return tag
    return None


def _events(completion: Completion) -> Iterator[str]:
    """The data of the server-sent events of a streamed answer."""
    head = {**completion.model_dump(exclude={"choices"}), "object": "chat.completion.chunk"}

    def chunk(index: int, delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return json.dumps({**head, "choices": [choice]}, ensure_ascii=False)

    for each in completion.choices:
        yield chunk(each.index, {"role": each.message.role, "content": each.message.content})
        yield chunk(each.index, {}, each.finish_reason)
    yield "[DONE]"


OPENAI = API("openai", ("/v1",), router, refused)
