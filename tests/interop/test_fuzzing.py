"""Damaged files of every format are read, or refused in one line, in little time and memory.

The long lap writes no log; `fuzzing.py` does, as a program.
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="no limits of time and memory on this system")

from interop import fuzzing
from interop.damage import damaged
from interop.fuzzing import FORMATS, MEGABYTES, SECONDS, Result, attempt, fuzz

from zhuyi.errors import CheckpointError

pytestmark = [pytest.mark.slow, pytest.mark.unix]


@pytest.mark.parametrize("count", [13, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(7200)])])
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
    result.add({**found, "seed": 7, "file": "v.json", "megabytes": 300})  # not what all tests before have had
    assert bool(result.problems) == bool(problem)


def test_a_lap_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a lap become one; what the log has is not read again, but for rounds with a problem."""
    log, begun, problems = tmp_path / "log.json", list[tuple[Sequence[str], int, int]](), [["seed 250"], []]

    def read(names: Sequence[str], count: int, first: int) -> dict[str, Result]:
        begun.append((names, first, count))
        found = {name: Result(count, count, megabytes=first) for name in names}
        if first == 200 and "marian" in names:
            found["marian"].problems = problems.pop(0)
        return found

    monkeypatch.setattr(fuzzing, "fuzz", read)
    fuzzing.lap(["nllb"], 0, 50, log)
    fuzzing.lap(["t5", "marian"], 100, 200, log)
    assert begun == [(["nllb"], 0, 50), (["t5", "marian"], 100, 100), (["t5", "marian"], 200, 100)]
    logged = json.loads(log.read_text())["formats"]
    assert (logged["t5"]["files"], logged["t5"]["sound"], logged["t5"]["problems"]) == (200, [[100, 300]], [])
    assert (logged["marian"]["files"], logged["marian"]["problems"]) == (100, ["seed 250"])
    begun.clear()
    found = fuzzing.lap(["t5", "marian"], 0, 300, log)
    assert begun == [(["t5", "marian"], 0, 100), (["marian"], 200, 100)]
    assert found["t5"] == found["marian"] == Result(300, 300, megabytes=200, sound=[[0, 300]])
    assert json.loads(log.read_text())["formats"] == {
        **{name: vars(found["t5"]) for name in ("t5", "marian")},
        "nllb": logged["nllb"],
    }


def test_time_memory_and_the_end_of_the_process_are_problems() -> None:
    result = Result()
    sound = {"outcome": "read", "problem": "", "seed": 7, "file": "v.json", "seconds": 1.0, "megabytes": 300}
    for line in (sound, {**sound, "seconds": SECONDS + 1}, {**sound, "megabytes": MEGABYTES + 1}):
        result.add(line)
    assert len(result.problems) == 2
    assert "seed 0: ended with code 1" in fuzz(["no such format"], 1)["no such format"].problems[0]
