"""Compiles the native engine: once for each instruction set, with the clang of the package `ziglang`.

    pip install -e .                     compiles for this machine into src/zhuyi/engine/lib, or takes it from the cache
    python hatch_build.py [SET ...]      the same by hand, for development (these sets alone): needs the two packages
                                         hatchling and ziglang

    ZHUYI_NO_ENGINE=1                    compiles nothing: the installation decodes with torch
    ZHUYI_ENGINE_TARGET=windows-x86_64   compiles for another platform (a row of TARGETS); a failure is an error then

What was compiled is kept in the user's cache, under a hash of the sources, flags and compiler. The package `ziglang` is
large: it is asked for only if it is needed.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
SOURCES = Path("src/zhuyi/engine/native")
LIBRARIES = Path("src/zhuyi/engine/lib")
COMPILE = ["-O3", "-std=c++20", "-fno-rtti", "-ffp-contract=on", "-fvisibility=hidden", "-fPIC", "-Wall", "-Wextra"]
"""For every object. What a set adds is for objects alone: the link has none of it, so the C++ runtime is built once."""
LINK = ["-O3", "-shared", "-s"]

_AVX2 = ["-mavx2", "-mfma", "-mf16c"]
_AVX512 = [*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"]
X86_64 = {
    "plain": [],
    "avx2": _AVX2,
    "avxvnni": [*_AVX2, "-mavxvnni"],
    "avx512": _AVX512,
    "avx512bf16": [*_AVX512, "-mavx512bf16"],
}
AARCH64 = {"plain": [], "neon": ["-mcpu=generic+v8.2a+dotprod"]}
"""The instruction sets of a processor, and the flags that let the compiler use them; cpu.cpp has the same names."""


@dataclass(frozen=True)
class Target:
    """A platform: what the compiler calls it, the tag of its wheels, how its libraries' names end, its sets."""

    triple: str
    tag: str
    suffix: str
    sets: dict[str, list[str]]


TARGETS = {
    "linux-x86_64": Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64", ".so", X86_64),
    "linux-aarch64": Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64", ".so", AARCH64),
    "macos-arm64": Target("aarch64-macos.11.0", "macosx_11_0_arm64", ".dylib", AARCH64),
    "windows-x86_64": Target("x86_64-windows-gnu", "win_amd64", ".dll", X86_64),
}


class EngineBuildHook(BuildHookInterface):
    """What hatchling calls when it builds a wheel, or an editable installation."""

    def dependencies(self) -> list[str]:
        """The compiler, if something is to be compiled."""
        target = chosen_target()
        return [compiler()] if target and not cached(target).is_dir() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the libraries to the wheel, or put them where an editable installation finds them."""
        built = libraries()
        if version == "editable":
            shutil.rmtree(ROOT / LIBRARIES, ignore_errors=True)
            if built:
                with tempfile.TemporaryDirectory(dir=ROOT / LIBRARIES.parent) as folder:
                    move(Path(shutil.copytree(built, Path(folder, "lib"))), ROOT / LIBRARIES)
        elif built:
            inside = LIBRARIES.relative_to("src")
            build_data["force_include"] |= {str(path): str(inside / path.name) for path in built.iterdir()}
        if built and (target := chosen_target()):
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{target.tag}"


def libraries() -> Path | None:
    """The directory with the libraries of the chosen target; None, with a line that says why, if there are none."""
    try:
        target = chosen_target()
        if target is None:
            return say("built without the native engine, as ZHUYI_NO_ENGINE asks or for want of a target")
        return compiled(target)
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("ZHUYI_ENGINE_TARGET"):
            raise
        return say(
            f"built without the native engine; it will decode with torch: {getattr(error, 'stderr', '') or error}"
        )


def chosen_target() -> Target | None:
    """The platform to compile for; None if nothing is to be compiled, or nothing can be for this machine."""
    if os.environ.get("ZHUYI_NO_ENGINE") == "1":
        return None
    if name := os.environ.get("ZHUYI_ENGINE_TARGET"):
        return TARGETS[name]
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    return TARGETS.get(f"{system}-{platform.machine().replace('AMD64', 'x86_64')}")


def compiler() -> str:
    """The requirement of the compiler's package, with its version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("ziglang=="))


def cached(target: Target) -> Path:
    """The directory of what these sources, flags and compiler give; it exists if they were compiled before."""
    digest = hashlib.sha256(repr((compiler(), COMPILE, LINK, target)).encode())
    for path in sorted((ROOT / SOURCES).iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return cache_directory() / "engine" / digest.hexdigest()[:32]


def cache_directory() -> Path:
    """As in src/zhuyi/data/cache.py, which cannot be imported before it is installed."""
    shared = os.environ.get("XDG_CACHE_HOME", "")
    default = Path(shared if os.path.isabs(shared) else os.path.expanduser("~/.cache"), "zhuyi")
    return Path(os.environ.get("ZHUYI_CACHE") or default)


def compiled(target: Target) -> Path:
    """The directory in the cache that has all libraries of a target: as it was found, or made now."""
    destination = cached(target)
    if not destination.is_dir():
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination.parent) as folder:
            made = Path(folder, "lib")
            compile_sets(target, target.sets, made)
            move(made, destination)
    return destination


def compile_sets(target: Target, sets: Sequence[str], directory: Path) -> None:
    """Compile these sets of a target into `directory`.

    Raises:
        subprocess.CalledProcessError: if the compiler fails; with its output.
    """
    say(f"compiling the engine for {', '.join(sets)}: about a minute the first time")
    directory.mkdir(exist_ok=True)
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(cache_directory() / "engine" / "zig"), **os.environ}

    def run(*arguments: str | Path) -> None:
        command = [sys.executable, "-m", "ziglang", "c++", "-target", target.triple, *map(str, arguments)]
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        sources = sorted((ROOT / SOURCES).glob("*.cpp"))
        objects = {name: [Path(folder, f"{name}.{source.stem}.o") for source in sources] for name in sets}
        jobs = [
            pool.submit(run, *COMPILE, *target.sets[name], "-c", source, "-o", made)
            for name in sets
            for source, made in zip(sources, objects[name], strict=True)
        ]
        for job in jobs:
            job.result()
        for name in sets:
            library = Path(folder, f"_decoder.{name}{target.suffix}")
            run(*LINK, *objects[name], "-o", library)
            shutil.copyfile(library, directory / f".{library.name}")
            os.replace(directory / f".{library.name}", directory / library.name)


def move(made: Path, destination: Path) -> None:
    """Give a complete directory its place; what another process put there meanwhile is as good."""
    try:
        os.replace(made, destination)
    except OSError:
        if not destination.is_dir():
            raise


def say(line: str) -> None:
    """One line on the output of the build."""
    print(f"zhuyi: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    here = chosen_target()
    if here is None:
        sys.exit("zhuyi: no engine for this machine")
    compile_sets(here, sys.argv[1:] or list(here.sets), ROOT / LIBRARIES)
