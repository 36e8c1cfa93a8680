"""The models of a server, by name and by language: which of them a request means, and which are in memory.

A model is loaded when it is first used, and released when it has not been used for a while. Where no model translates
from one language into another, two that meet in a third language do: the pivot.
"""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from safetensors import safe_open

from zhuyi.config import Config, Precision, changed
from zhuyi.directory import WEIGHTS, load_config_of
from zhuyi.errors import ConfigError
from zhuyi.loading import load
from zhuyi.serve import languages
from zhuyi.serve.refusals import malformed, unknown
from zhuyi.text.framing import is_of_target
from zhuyi.translator import Translator

AUTO = "auto"
"""The language that a request names when it does not know it."""

BYTES: dict[Precision, int] = {"float32": 4, "bf16": 2, "int8": 1}
"""Of a weight."""

_PAIR = re.compile("([a-z]{2,3})-([a-z]{2,3})")


@dataclass(frozen=True)
class Settings:
    """How models are loaded, and for how long: those of `zhuyi.load`, and the seconds without use after which a model
    is released."""

    device: str = "auto"
    engine: str | None = None
    precision: str | None = None
    workers: int | None = None
    idle: float = 300.0

    @property
    def of_engine(self) -> dict[str, Any]:
        """Those that say what computes, where they are not the model's own."""
        given = {"engine": self.engine, "precision": self.precision, "workers": self.workers}
        return {key: value for key, value in given.items() if value is not None}


class ServedModel:
    """One model: what is known of it without loading it, and its translator while it is in use.

    Args:
        name: by which requests ask for it.
        directory: of the model.
        settings: how it is loaded.

    Raises:
        CheckpointError: if there is no whole model in the directory.
        ConfigError: if it does not translate.
    """

    def __init__(self, name: str, directory: Path, settings: Settings) -> None:
        self.name, self.directory, self._settings = name, directory, settings
        config = load_config_of(directory)
        _check_translates(config, directory)
        decoding = changed(config.decoding, settings.of_engine)
        self.sources, self.targets = _languages(config, name)
        self._reads_source = any(not is_of_target(tag) for tag in config.text.tags)
        self.has_tags = bool(config.text.tags)
        with safe_open(directory / WEIGHTS, "np") as weights:
            shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118  # no dict
        self.weight_bytes = sum(map(math.prod, shapes)) * BYTES[decoding.precision]
        self._loading: asyncio.Task[Translator] | None = None
        self._users = 0
        self._release: asyncio.TimerHandle | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether its weights are in memory."""
        return self._loading is not None and self._loading.done()

    @asynccontextmanager
    async def translator(self) -> AsyncIterator[Translator]:
        """The model's translator, which is loaded first if it has to be; it is in use until the block ends.

        Raises:
            CheckpointError, ConfigError: as `zhuyi.load`.
        """
        self._users += 1
        if self._release is not None:
            self._release.cancel()
            self._release = None
        try:
            if self._loading is None:
                self._loading = asyncio.create_task(asyncio.to_thread(self._load))
                self._loading.add_done_callback(self._forget_failure)
            yield await asyncio.shield(self._loading)  # others wait for the same
        finally:
            self._users -= 1
            if not self._users:
                self._release = asyncio.get_running_loop().call_later(self._settings.idle, self.release)

    def release(self) -> None:
        """Let go of the weights, which are loaded again when they are wanted again."""
        assert not self._users
        self._loading = self._release = None

    def _load(self) -> Translator:
        how = self._settings
        return load(self.directory, device=how.device, engine=how.engine, precision=how.precision, workers=how.workers)

    def _forget_failure(self, loading: "asyncio.Task[Translator]") -> None:
        if loading.cancelled() or loading.exception() is not None:
            self._loading = None

    def leg(self, source: str | None, target: str | None) -> "Leg | None":
        """From one language into the other by this model, if it has both; a language that is None is not said."""
        from_tag = languages.find(source, self.sources) if source is not None else None
        to_tag = languages.find(target, self.targets) if target is not None else None
        if (source is not None and from_tag is None) or (target is not None and to_tag is None):
            return None
        return Leg(self, from_tag if self._reads_source else None, to_tag if self.has_tags else None)

    def __str__(self) -> str:
        pairs = f"{_listed(self.sources) or '?'} → {_listed(self.targets) or '?'}"
        return f"{self.name}: {pairs}, {self.weight_bytes / 1e6:,.1f} MB of weights"


@dataclass(frozen=True)
class Leg:
    """One model's part of a translation; `source` and `target` are what it is told of the languages, if it has tags."""

    model: ServedModel
    source: str | None
    target: str | None


