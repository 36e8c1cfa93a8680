"""The C++ of the engine without Python, as driver.cpp tries it: each instruction set, sanitized, and emulated."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from engine.cases import MODELS, write

from hatch_build import SOURCES, TARGETS
from zhuyi.engine.library import DIRECTORY, usable

pytestmark = [pytest.mark.slow, pytest.mark.unix, pytest.mark.timeout(900)]

DRIVER = Path(__file__).with_name("driver.cpp")
ENGINE = Path(__file__).parents[2] / SOURCES
FLAGS = ["-std=c++20", "-O1", "-pthread", "-Wall", "-Wextra", "-Werror"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of cases for each model, by its name."""
    directory, found = tmp_path_factory.mktemp("cases"), []
    for name in MODELS:
        found += write(directory / name, name)
    # Outputs that end, that reach their limit, and that are not a number.
    kinds = Counter("ends" if one.finished else "stops" if one.tokens else "fails" for one in found)
    assert min(kinds[kind] for kind in ("ends", "stops", "fails")) > 10
    return {name: directory / name for name in MODELS}


def run(*command: str | Path) -> str:
    """Run a program; what it writes, if it succeeds."""
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def build(program: Path, compiler: Sequence[str], flags: Sequence[str], set_flags: Sequence[str] = ()) -> Path:
    """Compile the engine for an instruction set, and the driver, and link them without the flags of the set."""
    sources = {DRIVER: (), ENGINE / "decoder.cpp": set_flags, ENGINE / "cpu.cpp": set_flags}
    objects = [program.with_name(f"{source.stem}.o") for source in sources]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(run, *compiler, *flags, *own, "-c", source, "-o", made)
            for (source, own), made in zip(sources.items(), objects, strict=True)
        ]
        for job in jobs:
            job.result()
    run(*compiler, *flags, *objects, "-o", program)
    return program


def test_every_set_that_this_processor_runs(cases: dict[str, Path], tmp_path: Path) -> None:
    run("g++", *FLAGS, "-c", DRIVER, "-o", tmp_path / "driver.o")
    for name, library in usable(DIRECTORY).items():
        run("g++", tmp_path / "driver.o", library, "-pthread", "-o", tmp_path / name)
        run(tmp_path / name, *cases.values())


@pytest.mark.parametrize(
    ("sanitizers", "models"), [("address,undefined", list(MODELS)), ("thread", ["learned"])], ids=["memory", "threads"]
)
def test_no_sanitizer_finds_anything(
    cases: dict[str, Path], tmp_path: Path, sanitizers: str, models: Sequence[str]
) -> None:
    flags = [*FLAGS, "-g1", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    run(build(tmp_path / "driver", ["g++"], flags), *(cases[name] for name in models))


@pytest.mark.emulated
@pytest.mark.parametrize("name", TARGETS["linux-aarch64"].sets)
def test_on_an_emulated_processor(cases: dict[str, Path], tmp_path: Path, name: str) -> None:
    target = TARGETS["linux-aarch64"]
    compiler = [sys.executable, "-m", "ziglang", "c++", "-target", target.triple]
    program = build(tmp_path / "driver", compiler, FLAGS, target.sets[name])
    run("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", program, *cases.values())
