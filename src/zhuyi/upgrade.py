"""What older versions of zhuyi wrote, as this version reads it."""

import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

_STACKS = (
    (r"\b(encoder|decoder)\.(\d+)\.", r"\1.blocks.\2."),
    (r"\b(encoder|decoder)_norm\.", r"\1.norm."),
    (r"\bsource_(embedding|positions)\.", r"encoder.\1."),
    (r"\btarget_(embedding|positions)\.", r"decoder.\1."),
)
_SHARED = (r"\btarget_embedding\.", r"encoder.embedding.")
"""One embedding for both sides was the target's; it bears the name of the first stack that has it."""


def renamed_weights(values: Mapping[str, Value]) -> dict[str, Value]:
    """Values by the weights' names of format 2, from values by those of format 1; other names stay as they are.

    A name may have the weight's name within it, as `optimizer.<name>.exp_avg` of a training checkpoint has.

    Args:
        values: by name, for all weights of a model: which of them are tied follows from the names that are there.
    """
    shared = not any("source_embedding." in name for name in values)
    rules = (_SHARED, *_STACKS) if shared else _STACKS
    renamed = {}
    for name, value in values.items():
        for old, new in rules:
            name = re.sub(old, new, name)
        renamed[name] = value
    return renamed
