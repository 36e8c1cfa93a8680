"""What every runner shares: the cells that are measured, the meter, and the conversation with `run.py`.

A runner (`python -m peers.NAME`, in the environment of its system) holds one system with one model in a process of its
own. Each line of its standard input is a request, and each line of its standard output is the answer, both in JSON.
Nothing here needs more than Python.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

TUNED_ON = 2
"""Settings are compared on every second line: on enough lines for some batches of any size."""


@dataclass(frozen=True)
class Cell:
    """One way to decode: all lines in one call, or each in its own; from tokens to tokens, or from text to text."""

    beam: int
    batch: bool = True
    form: Literal["tokens", "text"] = "tokens"


TOKENS = ("greedy", "beam 5", "batch 1")
"""The names of the cells from tokens to tokens; a row has a ratio to reach for each."""


class Runner:
    """One system with one model.

    Args:
        options: `model` (a zhuyi model directory), `converted` (the same for this peer, where it has its own format),
            `limit` (most tokens of an output; EOS is not one, except in zhuyi's own limit), `fixed` (whether an output
            has as many in any case), and what `systems.py` gives for the system.
    """

    packages: tuple[str, ...] = ()
    """Whose versions go into the record."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.limit: int = options["limit"]
        self.fixed: bool = options["fixed"]

    def settings(self, cell: Cell) -> list[dict[str, Any]]:
        """What may be set for a cell: each is tried, and the fastest is kept."""
        return [{}]

    def encode(self, lines: Sequence[str]) -> list[Any]:
        """The tokens of each line, in the form that the system wants."""
        raise NotImplementedError

    def decode(self, sources: Sequence[Any], cell: Cell, setting: dict[str, Any]) -> list[Any]:
        """The tokens of each output, EOS left out."""
        raise NotImplementedError

    def texts(self, outputs: Sequence[Any]) -> list[str]:
        """The line of each output of `decode`."""
        raise NotImplementedError

    def translate(self, lines: Sequence[str], cell: Cell, setting: dict[str, Any]) -> list[str]:
        """From text to text."""
        return self.texts(self.decode(self.encode(lines), cell, setting))


class Meter:
    """Measures a runner on some lines; remembers which setting is the best for which cell."""

    def __init__(self, runner: Runner, lines: Sequence[str], singles: int) -> None:
        self.runner, self.lines, self.singles = runner, lines, singles
        self.sources = runner.encode(lines)
        self.best: dict[tuple[int, bool], tuple[float, dict[str, Any]]] = {}

    def tune(self, cell: Cell) -> dict[str, Any]:
        """Try every setting, and give the best and its seconds; what is best for tokens is best for text too."""
        key = (cell.beam, cell.batch)
        if key not in self.best:
            few = replace(cell, form="tokens")
            tried = []
            for setting in self.runner.settings(cell):
                first, second = (sum(self._pass(few, setting, TUNED_ON)[0]) for _ in range(2))
                tried.append((min(first, second), setting))
            self.best[key] = min(tried, key=lambda each: each[0])
        seconds, setting = self.best[key]
        return {"seconds": seconds, "setting": setting}

    def measure(self, cell: Cell, seconds: float) -> dict[str, Any]:
        """Whole passes over the lines, for at least some seconds."""
        _, setting = self.best[cell.beam, cell.batch]
        begin, begin_cpu = time.perf_counter(), time.process_time()
        passes, calls = 0, []
        while not passes or time.perf_counter() - begin < seconds:
            times, outputs = self._pass(cell, setting)
            calls += times
            passes += 1
        cpu = time.process_time() - begin_cpu
        lines = passes * len(outputs)
        calls.sort()
        return {
            "lines": lines,
            "seconds": sum(calls),
            "cpu_seconds": cpu,
            "lines_per_second": lines / sum(calls),
            "milliseconds": {
                "median": 1e3 * statistics.median(calls),
                "p95": 1e3 * calls[int(0.95 * (len(calls) - 1))],
            },
            # Of one pass: tokens, or characters of text. Systems that are compared must do the same work.
            "length": sum(map(len, outputs)),
        }

    def _pass(self, cell: Cell, setting: dict[str, Any], every: int = 1) -> tuple[list[float], list[Any]]:
        """The seconds of each call, and all outputs; of every line, or every second one."""
        items: Sequence[Any] = (self.sources if cell.form == "tokens" else self.lines)[::every]
        call = self.runner.decode if cell.form == "tokens" else self.runner.translate
        times: list[float] = []
        outputs: list[Any] = []
        for part in [items] if cell.batch else [[item] for item in items[: self.singles // every]]:
            begin = time.perf_counter()
            found = call(part, cell, setting)
            times.append(time.perf_counter() - begin)
            outputs += found
        return times, outputs


def serve(kind: type[Runner]) -> None:
    """Read the options, make the runner, and answer requests until there are no more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("options", type=json.loads)
    options = parser.parse_args().options
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    lines = Path(options["lines"]).read_text(encoding="utf-8").split("\n")[:-1]
    meter = Meter(kind(options), lines, options["singles"])
    tokens = sum(map(len, meter.sources))
    answer({"versions": {name: metadata.version(name) for name in kind.packages}, "source_tokens": tokens})
    for request in map(json.loads, sys.stdin):
        cell = Cell(**request["cell"])
        answer(meter.tune(cell) if request["tune"] else meter.measure(cell, request["seconds"]))
