"""A resolved configuration as text: every setting, its value and what it means."""

import json
from collections.abc import Iterator
from typing import Any

from zhuyi.config.load import build_config, sections
from zhuyi.config.schema import Config
from zhuyi.config.section import Section
from zhuyi.errors import ConfigError


def describe(config: Config) -> Iterator[tuple[str, str, Any, str]]:
    """Every setting as (section, key, value, what it means), in order; the section of `preset` is empty."""
    yield "", "preset", config.preset, Config.model_fields["preset"].description or ""
    for section in sections():
        values = getattr(config, section)
        for key, field in type(values).model_fields.items():
            yield section, key, getattr(values, key), field.description or ""


def to_toml(config: Config) -> str:
    """The resolved configuration as TOML, each key under a comment that says what it means.

    A key that only follows from others is a comment: where the file is changed, it follows again.
    """
    lines: list[str] = []
    current = ""
    for section, key, value, meaning in describe(config):
        if section != current:
            lines += ["", f"[{section}]"]
            current = section
        lines.append(f"# {meaning}")
        line = f"{key} = {_toml(value)}"
        if value is None:
            line = f"# {key} is not set"
        elif section and _follows(config, section, key):
            line = f"# {line}  # unless set, follows from the others"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Section):
        return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in value)} }}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _follows(config: Config, section: str, key: str) -> bool:
    """Whether a key, left unset, is as it is now because of others: `model.encoder_mixer` is as `model.mixer`."""
    if type(getattr(config, section)).model_fields[key].default is not None:
        return False
    tree = config.model_dump(exclude_none=True)
    del tree[section][key]
    try:
        return build_config(tree) == config
    except ConfigError:
        return False
