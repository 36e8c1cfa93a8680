"""Damaged files of every format are read, or refused in one line, in little time and memory.

The long lap writes no log; `fuzzing.py` does, as a program.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="no limits of time and memory on this system")

from interop.damage import damaged
from interop.fuzzing import FORMATS, MEGABYTES, SECONDS, Result, attempt, fuzz

from zhuyi.errors import CheckpointError

pytestmark = [pytest.mark.slow, pytest.mark.unix]


@pytest.mark.parametrize("count", [20, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(7200)])])
def test_a_damaged_file_is_read_or_refused_in_one_line(count: int) -> None:
    found = fuzz([*FORMATS], count)
    assert [problem for result in found.values() for problem in result.problems] == []
    for name, result in found.items():
        assert result.files == result.read + result.refused == count, name
        assert result.slowest["seconds"] <= SECONDS, name
        assert result.megabytes <= MEGABYTES, name
    assert sum(result.refused for result in found.values()) > sum(result.read for result in found.values()) > 0


def test_damage_is_the_same_for_the_same_number(tmp_path: Path) -> None:
    FORMATS["vocabulary"].make(tmp_path / "whole")
    for file in (tmp_path / "whole").iterdir():
        data = file.read_bytes()
        again = [damaged(data, random.Random(seed)) for seed in (*range(50), *range(50))]
        assert again[:50] == again[50:]
        assert len(set(again)) > 40


def raising(error: Exception) -> Callable[[Path], None]:
    def read(file: Path) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "outcome", "problem"),
    [
        (CheckpointError("v.json: no tokens"), "refused", ""),
        (CheckpointError("two\nlines"), "refused", "not a line"),
        (CheckpointError("can't allocate memory"), "refused", "not a line"),
        (ValueError("no such thing"), "read", "Traceback"),
    ],
)
def test_a_problem_is_noticed(tmp_path: Path, error: Exception, outcome: str, problem: str) -> None:
    found = attempt(raising(error), tmp_path)
    assert found["outcome"] == outcome
    assert found["problem"].startswith(problem)
    assert bool(found["problem"]) == bool(problem)
    result = Result()
    result.add({**found, "seed": 7, "file": "v.json"})
    assert bool(result.problems) == bool(problem)


def test_time_memory_and_the_end_of_the_process_are_problems() -> None:
    result = Result()
    sound = {"outcome": "read", "problem": "", "seed": 7, "file": "v.json", "seconds": 1.0, "megabytes": 300}
    for line in (sound, {**sound, "seconds": SECONDS + 1}, {**sound, "megabytes": MEGABYTES + 1}):
        result.add(line)
    assert len(result.problems) == 2
    assert "seed 0: ended with code 1" in fuzz(["no such format"], 1)["no such format"].problems[0]
