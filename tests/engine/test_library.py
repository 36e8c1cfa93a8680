import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zhuyi.engine.library import DIRECTORY, LARGEST_ERROR, Library, LibraryError, first_accurate, library, load, usable
from zhuyi.errors import ConfigError


def chosen(errors: dict[str, float]) -> tuple[str, Sequence[str]]:
    """Which of these sets is taken, if their products are so far from float64; and which were loaded."""
    loaded = []

    def load(path: Path) -> Library:
        loaded.append(path.name)
        return Library(None, None, path.name)  # type: ignore[arg-type]

    found = first_accurate([Path(name) for name in errors], load, lambda one: errors[one.name], 0.01)
    return found.name, loaded


def test_the_best_is_taken_and_no_other_loaded() -> None:
    assert chosen({"avx512": 0.001, "avx2": 0.0, "plain": 0.0}) == ("avx512", ["avx512"])


@pytest.mark.parametrize("error", [0.02, float("inf"), float("nan")])
def test_one_that_computes_wrongly_is_passed_over(error: float) -> None:
    assert chosen({"avx512": error, "avx2": 0.001, "plain": 0.0}) == ("avx2", ["avx512", "avx2"])


def test_if_all_compute_wrongly_the_line_says_how_far() -> None:
    message = "the native engine computes wrongly on this processor: avx2 by 0.5, plain by nan (at most 0.01)"
    with pytest.raises(LibraryError, match=re.escape(message)):
        chosen({"avx2": 0.5, "plain": float("nan")})


def test_an_installation_without_libraries_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"no native engine.*ZHUYI_NO_ENGINE.*pip install -v"):
        usable(tmp_path)


def test_a_file_that_is_no_library_is_a_readable_error(tmp_path: Path) -> None:
    (tmp_path / "_decoder.plain.so").write_bytes(b"nothing")
    with pytest.raises(LibraryError, match=r"the native engine cannot be loaded: .*; install zhuyi again"):
        usable(tmp_path)


def test_every_set_that_this_processor_runs_computes_rightly_in_every_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = list(usable(DIRECTORY))
    assert names[-1] == "plain"
    for precision in LARGEST_ERROR:
        assert library(precision).name == names[0]
        for name in names:
            monkeypatch.setenv("ZHUYI_ENGINE_ISA", name)
            assert library(precision).name == name
        monkeypatch.delenv("ZHUYI_ENGINE_ISA")


def test_any_number_of_threads_may_ask_for_the_sets() -> None:
    plain = load(next(DIRECTORY.glob("_decoder.plain.*")))
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: {plain.handle.zhuyi_cpu() for _ in range(10_000)}, range(4))
    assert set().union(*answers) == {",".join(usable(DIRECTORY)).encode()}


def test_a_set_that_this_processor_does_not_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHUYI_ENGINE_ISA", "z80")
    with pytest.raises(ConfigError, match=r"ZHUYI_ENGINE_ISA=z80: this machine has and runs .*plain; set one of them"):
        library("int8")


def test_no_torch_is_imported() -> None:
    code = "import sys; from zhuyi.engine.library import library; library('int8'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
