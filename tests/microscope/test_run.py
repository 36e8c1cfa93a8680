"""What the page says of the run that made a model, and what it offers to look at."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from command_line import TINY, tiny_model, write_pairs

from zhuyi.config import Config, build_config
from zhuyi.errors import DataError
from zhuyi.loading import load
from zhuyi.microscope.page import frozen_html, look
from zhuyi.microscope.run import MAX_EXAMPLES, MAX_POINTS, curves, examples, examples_of_dev_set
from zhuyi.microscope.server import Microscope


def record(directory: Path, *records: dict[str, Any]) -> None:
    lines = "".join(json.dumps(each) + "\n" for each in records)
    (directory / "metrics.jsonl").write_text(lines, encoding="utf-8")


def test_curves_are_the_record_of_the_run(tmp_path: Path) -> None:
    assert curves(tmp_path) is None
    record(
        tmp_path,
        {"step": 0, "dev_loss": 5.0, "dev_exact": 0.0, "sample": ["a", "b", "c"]},
        {"step": 5, "loss": 4.5, "learning_rate": 0.1},
        {"step": 10, "loss": 2.5},
        {"step": 10, "dev_loss": 2.0, "dev_exact": 50.0},
        {"step": 15, "loss": math.nan},
    )
    found = curves(tmp_path)
    assert found is not None
    assert (found.loss.steps, found.loss.values) == ([5, 10], [4.5, 2.5])
    assert (found.dev_loss.steps, found.dev_loss.values) == ([0, 10], [5.0, 2.0])
    assert (found.metric, found.score.steps, found.score.values) == ("exact", [0, 10], [0.0, 50.0])
    record(tmp_path, {"step": 5, "loss": 4.5})
    found = curves(tmp_path)
    assert found is not None
    assert (found.metric, found.score.steps) == ("", [])


def test_a_long_run_has_few_points_from_its_first_to_its_last(tmp_path: Path) -> None:
    record(tmp_path, *({"step": step, "loss": 1 / step} for step in range(1, 10 * MAX_POINTS)))
    found = curves(tmp_path)
    assert found is not None
    assert len(found.loss.steps) == MAX_POINTS
    assert (found.loss.steps[0], found.loss.steps[-1]) == (1, 10 * MAX_POINTS - 1)
    assert found.loss.values == [1 / step for step in found.loss.steps]


def test_examples_are_those_of_the_directory(tmp_path: Path) -> None:
    assert examples(tmp_path) == []
    (tmp_path / "examples.tsv").write_bytes("two dogs\tzwei Hunde\n\n猫\n٧ مارس\ta\tb\n".encode())
    assert [(each.text, each.target) for each in examples(tmp_path)] == [
        ("two dogs", "zwei Hunde"),
        ("猫", ""),
        ("٧ مارس", "a\tb"),
    ]
    (tmp_path / "examples.tsv").write_bytes("Größe\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"examples\.tsv:1"):
        examples(tmp_path)


def test_without_them_the_server_takes_lines_of_the_dev_set_and_a_file_none(tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)

    def with_dev(_: Config) -> Config:
        return build_config({**TINY, "data": {"dev_source": str(source), "dev_target": str(target)}})

    directory = tiny_model(tmp_path / "model", with_dev)
    model = load(directory, engine="torch", device="cpu")
    with Microscope(model) as server:
        shown = [(each.text, each.target) for each in server.described.examples]
    lines = list(zip(source.read_text().splitlines(), target.read_text().splitlines(), strict=True))
    assert len(shown) == MAX_EXAMPLES
    assert (shown[0], shown[-1]) == (lines[0], lines[-1])
    assert set(shown) <= set(lines)
    assert '"examples":[]' in frozen_html(look(model, "two dogs"))

    (directory / "examples.tsv").write_text("two dogs\tzwei Hunde\n", encoding="utf-8")
    with Microscope(load(directory)) as server:
        assert [each.text for each in server.described.examples] == ["two dogs"]
    assert '"examples":[{"text":"two dogs","target":"zwei Hunde"}]' in frozen_html(look(load(directory), "two dogs"))


@pytest.mark.parametrize(("source", "target"), [("gone.txt", "gone.txt"), (None, None), ("one.txt", "two.txt")])
def test_a_dev_set_that_is_not_there_any_more_has_none(tmp_path: Path, source: str | None, target: str | None) -> None:
    (tmp_path / "one.txt").write_text("a\n", encoding="utf-8")
    (tmp_path / "two.txt").write_text("a\nb\n", encoding="utf-8")
    data = {"dev_source": str(tmp_path / source), "dev_target": str(tmp_path / target)} if source and target else {}
    assert examples_of_dev_set(build_config({"data": data})) == []
