"""The C++ of the engine without Python, as driver.cpp tries it: each instruction set, sanitized, and emulated."""

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
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


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver, compiled for this machine."""
    made = tmp_path_factory.mktemp("driver") / "driver.o"
    run("g++", *FLAGS, "-c", DRIVER, "-o", made)
    return made


def test_every_set_that_this_processor_runs(cases: dict[str, Path], driver: Path, tmp_path: Path) -> None:
    for name, library in usable(DIRECTORY).items():
        run("g++", driver, library, "-pthread", "-o", tmp_path / name)
        run(tmp_path / name, *cases.values())


@pytest.mark.parametrize(
    ("sanitizers", "models"), [("address,undefined", list(MODELS)), ("thread", ["learned"])], ids=["memory", "threads"]
)
def test_no_sanitizer_finds_anything(
    cases: dict[str, Path], driver: Path, tmp_path: Path, sanitizers: str, models: Sequence[str]
) -> None:
    """In the engine: the driver is compiled without, and linked last, so that templates of both are the engine's."""
    flags = [*FLAGS, "-g1", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    engine = [ENGINE / "decoder.cpp", ENGINE / "cpu.cpp"]
    run("g++", *flags, *engine, driver, "-o", tmp_path / "driver")
    run(tmp_path / "driver", *(cases[name] for name in models))


@pytest.mark.emulated
@pytest.mark.parametrize("name", TARGETS["linux-aarch64"].sets)
def test_on_an_emulated_processor(cases: dict[str, Path], tmp_path: Path, name: str) -> None:
    target = TARGETS["linux-aarch64"]
    compiler = [sys.executable, "-m", "ziglang", "c++", "-target", target.triple]
    # The engine for the instruction set, and the driver, linked without the flags of the set.
    objects = []
    for source in (ENGINE / "decoder.cpp", ENGINE / "cpu.cpp", DRIVER):
        objects.append(tmp_path / f"{source.stem}.o")
        own = target.sets[name] if source != DRIVER else ()
        run(*compiler, *FLAGS, *own, "-c", source, "-o", objects[-1])
    run(*compiler, *FLAGS, *objects, "-o", tmp_path / "driver")
    run("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", tmp_path / "driver", *cases.values())
