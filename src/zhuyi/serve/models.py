"""The models of a server, which requests choose by name or by language.

If no model translates from one language to another, two are chained through a third language, the pivot.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from zhuyi.engine.choice import check_device
from zhuyi.errors import ConfigError
from zhuyi.hub import is_on_hub
from zhuyi.serve import languages
from zhuyi.serve.refusals import malformed, unknown
from zhuyi.serve.served_model import ServedModel, Settings, listed

AUTO = "auto"
"""The source language of a request that asks for its detection."""

DEFAULT = Settings()


@dataclass(frozen=True)
class Hop:
    """One model's part of a translation."""

    model: ServedModel
    source: str | None = None
    """The tag of the source language, if the model has such tags."""
    target: str | None = None
    """The tag of the target language, if the model has such tags."""
    language: str | None = None
    """The language of the text (ISO 639), if it is known."""


class Models:
    """All models of a server.

    Args:
        given: `MODEL` or `NAME=MODEL`, as for `zhuyi.load`, in the order in which they are tried.
        settings: how they are loaded.

    Raises:
        CheckpointError: as `ServedModel`.
        ConfigError: as `ServedModel`, or if two models have the same name, or there is no such device.
    """

    def __init__(self, given: Sequence[str], settings: Settings = DEFAULT) -> None:
        check_device(settings.device)
        self._models: dict[str, ServedModel] = {}
        for each in given:
            name, _, path = ("", "", each) if Path(each).is_dir() else each.rpartition("=")
            directory = Path(path)
            name = name or (path.split("@")[0].split("/")[-1] if is_on_hub(path) else directory.resolve().name)
            if name in self._models:
                raise ConfigError(f"two models have the name {name}: give one another name, NAME={path}")
            self._models[name] = ServedModel(name, directory, settings)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    @property
    def only(self) -> ServedModel | None:
        """The model, if there is only one. It answers to every name, and to every language if it has no tags."""
        return next(iter(self)) if len(self) == 1 else None

    @property
    def sources(self) -> list[str]:
        """Codes of the source languages of all models."""
        return sorted({languages.code(tag) for model in self for tag in model.sources})

    @property
    def targets(self) -> list[str]:
        """Codes of the target languages of all models."""
        return sorted({languages.code(tag) for model in self for tag in model.targets})

    def named(self, name: str) -> ServedModel:
        """The model of this name.

        Raises:
            Refusal: if there is none; the message lists all models.
        """
        if name not in self._models:
            raise unknown(f"no such model: choose one of {listed(list(self._models))}")
        return self._models[name]

    def targets_of(self, source: str) -> list[str]:
        """Codes of the languages that a language can be translated to."""
        return [target for target in self.targets if target != source and self._path(source, target)]

    def route(self, name: str | None, source: str | None, target: str | None) -> list[Hop]:
        """The models that translate a request, one after the other.

        Args:
            name: of the model; None: any with these languages.
            source: the source language; None: not stated.
            target: the target language; None: not stated.

        Raises:
            Refusal: if there is no such model, or none with these languages; the message lists the choices.
        """
        model = self.only or (self.named(name) if name is not None else None)
        if model is not None:
            return [self._of(model, source, target)]
        if target is None:
            raise malformed(f"name the target language, or the model: {listed(list(self._models))}")
        path = self._path(source, target)
        if not path:
            raise unknown(
                f"no model translates between these languages: choose from {'; '.join(each.pairs for each in self)}"
            )
        return path

    def _of(self, model: ServedModel, source: str | None, target: str | None) -> Hop:
        """The hop through a model that was chosen by name. If it has language tags, it must have these languages."""
        if not model.has_tags:
            return Hop(model, language=_language(source or next(iter(model.sources), None)))
        hop = _hop(model, source, target)
        if hop is None:
            raise unknown(f"the model does not have this language: choose from {model.pairs}")
        return hop

    def _path(self, source: str | None, target: str) -> list[Hop]:
        """The first model with both languages, or else the first two through a pivot; empty if there are none."""
        for model in self:
            if (hop := _hop(model, source, target)) is not None:
                return [hop]
        if source is None:
            return []
        for first, last in permutations(self, 2):
            for third in first.targets:
                there, on = _hop(first, source, third), _hop(last, third, target)
                if there is not None and on is not None:
                    return [there, on]
        return []


def _hop(model: ServedModel, source: str | None, target: str | None) -> Hop | None:
    """The hop through a model, if it has both languages; a language that is None is not stated."""
    from_tag = languages.find(source, model.sources) if source is not None else None
    to_tag = languages.find(target, model.targets) if target is not None else None
    if (source is not None and from_tag is None) or (target is not None and to_tag is None):
        return None
    stated_source = from_tag if model.has_source_tags else None
    return Hop(model, stated_source, to_tag if model.has_tags else None, _language(from_tag))


def _language(tag: str | None) -> str | None:
    return languages.parse(tag).language if tag is not None else None
