"""Compiles the native engine: once for each instruction set, with the clang of the package `ziglang`.

    pip install -e .                     compiles for this machine into src/zhuyi/engine/lib, or takes it from the cache
    python hatch_build.py [SET ...]      by hand, these sets alone, for development; needs hatchling and ziglang

    ZHUYI_NO_ENGINE=1                    compiles nothing: the installation decodes with torch
    ZHUYI_ENGINE_TARGET=windows-x86_64   compiles for another platform (a row of TARGETS); a failure is an error then

What was compiled is kept in the user's cache, under a hash of the sources, flags and compiler. The package `ziglang` is
large: it is asked for only if something is to be compiled.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("src/zhuyi/engine/native")
LIBRARIES = Path("src/zhuyi/engine/lib")
NO_ENGINE, TARGET = "ZHUYI_NO_ENGINE", "ZHUYI_ENGINE_TARGET"

COMPILE = [
    "-O3",
    "-g0",
    "-std=c++20",
    "-fno-rtti",
    "-ffp-contract=on",
    "-fvisibility=hidden",
    "-fPIC",
    "-Wall",
    "-Wextra",
]
LINK = ["-O3", "-g0", "-shared", "-s", "-Wl,-Bsymbolic"]
"""How objects are compiled, to which a set adds its flags, and libraries linked. The link has no flags of a set: the
compiler makes its C++ runtime anew, in a minute, for any such flags. `-Bsymbolic`: a library calls its own
runtime, and no other one of the process, which has other exceptions. `-g0`: information for debuggers, which nobody
keeps, takes a third of the time."""

_AVX2 = ["-mavx2", "-mfma", "-mf16c"]
_AVX512 = [*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"]
X86_64 = {
    "plain": [],
    "avx2": _AVX2,
    "avxvnni": [*_AVX2, "-mavxvnni"],
    "avx512": _AVX512,
    "avx512bf16": [*_AVX512, "-mavx512bf16"],
    "amx": [*_AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16"],
}
AARCH64 = {"plain": [], "neon": ["-mcpu=generic+v8_2a+dotprod"]}
"""The instruction sets of a processor, and the flags that let the compiler use them; cpu.cpp has the same names."""


@dataclass(frozen=True)
class Target:
    """A platform: what the compiler calls it, the tag of its wheels, how its libraries' names end, its sets."""

    triple: str
    tag: str
    suffix: str
    sets: dict[str, list[str]]

    def library(self, name: str) -> str:
        """The name of the library for an instruction set."""
        return f"_decoder.{name}{self.suffix}"


TARGETS = {
    "linux-x86_64": Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64", ".so", X86_64),
    "linux-aarch64": Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64", ".so", AARCH64),
    "macos-arm64": Target("aarch64-macos.11.0", "macosx_11_0_arm64", ".dylib", AARCH64),
    "windows-x86_64": Target("x86_64-windows-gnu", "win_amd64", ".dll", X86_64),
}


class EngineBuildHook(BuildHookInterface[Any]):
    """What hatchling calls when it builds a wheel, or an editable installation."""

    def dependencies(self) -> list[str]:
        """The compiler, if something is to be compiled."""
        root, target = Path(self.root), chosen_target()
        return [] if target is None or is_whole(cached(root, target), target) else [compiler(root)]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the libraries to the wheel, or put them where an editable installation finds them.

        Raises:
            OSError, subprocess.CalledProcessError: if they cannot be compiled for the platform that was asked for. If
                none was, the installation has none, and a line says so.
        """
        root, target, made = Path(self.root), chosen_target(), None
        try:
            made = compiled(root, target) if target else None
            if version == "editable":
                install(root, made)
        except (OSError, subprocess.CalledProcessError) as error:
            if os.environ.get(TARGET):
                raise
            say(f"the engine could not be compiled ({error})")
        if made is None:
            say("installed without the native engine: it will decode with torch")
        elif target and version != "editable":
            inside = LIBRARIES.relative_to("src")
            build_data["force_include"] |= {str(path): str(inside / path.name) for path in made.iterdir()}
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{target.tag}"


def chosen_target() -> Target | None:
    """The platform to compile for: this one, or what the environment asks for; None if that is nothing.

    Raises:
        SystemExit: if the environment asks for one that is not in TARGETS.
    """
    if os.environ.get(NO_ENGINE) == "1":
        return None
    if name := os.environ.get(TARGET):
        if name not in TARGETS:
            raise SystemExit(f"{TARGET}={name}: not one of {', '.join(TARGETS)}")
        return TARGETS[name]
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    return TARGETS.get(f"{system}-{platform.machine().replace('AMD64', 'x86_64')}")


def compiler(root: Path) -> str:
    """The requirement for the compiler's package, with its version."""
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("ziglang=="))


