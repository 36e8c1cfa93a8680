"""A model of a server: its properties, which are known before it is loaded, and its translator while it is in use."""

import asyncio
import ctypes
import logging
import math
import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from safetensors import safe_open

from zhuyi.config import Config, Precision, changed
from zhuyi.directory import WEIGHTS, load_config_of
from zhuyi.errors import ConfigError, ZhuyiError
from zhuyi.hub import fetched
from zhuyi.loading import load, with_torch
from zhuyi.serve import languages
from zhuyi.serve.refusals import unavailable
from zhuyi.text.template import is_of_target
from zhuyi.translator import Translator

BYTES: dict[Precision, int] = {"float32": 4, "bf16": 2, "int8": 1}
"""Bytes of a weight."""

MAX_LISTED = 10
"""Most names that a message lists."""

SETTLED = 0.5
"""Seconds after which the threads of an engine that is no longer referenced have ended."""

log = logging.getLogger("zhuyi.serve")

Value = TypeVar("Value")

_PAIR = re.compile("([a-z]{2,3})-([a-z]{2,3})")


@dataclass(frozen=True)
class Settings:
    """How models are loaded, as for `zhuyi.load`, and when they are unloaded."""

    device: str = "auto"
    engine: str | None = None
    precision: str | None = None
    workers: int | None = None
    idle: float = 300.0
    """Seconds without use after which a model is unloaded."""

    @property
    def of_engine(self) -> dict[str, Any]:
        """The settings of the engine that override the model's own."""
        given = {"engine": self.engine, "precision": self.precision, "workers": self.workers}
        return {key: value for key, value in given.items() if value is not None}


class ServedModel:
    """A model, which is loaded when it is first used, and unloaded when it is idle.

    Args:
        name: of the model in requests.
        directory: of the model, or `hub:USER/NAME[@REVISION]`.
        settings: how it is loaded.

    Raises:
        CheckpointError: if there is no complete model in the directory.
        ConfigError: if it does not translate, or cannot be loaded with these settings.
    """

    def __init__(self, name: str, directory: Path, settings: Settings) -> None:
        directory = fetched(directory)
        self.name, self._idle = name, settings.idle
        config = load_config_of(directory)
        _check_translates(config, directory)
        self.decoding = changed(config.decoding, settings.of_engine)
        self.sources, self.targets = _languages(config, name)
        self.has_tags = bool(config.text.tags)
        self.has_source_tags = any(not is_of_target(tag) for tag in config.text.tags)
        self.aligns = config.model.shape == "encoder-decoder" and "cross" not in config.model.without
        self._parameters, self._width = _parameters(directory), BYTES[self.decoding.precision]
        self._loaded = _Lazy(lambda: load(directory, device=settings.device, **settings.of_engine))
        self._opened = _Lazy(lambda: with_torch(self._loaded.value))
        self._users = 0
        self._release: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def translator(self) -> AsyncIterator[Translator]:
        """The model's translator, loaded first if necessary. It is in use until the block ends.

        Raises:
            Refusal: if it cannot be loaded.
        """
        self._users += 1
        if self._release is not None:
            self._release.cancel()
            self._release = None
        try:
            yield await self._get(self._loaded)
        finally:
            self._users -= 1
            if not self._users:
                self._release = asyncio.get_running_loop().call_later(self._idle, self.release)

    async def opened(self) -> Translator:
        """The same translator with torch's engine, for alignments and the microscope; call it within `translator`.

        Raises:
            Refusal: if it cannot be loaded.
        """
        return await self._get(self._opened)

    async def _get(self, lazy: "_Lazy[Translator]") -> Translator:
        try:
            return await lazy.get()
        except ZhuyiError as error:
            log.error("%s cannot be loaded: %s", self.name, error)
            raise unavailable("the model cannot be loaded: the server's log says why") from error

    def release(self) -> None:
        """Unload the weights. They are loaded again when they are next needed."""
        assert not self._users
        self._loaded.forget()
        self._opened.forget()
        self._release = None
        loop = asyncio.get_running_loop()
        loop.call_later(SETTLED, loop.run_in_executor, None, _return_memory)

    @property
    def is_loaded(self) -> bool:
        """Whether its weights are in memory."""
        return self._loaded.is_there

    @property
    def weight_bytes(self) -> int:
        """Memory for its weights once they are loaded, in bytes."""
        return self._parameters * self._width

    @property
    def resident_bytes(self) -> int:
        """Memory that its weights use now, in bytes, including their copy in torch if there is one."""
        opened = self._opened.is_there and self._opened.value is not self._loaded.value
        return self.weight_bytes * self.is_loaded + self._parameters * BYTES["float32"] * opened

    @property
    def pairs(self) -> str:
        """Its languages, as far as they are known, and its name: `en → de (en-de)`."""
        if not (self.sources or self.targets):
            return self.name
        return f"{listed(self.sources) or '?'} → {listed(self.targets) or '?'} ({self.name})"


class _Lazy(Generic[Value]):
    """A value that is computed in a thread when it is first needed, once for all tasks that wait for it."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make
        self._task: asyncio.Task[Value] | None = None

    async def get(self) -> Value:
        """The value. If computing it fails, all tasks that wait get the error, and the next call tries again."""
        if self._task is None or (self._task.done() and not self.is_there):
            self._task = asyncio.create_task(asyncio.to_thread(self._made))
        return await asyncio.shield(self._task)  # a cancelled caller does not cancel it for the others

    def _made(self) -> Value:
        try:
            return self._make()
        finally:
            _return_memory()  # of the file that was read, before its weights were packed

    @property
    def is_there(self) -> bool:
        """Whether it has been computed."""
        return self._task is not None and self._task.done() and not (self._task.cancelled() or self._task.exception())

    @property
    def value(self) -> Value:
        """The value, which has been computed."""
        assert self._task is not None
        return self._task.result()

    def forget(self) -> None:
        """Drop the value. It is computed again when it is next needed."""
        self._task = None


def _return_memory() -> None:
    """Return freed memory to the system: glibc keeps it, after large blocks have been freed."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library other than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def _check_translates(config: Config, directory: Path) -> None:
    if config.data.text is not None:
        raise ConfigError(f"{directory} was trained on running text: serve needs a model that was trained on pairs")
    if config.model.shape == "encoder":
        raise ConfigError(f"{directory} predicts labels, which serve does not support: use zhuyi translate")


def _languages(config: Config, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The source and target languages: from the tags of the model, its configuration, or its name, such as en-de."""
    tags = config.text.tags
    of_target = tuple(tag.strip("<>_") for tag in tags if is_of_target(tag))
    both = tuple(tag.strip("<>_") for tag in tags if not is_of_target(tag))
    source, target = config.data.source_language, config.data.target_language
    named = _PAIR.fullmatch(name)
    if named and not (source or target) and all(map(languages.is_known, named.groups())):
        source, target = named.groups()
    return (both or ((source,) if source else ())), (of_target or both or ((target,) if target else ()))


def _parameters(directory: Path) -> int:
    with safe_open(directory / WEIGHTS, "np") as weights:
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118  # no dict


def listed(names: Sequence[str]) -> str:
    """The first names of a list, for a message."""
    more = f", ... ({len(names):,} in all)" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
