"""Weights in files of other programs: safetensors, and torch's own format, of which plain tensors alone are read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open

from zhuyi.errors import CheckpointError
from zhuyi.interop.reading import read_bytes

LARGEST_INDEX = 1 << 26


def read_tensors(directory: Path) -> dict[str, npt.NDArray[Any]]:
    """The weights in a directory of Hugging Face: `model.safetensors` or its shards, or `pytorch_model.bin`.

    Raises:
        CheckpointError: if there are none, or they are damaged.
    """
    for single in ("model.safetensors", "pytorch_model.bin"):
        index = directory / f"{single}.index.json"
        if (directory / single).is_file():
            return read_file(directory / single)
        if index.is_file():
            arrays: dict[str, npt.NDArray[Any]] = {}
            for shard in _shards(index):
                arrays |= read_file(directory / shard)
            return arrays
    raise CheckpointError(f"{directory}: no weights (model.safetensors or pytorch_model.bin)")


def read_file(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The tensors of one file, in float32 where they are of fewer bits.

    A file of torch is a pickle. It is opened with `weights_only=True`, so that nothing but tensors, numbers, strings
    and containers of them can be in it; an OrderedDict is the only class.

    Raises:
        CheckpointError: if it is damaged, or holds anything else.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                found: Any = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, EOFError, AttributeError) as error:
        raise CheckpointError(f"{path}: not readable as weights ({_first_line(error)})") from error
    except Exception as error:  # pickle's own errors have no common class
        raise CheckpointError(f"{path}: not plain weights ({_first_line(error)})") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise CheckpointError(f"{path}: not a dictionary of tensors")
    if strange := next((name for name, value in found.items() if not isinstance(value, torch.Tensor)), None):
        raise CheckpointError(f"{path}: {strange} is not a tensor")
    return {name: plain(tensor) for name, tensor in found.items()}


def plain(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """A tensor as an array; what NumPy has no type for is in float32."""
    tensor = tensor.detach().cpu()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    array: npt.NDArray[Any] = tensor.numpy()
    return np.ascontiguousarray(array)


def _shards(index: Path) -> list[str]:
    try:
        files = set(json.loads(read_bytes(index, LARGEST_INDEX))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index}: not an index of files") from error
    for name in files:
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{index}: {name!r} is not the name of a file beside it")
    return sorted(files)


def _is_zip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