def cache_directory() -> Path:
    """As in src/zhuyi/data/cache.py, which cannot be imported before zhuyi is installed."""
    if chosen := os.environ.get("ZHUYI_CACHE"):
        return Path(chosen)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):
        return Path(shared, "zhuyi")
    try:
        return Path.home() / ".cache" / "zhuyi"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir(), f"zhuyi-{os.getuid()}")


def cached(root: Path, target: Target) -> Path:
    """The directory in the cache for what these sources, flags and this compiler make, whether it is there or not."""
    digest = hashlib.sha256(repr((compiler(root), COMPILE, LINK, target)).encode())
    for path in sorted((root / SOURCES).iterdir()):
        digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    return cache_directory() / "engine" / digest.hexdigest()[:32]


def is_whole(directory: Path, target: Target) -> bool:
    """Whether a directory has all libraries of a target."""
    return all((directory / target.library(name)).is_file() for name in target.sets)


def compiled(root: Path, target: Target) -> Path:
    """The directory in the cache with all libraries of a target, which are compiled if it is not there.

    It has all of them or is not there, whatever happens meanwhile; of two processes that make it, one is the first.

    Raises:
        OSError, subprocess.CalledProcessError: if they cannot be compiled.
    """
    destination = cached(root, target)
    if not is_whole(destination, target):
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination.parent) as folder:
            made = Path(folder, "lib")
            # The compiler's own cache, of 65 MB, is not kept: an installation compiles once.
            compile_sets(root, target, target.sets, made, Path(folder, "compiler"))
            try:
                if destination.is_dir() and not is_whole(destination, target):  # something cleaned the cache
                    os.replace(destination, Path(folder, "former"))
                os.replace(made, destination)
            except OSError:
                if not is_whole(destination, target):  # or else another process was the first
                    raise
    return destination


def compile_sets(root: Path, target: Target, sets: Iterable[str], directory: Path, cache: Path) -> None:
    """Compile the libraries for these instruction sets of a target into `directory`.

    Args:
        root: of the source tree.
        target: the platform.
        sets: names of its instruction sets.
        directory: made if it is not there; each library is replaced whole.
        cache: for the compiler: its C++ runtime, above all. ZIG_GLOBAL_CACHE_DIR in the environment is preferred.

    Raises:
        OSError, subprocess.CalledProcessError: if that fails; the compiler's messages are on standard error then.
    """
    begun, sets = time.monotonic(), list(sets)
    say(f"compiling the engine for {', '.join(sets)}: about a minute")
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(cache), **os.environ}

    def run(*arguments: str | Path) -> None:
        command = [sys.executable, "-m", "ziglang", "c++", "-target", target.triple, *map(str, arguments)]
        subprocess.run(command, env=environment, check=True)

    directory.mkdir(parents=True, exist_ok=True)
    sources = sorted((root / SOURCES).glob("*.cpp"))
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        objects = {(name, source): Path(folder, f"{source.stem}.{name}.o") for name in sets for source in sources}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # The first link compiles the C++ runtime, on one core: it begins beside the objects.
            runtime = pool.submit(run, *LINK, root / SOURCES / "cpu.cpp", "-o", Path(folder, "runtime"))
            jobs = [
                pool.submit(run, *COMPILE, *target.sets[name], "-c", source, "-o", made)
                for (name, source), made in objects.items()
            ]
            for job in [runtime, *jobs]:
                job.result()
        for name in sets:
            library = Path(folder, target.library(name))
            run(*LINK, *(objects[name, source] for source in sources), "-o", library)
            os.replace(library, directory / library.name)
    say(f"compiled the engine in {time.monotonic() - begun:.0f} s")


def install(root: Path, made: Path | None) -> None:
    """Make copies of compiled libraries those of the editable installation; None takes away what it has.

    Raises:
        OSError: if that fails.
    """
    place = root / LIBRARIES
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        with suppress(FileNotFoundError):
            os.replace(place, Path(folder, "former"))
        if made:
            os.replace(shutil.copytree(made, Path(folder, "lib")), place)


def say(line: str) -> None:
    """Write one line to the output of the build."""
    print(f"zhuyi: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    here, own = Path(__file__).resolve().parent, chosen_target()
    if own is None:
        sys.exit("zhuyi: nothing to compile for this machine")
    compile_sets(here, own, sys.argv[1:] or own.sets, here / LIBRARIES, cache_directory() / "engine" / "compiler")
