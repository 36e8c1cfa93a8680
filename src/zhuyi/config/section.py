"""What all sections of a configuration have in common: frozen, typed, strict, and without unknown keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_validator

# Numbers have bounds far outside of what any run wants, and well inside of what float32, float64, int64, the clock and
# the memory of a large machine can take: what a configuration lets through can be computed with.
MANY = 10**9
"""Most updates, and most of anything that is counted in updates or checkpoints."""


def each_side(values: Mapping[str, Any], both: str, *sides: str, default: str) -> dict[str, Any]:
    """`values` with the setting for both sides in each side that has none of its own."""
    common = values.get(both, default)
    return {**values, **{side: common for side in sides if values.get(side) is None}}


class Section(BaseModel):
    """A part of the configuration: frozen, strict about types, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _note_what_was_set(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """In `model_fields_set` are the keys that were given, and not those that follow from others."""
        section = validate(values)
        if isinstance(values, Mapping):
            section.model_fields_set.intersection_update(values)
            for name, found in section:  # sections of the whole configuration: some keys follow from another section
                if isinstance(found, Section) and not isinstance(given := values.get(name) or {}, Section):
                    found.model_fields_set.intersection_update(given)
        return section


def readable(name: str) -> str:
    """A name as UTF-8 can hold it: a byte of it that is no character (PEP 383) is shown as `\\udc..`."""
    return name.encode(errors="backslashreplace").decode()


def settings(section: Any) -> Mapping[str, Any] | None:
    """The settings of a section that has not been validated yet; None, if it is no section."""
    if isinstance(section, Section):
        return section.model_dump(exclude_unset=True)
    return section if isinstance(section, Mapping) else {} if section is None else None
