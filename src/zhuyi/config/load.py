"""From a TOML file, a preset and overrides to a validated configuration.

defaults  <  preset  <  CONFIG.toml  <  --set section.key=value
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from zhuyi.config.presets import PRESETS
from zhuyi.config.schema import Config
from zhuyi.config.section import Section
from zhuyi.encoding import decoded
from zhuyi.errors import ConfigError

FILES = ("source", "target", "dev_source", "dev_target", "test_source", "test_target", "text", "dev_text")
"""The keys of [data] that name files."""

Tree = Mapping[str, Any]


def load_config(path: str | Path, overrides: Sequence[str] = (), preset: str | None = None) -> Config:
    """Read a TOML file.

    Args:
        path: the file. Paths in it are relative to its folder.
        overrides: `section.key=value` strings, as `--set` takes them; they win over the file.
        preset: a name in `PRESETS`; it wins over the file's own `preset`.

    Raises:
        ConfigError: naming the file and the key.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            tree = tomllib.loads("\n".join(decoded(file, f"{path}:", ConfigError)))
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: a directory, and not a CONFIG.toml") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    for section, keys in (("data", FILES), ("training", ("start_from",))):
        for key in keys:
            if isinstance(values := tree.get(section), dict) and key in values:
                values[key] = _relative_to(path.parent, values[key])
    data = tree.get("data")
    for mixed in data.get("mix", []) if isinstance(data, dict) and isinstance(data.get("mix"), list) else []:
        for key in {"source", "target"} & mixed.keys() if isinstance(mixed, dict) else ():
            mixed[key] = _relative_to(path.parent, mixed[key])
    return build_config(tree, overrides, preset, where=str(path))


def build_config(
    tree: Tree, overrides: Sequence[str] = (), preset: str | None = None, where: str = "configuration"
) -> Config:
    """Lay `tree` over its preset and `overrides` over both, and validate. A budget replaces all budgets below it.

    Raises:
        ConfigError: naming `where` and the key.
    """
    merged: dict[str, Any] = {}
    for section, value in tree.items():
        merged[section] = dict(value) if isinstance(value, Mapping) else value
    _reject_unknown(merged, where)
    origins: dict[str, str] = {}
    above: dict[str, dict[str, Any]] = {}
    for text in overrides:
        key, value = parse_override(text)
        section, _, name = key.rpartition(".")
        (above.setdefault(section, {}) if section else merged)[name] = value
        origins[key] = f"--set {text}"
    for section, values in above.items():
        merged[section] = _over(merged.get(section, {}), values)
    if preset is not None:
        merged["preset"] = preset
        origins["preset"] = f"--preset {preset}"
    chosen = merged.get("preset", "modern")
    base = PRESETS.get(chosen, {}) if isinstance(chosen, str) else {}
    for section, values in base.items():
        merged[section] = _over(values, merged.get(section, {}))
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        message = _one_line(error)
        keys = re.findall(r"[\w.]+", message)
        named = [origin for key, origin in origins.items() if key in keys]
        raise ConfigError(f"{' '.join(named) or where}: {message}") from error


def parse_override(text: str) -> tuple[str, Any]:
    """`section.key=value` → key and value; the value is TOML, or else a plain string.

    Raises:
        ConfigError: if there is no `=`, or no such key.
    """
    key, equals, value = map(str.strip, text.partition("="))
    if not equals or key in sections():
        raise ConfigError(f"--set {text}: write it as section.key=value")
    if key not in _keys():
        raise ConfigError(f"--set {text}: unknown key {key}{_nearest(key)}")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


AnySection = TypeVar("AnySection", bound=Section)


def changed(section: AnySection, values: Tree) -> AnySection:
    """A section with some values changed, validated again.

    Raises:
        ConfigError: naming the key.
    """
    try:
        return type(section).model_validate({**section.model_dump(), **values})
    except ValidationError as error:
        name = type(section).__name__.removesuffix("Config").lower()
        raise ConfigError(_one_line(error, f"{name}.")) from error


def sections() -> list[str]:
    """The names of the sections, in order."""
    return [name for name in Config.model_fields if name != "preset"]


def _keys() -> list[str]:
    """Every key, as `section.key`; and `preset`."""
    types = {name: type(Config.model_fields[name].default) for name in sections()}
    return ["preset", *(f"{name}.{key}" for name, section in types.items() for key in section.model_fields)]


def _over(base: Tree, above: Any) -> Any:
    """`above` laid over `base`. A budget above replaces every budget below: they would race each other."""
    if not isinstance(above, Mapping):
        return above
    budgets = {"steps", "epochs", "minutes"}
    kept = {key: value for key, value in base.items() if not (key in budgets and budgets & above.keys())}
    return {**kept, **above}


def _relative_to(folder: Path, value: Any) -> Any:
    if not isinstance(value, str) or value.startswith("hub:"):
        return value
    return str(folder / os.path.expanduser(value))  # leaves "~nobody" as it is


def _reject_unknown(tree: Tree, where: str) -> None:
    known = _keys()
    for section, values in tree.items():
        if section in sections() and not isinstance(values, Mapping):
            raise ConfigError(f"{where}: {section} is a section: write [{section}] and its keys below")
        for key in [f"{section}.{key}" for key in values] if isinstance(values, Mapping) else [section]:
            if key not in known:
                raise ConfigError(f"{where}: unknown key {key}{_nearest(key)}")


def _nearest(key: str) -> str:
    same_name = [known for known in _keys() if known.rpartition(".")[2] == key.rpartition(".")[2]]
    if near := same_name or difflib.get_close_matches(key, _keys(), n=1):
        return f"; did you mean {near[0]}?"
    return f"; the sections are {', '.join(sections())}, and zhuyi config lists their keys"


def _one_line(error: ValidationError, section: str = "") -> str:
    first = error.errors()[0]
    key = section + ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "missing":
        return f"{key} is missing"
    message = first["msg"].removeprefix("Input should be ").replace("a valid boolean", "true or false")
    return f"{key} should be {message}, not {first['input']!r}"
