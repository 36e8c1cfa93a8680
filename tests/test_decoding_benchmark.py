"""The meter and the table of `benchmarks/decoding/`, with a system that does nothing."""

import time
from collections.abc import Sequence
from typing import Any

from decoding import table
from decoding.peers.common import Cell, Meter, Runner

LINES = ["a b", "c", "d e f", "g"]


class Words(Runner):
    """Writes its source; one of its settings is slow."""

    def __init__(self) -> None:
        super().__init__({"limit": 8, "fixed": False})
        self.calls: list[int] = []

    def settings(self, cell: Cell) -> list[dict[str, Any]]:
        return [{"sleep": 0.02}, {"sleep": 0.0}]

    def encode(self, lines: Sequence[str]) -> list[Any]:
        return [line.split() for line in lines]

    def decode(self, sources: Sequence[Any], cell: Cell, setting: dict[str, Any]) -> list[Any]:
        self.calls.append(len(sources))
        time.sleep(setting["sleep"])
        return list(sources)

    def texts(self, outputs: Sequence[Any]) -> list[str]:
        return [" ".join(output) for output in outputs]


def test_the_fastest_setting_is_kept_and_a_run_is_of_whole_passes() -> None:
    meter = Meter(Words(), LINES, singles=2)
    assert meter.tune(Cell(1))["setting"] == {"sleep": 0.0}
    run = meter.measure(Cell(1), seconds=0.01)
    assert run["lines"] % len(LINES) == 0
    assert run["lines_per_second"] == run["lines"] / run["seconds"]
    assert run["length"] == 7


def test_text_is_measured_in_characters_with_the_setting_that_is_best_for_tokens() -> None:
    meter = Meter(Words(), LINES, singles=2)
    meter.tune(Cell(1))
    assert meter.measure(Cell(1, form="text"), seconds=0.0)["length"] == sum(map(len, LINES))


def test_lines_in_calls_of_their_own() -> None:
    runner = Words()
    meter = Meter(runner, LINES, singles=2)
    meter.tune(Cell(1, batch=False))
    runner.calls.clear()
    assert meter.measure(Cell(1, batch=False), seconds=0.0)["lines"] == 2
    assert runner.calls == [1, 1]


def test_the_share_of_the_peak_is_that_of_the_fastest_runs() -> None:
    row = {
        "title": "a row",
        "machine": {"processor": "one", "cores": 1, "instruction_sets": []},
        "load": [0.0, 0.0],
        "rounds": 2,
        "precisions": ["float32"],
        "sizes": ["1 × 2", "3 × 4"],
        "products": {"plain": [[[10.0, 5.0, 7.0]], [[8.0, 6.0, 1.0]]]},
    }
    assert "| plain | float32 | 10 | 6 (60%) | 7 (70%) |" in table.row_section(row)


def test_the_table_gives_the_ratio_and_marks_unequal_work() -> None:
    def content(rate: float, length: int) -> dict[str, Any]:
        return {"setting": {}, "variables": {}, "runs": [{"lines_per_second": rate, "length": length}]}

    sizes = {"width": 2, "heads": 1, "key_value_heads": 1, "feed_forward": 3, "activation": "relu"}
    row = {
        "title": "a row",
        "machine": {"processor": "one", "cores": 1, "instruction_sets": []},
        "load": [0.0, 0.0],
        "rounds": 1,
        "model": sizes | {"encoder_layers": 1, "decoder_layers": 1},
        "vocabulary": 5,
        "lines": 4,
        "fixed": False,
        "targets": [3, 3, 3],
        "systems": {name: {"title": name, "versions": {}, "source_tokens": 7} for name in ("ours", "peer", "other")},
        "cells": {"greedy": {"ours": content(30, 100), "peer": content(10, 101), "other": content(10, 200)}},
    }
    ours, peer, other = (line for line in table.row_section(row) if line.startswith("| greedy"))
    assert "**3.00×** | 3× | 100 |" in ours
    assert "(unequal)" in other
    assert "(unequal)" not in peer
