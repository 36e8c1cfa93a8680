"""Finds the compiled libraries of the native engine, and loads the best one that this processor runs.

There is one library for each instruction set, in `lib/`: `_decoder.<set>.<so|dylib|dll>`, made by hatch_build.py.
`plain` runs everywhere, and says which of the others this processor runs. The best one is used whose product of two
small matrices agrees with float64: on some virtual machines, that of the best set does not.

    ZHUYI_ENGINE_ISA=avx2    uses that instruction set and no other, for tests and measurements
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from zhuyi.errors import ConfigError

DIRECTORY = Path(__file__).parent / "lib"
FORCED = "ZHUYI_ENGINE_ISA"
LARGEST_ERROR = {"float32": 1e-5, "bf16": 0.01, "int8": 0.02}
"""The precisions, in the order of the C++, and how far a product may be from float64, as a share of the largest result:
several times the error of rounding."""

_P, _I, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_FUNCTIONS: dict[str, tuple[type | None, list[type]]] = {
    "zhuyi_cpu": (_TEXT, []),
    "zhuyi_check": (ctypes.c_double, [_I]),
    "zhuyi_model": (_P, [_P, _P, _I, _P]),
    "zhuyi_free_model": (None, [_P]),
    "zhuyi_engine": (_P, [_P, _I, _I, _P]),
    "zhuyi_free_engine": (None, [_P]),
    "zhuyi_submit": (_P, [_P, _P, _P]),
    "zhuyi_wait": (_I, [_P, _P, _I, _P]),
    "zhuyi_next": (ctypes.c_int64, [_P, _I]),
    "zhuyi_sizes": (None, [_P, _P, _P]),
    "zhuyi_read": (None, [_P, _P, _P, _P, _P, _P, _P]),
    "zhuyi_free_job": (None, [_P]),
}
"""Types of results and arguments, as at the end of native/decoder.cpp."""


class LibraryError(ConfigError):
    """No library of the native engine can be used here; the message says why, in one line."""


@dataclass(frozen=True)
class Library:
    """A library that was loaded, with its functions declared."""

    handle: ctypes.CDLL
    brief: ctypes.PyDLL
    """The same functions, for calls that return at once: they keep the interpreter's lock. A call that releases it may
    wait `sys.getswitchinterval()` (5 ms) to get it back, if another thread is busy."""
    name: str
    """Of its instruction set."""


def library(precision: str) -> Library:
    """The library to compute with in a precision: float32, bf16 or int8; the same one at every call.

    Raises:
        LibraryError: if none can be used.
        ConfigError: if the environment variable ZHUYI_ENGINE_ISA names one that cannot be used on this machine.
    """
    return _library(DIRECTORY, precision, os.environ.get(FORCED, ""))


def usable(directory: Path) -> dict[str, Path]:
    """The libraries of a directory that this processor runs, best first, by the names of their instruction sets.

    Raises:
        LibraryError: if there are none, or none for this system.
    """
    found = {path.name.split(".")[1]: path for path in directory.glob("_decoder.*")}
    if "plain" not in found:
        raise LibraryError(
            "this installation has no native engine: it was not compiled (ZHUYI_NO_ENGINE=1?), or that failed; "
            "install again with pip install -v, which shows why"
        )
    names = load(found["plain"]).handle.zhuyi_cpu().decode().split(",")
    return {name: found[name] for name in names if name in found}


def load(path: Path) -> Library:
    """A library, with its functions declared.

    Raises:
        LibraryError: if the system cannot load it, or it is of another version.
    """
    try:
        handle, brief = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
        for name, (result, arguments) in _FUNCTIONS.items():
            for function in (getattr(handle, name), getattr(brief, name)):
                function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise LibraryError(f"the native engine cannot be loaded: {error}; install zhuyi again") from error
    return Library(handle, brief, path.name.split(".")[1])


def first_accurate(
    paths: Sequence[Path], load: Callable[[Path], Library], error_of: Callable[[Library], float], bound: float
) -> Library:
    """The first library that computes accurately.

    Args:
        paths: of libraries, best first.
        load: loads one of them.
        error_of: the error of one, against float64; NaN is too large.
        bound: the largest error that is accepted.

    Raises:
        LibraryError: if there is none.
    """
    wrong = []
    for path in paths:
        candidate = load(path)
        error = error_of(candidate)
        if error <= bound:
            return candidate
        wrong.append(f"{candidate.name} by {error:.2g}")
    raise LibraryError(f"the native engine computes wrongly on this processor: {', '.join(wrong)} (at most {bound:g})")


@cache
def _library(directory: Path, precision: str, forced: str) -> Library:
    paths = usable(directory)
    if forced and forced not in paths:
        raise ConfigError(f"{FORCED}={forced}: this machine has and runs {', '.join(paths)}; set one of them, or none")
    number = list(LARGEST_ERROR).index(precision)
    wanted = [paths[forced]] if forced else list(paths.values())
    return first_accurate(wanted, load, lambda one: float(one.handle.zhuyi_check(number)), LARGEST_ERROR[precision])
