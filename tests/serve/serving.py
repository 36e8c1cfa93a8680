"""Small models, servers around them, and an engine that answers when it is told to."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest
from command_line import TINY

from zhuyi.config import Config, DecodingConfig, build_config
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.translator import Translator

pytest.importorskip("uvicorn", reason="the extra serve is not installed")
httpx2 = pytest.importorskip("httpx2")

from zhuyi.serve import Limits, Models, Service, Settings, application  # noqa: E402  # needs it

Result = TypeVar("Result")

CPU = Settings(device="cpu")


def speaking(source: str | None, target: str | None) -> Callable[[Config], Config]:
    """For `tiny_model`: it says its languages."""
    languages = {"source_language": source, "target_language": target}
    return lambda _: build_config({**TINY, "data": {key: tag for key, tag in languages.items() if tag}})


def service(*models: str, settings: Settings = CPU, api_key: str | None = None, **limits: Any) -> Service:
    return Service(Models(models, settings), Limits(**limits), api_key)


def with_client(service: Service, use: Callable[[httpx2.AsyncClient], Awaitable[Result]]) -> Result:
    """What a client of the application gets."""

    async def run() -> Result:
        transport = httpx2.ASGITransport(application(service))
        async with httpx2.AsyncClient(transport=transport, base_url="http://zhuyi") as client:
            return await use(client)

    return asyncio.run(run())


def post(service: Service, path: str, **how: Any) -> httpx2.Response:
    """The answer to one request."""
    return with_client(service, lambda client: client.post(path, **how))


class Held:
    """An engine that finds the source itself, once it is told to."""

    precision = "float32"

    def __init__(self) -> None:
        self.waiting: list[tuple[Sequence[int], Future[list[Hypothesis]]]] = []

    def submit(
        self, source: Sequence[int], decoding: DecodingConfig, line: int = 0, prefix: Sequence[int] = ()
    ) -> "Future[list[Hypothesis]]":
        future: Future[list[Hypothesis]] = Future()
        self.waiting.append((source, future))
        return future

    def answer_all(self) -> None:
        for source, future in self.waiting:
            if future.set_running_or_notify_cancel():
                future.set_result([Hypothesis(list(source), -1.0, [-1.0] * (len(source) + 1), True)])
        self.waiting = []

    def in_place_of(self, translator: Translator) -> Translator:
        return Translator(translator.config, translator.tokenizers, self)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks bring about."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)
