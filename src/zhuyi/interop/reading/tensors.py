"""Weights in files of other programs: safetensors, NumPy's archives, and torch's own format, of which plain tensors
alone are read.
"""

import json
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load

from zhuyi.errors import CheckpointError
from zhuyi.interop.reading.files import opened, read_bytes

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
    raise CheckpointError(
        f"{directory}: no weights: copy model.safetensors or pytorch_model.bin, whole or in parts, into it too"
    )


def read_file(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The tensors of one file, in float32 where they are of fewer bits.

    A file of torch is a pickle. It is opened with `weights_only=True`, so that nothing but tensors, numbers, strings
    and containers of them can be in it; an OrderedDict is the only class.

    Raises:
        CheckpointError: if it is damaged, or holds anything else.
    """
    with opened(path) as file:
        is_zip = file.peek(2).startswith(b"PK")
    try:
        if path.suffix == ".safetensors":
            found: Any = _read_safetensors(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, EOFError, AttributeError) as error:
        raise CheckpointError(f"{path}: not readable as weights ({_first_line(error)})") from error
    except Exception as error:  # pickle's own errors have no common class
        raise CheckpointError(f"{path}: not plain weights ({_first_line(error)})") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise CheckpointError(f"{path}: not a dictionary of tensors")
    if strange := next((name for name, value in found.items() if not isinstance(value, torch.Tensor)), None):
        raise CheckpointError(f"{path}: {strange} is not a tensor")
    return {name: plain(tensor) for name, tensor in found.items()}


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # a name that is not UTF-8, which `safe_open` does not take
        return load(path.read_bytes())
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 – it is no dict, and cannot be iterated


ARRAY = re.compile(
    rb"\x93NUMPY(?:\x01\x00..|\x02\x00....)\{'descr': '([<>|=]?(?:f[248]|[iu][1248]))', 'fortran_order': (True|False), "
    rb"'shape': \(([\d, ]{0,100})\),? *\} *\n",
    re.DOTALL,
)
"""The head of an array: a literal of Python (https://numpy.org/neps/nep-0001-npy-format.html)."""


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of numbers in an archive of NumPy (`np.savez`, cnpy), by name.

    Nothing is believed before the file's own size allows it: neither the archive about what it has packed, nor an array
    about its shape. Arrays of objects, which are pickles, are not read.

    Raises:
        CheckpointError: if it is damaged, or holds anything else.
    """
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > 8 * path.stat().st_size + (1 << 20):
                raise CheckpointError(f"{path}: says that it has packed more than weights can be packed")
            arrays: dict[str, npt.NDArray[Any]] = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise CheckpointError(f"{path}: has {name} twice")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
                    raise CheckpointError(f"{path}: {name} is packed in a way that NumPy does not know")
                arrays[name] = _array(path, name, archive.read(member))
            return arrays
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError) as error:
        raise CheckpointError(f"{path}: not readable as an archive of arrays ({_first_line(error)})") from error


def _array(path: Path, name: str, data: bytes) -> npt.NDArray[Any]:
    head = ARRAY.match(data)
    if head is None:
        raise CheckpointError(f"{path}: {name} is not an array of numbers")
    kind, shape = np.dtype(head[1].decode()), tuple(int(size) for size in head[3].replace(b",", b" ").split())
    if len(data) - head.end() != math.prod(shape) * kind.itemsize:
        raise CheckpointError(f"{path}: {name} has not as many numbers as its shape says")
    array = np.frombuffer(data, kind, offset=head.end())
    return array.reshape(shape, order="F" if head[2] == b"True" else "C")


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


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
