"""The build of the engine, with a package `ziglang` that takes no time and compiles nothing."""

import dataclasses
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hatch_build import LIBRARIES, SOURCES, TARGETS, EngineBuildHook, Target, cached, compiled, is_whole

TARGET = Target("a-platform", "a_tag", ".so", {"plain": [], "fast": ["-mfast"]})

COMPILER = """
import os, pathlib, sys
arguments = sys.argv[1:]
with open(os.environ["COMMANDS"], "a") as file:
    file.write(" ".join(arguments) + "\\n")
if os.environ.get("BROKEN", "nothing") in arguments[-1]:
    sys.exit(1)
pathlib.Path(arguments[-1]).write_text("compiled")
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree, in an environment with that compiler and no libraries in the cache."""
    sources = tmp_path / "tree" / SOURCES
    sources.mkdir(parents=True)
    (sources / "decoder.cpp").write_text("int one;")
    (sources / "kernels.h").write_text("int two;")
    (tmp_path / "tree" / "constraints.txt").write_text("numpy==2\nziglang==1.0\n")
    package = tmp_path / "packages" / "ziglang"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()  # or one that is installed would be preferred
    (package / "__main__.py").write_text(COMPILER)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("COMMANDS", str(tmp_path / "commands"))
    for name in ("ZHUYI_NO_ENGINE", "ZHUYI_ENGINE_TARGET"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "tree"


def commands(root: Path) -> list[str]:
    return (root.parent / "commands").read_text().splitlines()


def hook(root: Path) -> EngineBuildHook:
    return EngineBuildHook(str(root), {}, None, None, "", "wheel")  # type: ignore[arg-type]


def wheel(root: Path, version: str = "standard") -> dict[str, Any]:
    """What hatchling gets to know of a wheel."""
    data: dict[str, Any] = {"force_include": {}, "pure_python": True}
    hook(root).initialize(version, data)
    return data


def test_another_source_flag_or_compiler_has_another_place_in_the_cache(root: Path) -> None:
    places = [cached(root, TARGET), cached(root, dataclasses.replace(TARGET, sets={"plain": ["-O2"]}))]
    for path, content in (
        (SOURCES / "decoder.cpp", "int three;"),
        (SOURCES / "kernels.h", "int four;"),
        (Path("constraints.txt"), "ziglang==1.1\n"),
    ):
        (root / path).write_text(content)
        places.append(cached(root, TARGET))
    assert len(set(places)) == len(places)
    (root / "constraints.txt").write_text("numpy==3\nziglang==1.1\n")
    assert cached(root, TARGET) == places[-1]


def test_a_set_compiles_with_its_flags_and_links_without_them(root: Path) -> None:
    compiled(root, TARGET)
    made = sorted(("-c" in line, "-mfast" in line) for line in commands(root))
    runtime, links, objects = [(False, False)], [(False, False)] * 2, [(True, False), (True, True)]
    assert made == runtime + links + objects


def test_what_is_in_the_cache_is_not_compiled_and_asks_for_no_compiler(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZHUYI_ENGINE_TARGET", "linux-aarch64")
    assert hook(root).dependencies() == ["ziglang==1.0"]
    first, count = wheel(root), len(commands(root))
    assert hook(root).dependencies() == []
    assert wheel(root) == first
    assert len(commands(root)) == count


def test_a_wheel_has_every_library_and_the_tag_of_its_platform(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHUYI_ENGINE_TARGET", "macos-arm64")
    target, data = TARGETS["macos-arm64"], wheel(root)
    assert sorted(data["force_include"].values()) == sorted(
        str(Path("zhuyi", "engine", "lib", target.library(name))) for name in target.sets
    )
    assert (data["tag"], data["pure_python"]) == ("py3-none-macosx_11_0_arm64", False)


@pytest.mark.parametrize("broken", ["decoder.fast.o", "_decoder.fast"])
def test_a_compiler_that_fails_leaves_no_library(root: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", broken)
    with pytest.raises(subprocess.CalledProcessError):
        compiled(root, TARGET)
    assert list(cached(root, TARGET).parent.iterdir()) == []
    monkeypatch.delenv("BROKEN")
    assert is_whole(compiled(root, TARGET), TARGET)


def test_builds_at_once_give_the_same_whole_directory(root: Path) -> None:
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda _: compiled(root, TARGET), range(2))
    assert first == second
    assert is_whole(first, TARGET)
    assert os.listdir(first.parent) == [first.name]


def test_a_library_that_was_taken_from_the_cache_is_made_again(root: Path) -> None:
    (compiled(root, TARGET) / TARGET.library("fast")).unlink()
    assert is_whole(compiled(root, TARGET), TARGET)


def test_an_installation_without_the_engine_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZHUYI_NO_ENGINE", "1")
    assert hook(root).dependencies() == []
    assert wheel(root) == {"force_include": {}, "pure_python": True}
    assert capsys.readouterr().err == "zhuyi: installed without the native engine: it will decode with torch\n"


def test_a_failure_is_an_error_only_if_the_platform_was_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROKEN", "decoder")
    assert "tag" not in wheel(root)
    assert "it will decode with torch" in capsys.readouterr().err
    monkeypatch.setenv("ZHUYI_ENGINE_TARGET", "linux-x86_64")
    with pytest.raises(subprocess.CalledProcessError):
        wheel(root)
    monkeypatch.setenv("ZHUYI_ENGINE_TARGET", "linux-68k")
    with pytest.raises(SystemExit, match="ZHUYI_ENGINE_TARGET=linux-68k: not one of linux-x86_64, "):
        wheel(root)


def test_an_editable_installation_has_what_its_last_build_made(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHUYI_ENGINE_TARGET", "linux-aarch64")
    for _ in range(2):
        wheel(root, "editable")
        assert is_whole(root / LIBRARIES, TARGETS["linux-aarch64"])
    monkeypatch.setenv("ZHUYI_NO_ENGINE", "1")
    wheel(root, "editable")
    assert not (root / LIBRARIES).exists()
