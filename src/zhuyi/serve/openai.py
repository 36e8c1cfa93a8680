"""OpenAI's API for chat, which programs use that know large language models only.

POST /v1/chat/completions   {"model", "messages", "n", "stream"} → {"choices": [{"message": {"content"}}]}; streamed:
                            the same as server-sent events, at once, when the translation is there
GET  /v1/models             → {"data": [{"id"}]}
GET  /v1/models/NAME        → {"id"}

The text is the last message of the user. A translation model takes no instructions: those that programs put before the
text are taken off, and tell the languages (`Instruction`). Whatever else a request sets – a temperature, say – changes
nothing. An answer does not count tokens.
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
"""Characters of an instruction, at most."""

STREAMED: dict[int | str, dict[str, Any]] = {HTTPStatus.OK: {"content": {"text/event-stream": {}}}}
"""For the OpenAPI description: what an answer may be beside JSON."""

_PAIR = re.compile(r"([a-z]{2,3}(?:_\w+)?)-([a-z]{2,3}(?:_\w+)?)")
_INSTRUCTION = re.compile(rf"(?=[^:：\n]*\btranslat)([^:：\n]{{1,{LONGEST_INSTRUCTION}}})[:：]\s*(?=\S)", re.IGNORECASE)
_SOURCE, _TARGET = (
    re.compile(rf"\b(?:{words})\s+(?=((?:[^\W\d_]+ ?){{1,4}})(?:\(([^\W\d_]+)\))?)", re.IGNORECASE)
    for words in ("from", "into|to")
)
"""Up to four words, and a further one in brackets: Simplified Chinese, or Chinese (Simplified)."""


class Part(BaseModel):
    """Of a message: text, or what is not translated."""

    type: str
    text: str = ""


class Message(BaseModel):
    """Of a conversation."""

    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """What it says."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class Asked(BaseModel):
    """What is to be translated."""

    model: str = Field(description="A model's name, or the languages: en-de, eng_Latn-zho_Hant.")
    messages: list[Message] = Field(description="The last one of the user is translated.")
    n: int | None = Field(None, ge=1, description="Translations.")
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
    finish_reason: Literal["stop", "length"] = Field(description="length: the length limit cut it off.")


class Completion(BaseModel):
    """The translations, best first."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Seconds since 1970.")
    model: str = Field(description="As the request calls it.")
    choices: list[Choice]


class Model(BaseModel):
    """A model of the server."""

    id: str = Field(description="Its name.")
    object: Literal["model"] = "model"
    created: int = Field(description="When the server started, in seconds since 1970.")
    owned_by: Literal["zhuyi"] = "zhuyi"


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]


class Error(BaseModel):
    """Why a request is refused."""

    message: str
    type: str
    param: str | None
    code: str | None


class Refused(BaseModel):
    """A refusal."""

    error: Error


class Instruction(NamedTuple):
    """What stands before a text that a program wants to have translated, such as "Translate from English to French:".

    It is the beginning of a message up to the first colon, on one line, has a form of the word "translate" in it, and
    the English name of a language after "to" or "into". Anything else is text.
    """

    target: str
    source: str | None
    end: int
    """Where the text begins."""

    @classmethod
    def of(cls, message: str) -> "Instruction | None":
        """The instruction at the beginning of a message, if there is one."""
        found = _INSTRUCTION.match(message)
        target = _language(_TARGET, found[1]) if found else None
        return cls(target, _language(_SOURCE, found[1]), found.end()) if found and target else None


def router(service: Service) -> APIRouter:
    """Its routes."""
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
        """The models that there are."""
        service.authorize(key)
        return ModelList(data=[Model(id=model.name, created=started) for model in service.models])

    @routes.get("/models/{name}")
    async def one_model(name: str, key: BearerKey) -> Model:
        """A model."""
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
    """What a request asks for: the languages of its model's name, or else those of an instruction.

    Args:
        asked: the request.
        names: of the server's models.
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
    """The language with the longest name at a place of an instruction."""
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
