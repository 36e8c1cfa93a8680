"""Small models, servers around them, and an engine that answers when a test lets it."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from command_line import TINY

from zhuyi.config import Config, DecodingConfig, build_config
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.translator import Translator

uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")
httpx2 = pytest.importorskip("httpx2")

from zhuyi.serve import Limits, Models, Service, Settings, application  # noqa: E402  # needs it

Result = TypeVar("Result")

CPU = Settings(device="cpu")


def speaking(source: str | None, target: str | None, **sections: Any) -> Callable[[Config], Config]:
    """For `tiny_model`: it says its languages, and has other settings in these sections."""
    languages = {"source_language": source, "target_language": target}
    return lambda _: build_config({**TINY, **sections, "data": {key: tag for key, tag in languages.items() if tag}})


def service(*models: str, settings: Settings = CPU, api_key: str | None = None, **limits: Any) -> Service:
    return Service(Models(models, settings), Limits(**limits), api_key)


def with_client(
    service: Service,
    use: Callable[[httpx2.AsyncClient], Awaitable[Result]],
    origins: Sequence[str] = ("*",),
    hosts: Sequence[str] = ("*",),
) -> Result:
    """What a client of the application gets."""

    async def run() -> Result:
        transport = httpx2.ASGITransport(application(service, origins, hosts))
        async with httpx2.AsyncClient(transport=transport, base_url="http://zhuyi") as client:
            return await use(client)

    return asyncio.run(run())


def post(service: Service, path: str, **how: Any) -> httpx2.Response:
    """The answer to one request."""
    return with_client(service, lambda client: client.post(path, **how))


@contextmanager
def running(service: Service) -> Iterator[str]:
    """The address of a server that runs beside the block."""
    server = uvicorn.Server(uvicorn.Config(application(service), port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


class Held:
    """An engine that finds the source itself, once a test lets it."""

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
