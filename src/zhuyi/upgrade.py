"""Directories of older formats, read as if they were of today's.

Each function here takes the files of a directory of one format, by name, and gives those of the next. They are applied
in turn when a directory is read (`files.read_directory`); what is on the disk stays as it is.

When a format is due, and when not, is in docs/architecture.md ("Formats").
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")
Files = Mapping[str, bytes]
"""The files of a directory, by name, without its manifest."""


def upgraded(files: Files, version: int) -> Files:
    """The files of a directory of format `version` as those of `FORMAT`."""
    for number in range(version, FORMAT):
        files = UPGRADES[number](files)
    return files


def from_1(files: Files) -> Files:
    """Format 1 had the whole configuration in config.json, where a run stands in training.json, and no `Stack`."""
    new = {_RENAMED_IN_2.get(name, name): content for name, content in files.items()}
    tensors = {name: content for name, content in new.items() if name.endswith(".safetensors")}
    names = [each for content in tensors.values() for each in _header(content)[0]]
    renamed = {old: name for name, old in renamed_weights({each: each for each in names}).items()}
    new |= {name: _with_names(content, renamed) for name, content in tensors.items()}
    if "config.json" not in files:
        return new
    if "run_state.json" in new:
        state = json.loads(new["run_state.json"])
        new["run_state.json"] = _to_json({_STATE_RENAMED_IN_2.get(key, key): value for key, value in state.items()})
    config = json.loads(files["config.json"])
    model = {"zhuyi": "0.1.0", "model": config["model"], "text": config["text"], "languages": {}}
    run = {key: config[key] for key in ("preset", "data", "training")}
    new |= {"config.json": _to_json(model), "training.json": _to_json(run)}
    if "decoding" in config and "decoding.json" not in files:  # before it was a file of its own
        new["decoding.json"] = _to_json(config["decoding"])
    return new


_RENAMED_IN_2 = {"training.json": "run_state.json", "training.safetensors": "run_state.safetensors"}
_STATE_RENAMED_IN_2 = {
    **{"pieces": "micro_batches", "engine": "fingerprint"},
    **{"data": "data_digest", "cut": "segmentation"},
}


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


UPGRADES: dict[int, Callable[[Files], Files]] = {1: from_1}
"""From each older format to the next."""
FORMAT = max(UPGRADES) + 1
"""What is written today."""


def _header(content: bytes) -> tuple[dict[str, Any], dict[str, str], bytes]:
    """A safetensors file: where each tensor is in its data, by name; its metadata; and the data.

    It begins with the length of its header in 8 bytes, little-endian, and the header, which is JSON.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    places = json.loads(content[8:end])
    return places, places.pop("__metadata__", {}), content[end:]


def _with_names(content: bytes, names: Mapping[str, str]) -> bytes:
    """A safetensors file whose tensors have other names: `names` of all of them, old → new."""
    places, metadata, data = _header(content)
    header: dict[str, Any] = {names[name]: place for name, place in places.items()}
    if parts := metadata.get("DCP_SHARDING_INFO"):  # where torch notes which part of a tensor the file has
        metadata["DCP_SHARDING_INFO"] = json.dumps({names[name]: part for name, part in json.loads(parts).items()})
    if metadata:
        header["__metadata__"] = metadata
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)  # the data are aligned
    return len(packed).to_bytes(8, "little") + packed + data


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