class Models:
    """All models of a server.

    Args:
        given: `DIRECTORY` or `NAME=DIRECTORY`, in the order in which they are tried.
        settings: how they are loaded.

    Raises:
        CheckpointError, ConfigError: as `ServedModel`, or if two have the same name.
    """

    def __init__(self, given: Sequence[str], settings: Settings = Settings()) -> None:  # frozen
        self._models: dict[str, ServedModel] = {}
        for each in given:
            name, _, path = each.rpartition("=")
            directory = Path(path)
            name = name or directory.resolve().name
            if name in self._models:
                raise ConfigError(f"two models have the name {name}: call one of them otherwise, NAME={path}")
            self._models[name] = ServedModel(name, directory, settings)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    @property
    def only(self) -> ServedModel | None:
        """The model, if there is one alone: it takes every name, and every language that it cannot choose."""
        return next(iter(self)) if len(self) == 1 else None

    @property
    def sources(self) -> list[str]:
        """Codes of all languages that some model reads."""
        return sorted({languages.code(tag) for model in self for tag in model.sources})

    @property
    def targets(self) -> list[str]:
        """Codes of all languages that some model writes."""
        return sorted({languages.code(tag) for model in self for tag in model.targets})

    def targets_of(self, source: str) -> list[str]:
        """Codes of all languages into which some models translate that language."""
        return [target for target in self.targets if target != source and self._path(source, target)]

    def route(self, name: str | None, source: str | None, target: str | None) -> list[Leg]:
        """The models that translate a request, one after the other.

        Args:
            name: of the model that it asks for; None: any that has the languages.
            source: the language of the text; None: it does not say.
            target: the language of the translation; None: it does not say.

        Raises:
            Refusal: if there is no such model, or none with these languages; the message lists what there is.
        """
        model = self.only
        if model is None and name is not None:
            model = self._models.get(name)
            if model is None:
                raise unknown(f"no such model; there are {_listed(list(self._models))}")
        if model is not None:
            return [self._leg(model, source, target)]
        if target is None:
            raise malformed(f"say the language of the translation, or the model: {_listed(list(self._models))}")
        path = self._path(source, target)
        if not path:
            raise unknown(f"no model translates between these languages; there are {'; '.join(map(_pair, self))}")
        return path

    def _leg(self, model: ServedModel, source: str | None, target: str | None) -> Leg:
        """A model that is meant, whatever the languages; but one that is told them has to have them."""
        if not model.has_tags:
            return Leg(model, None, None)
        leg = model.leg(source, target)
        if leg is None:
            raise unknown(f"the model has no such language; it has {_pair(model)}")
        return leg

    def _path(self, source: str | None, target: str) -> list[Leg]:
        """The first model from one language to the other, or the first two that meet in a third one; or none."""
        for model in self:
            if (leg := model.leg(source, target)) is not None:
                return [leg]
        if source is None:
            return []
        for first, last in permutations(self, 2):
            for third in first.targets:
                there, on = first.leg(source, third), last.leg(third, target)
                if there is not None and on is not None:
                    return [there, on]
        return []


def _check_translates(config: Config, directory: Path) -> None:
    if config.data.text is not None:
        raise ConfigError(f"{directory} learnt from running text: a server translates with models of pairs of lines")
    if config.model.shape == "encoder":
        raise ConfigError(f"{directory} gives labels: a server translates; zhuyi translate {directory} prints labels")


def _languages(config: Config, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The languages of both sides, as the model names them: its tags, or what it says of its data, or its own name."""
    tags = config.text.tags
    of_target = tuple(tag.strip("<>_") for tag in tags if is_of_target(tag))
    both = tuple(tag.strip("<>_") for tag in tags if not is_of_target(tag))
    source, target = config.data.source_language, config.data.target_language
    named = _PAIR.fullmatch(name)
    if named and not (source or target) and all(map(languages.is_known, named.groups())):
        source, target = named.groups()
    return (both or ((source,) if source else ())), (of_target or both or ((target,) if target else ()))


def _pair(model: ServedModel) -> str:
    return f"{_listed(model.sources) or '?'} → {_listed(model.targets) or '?'} ({model.name})"


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
