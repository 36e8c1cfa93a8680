"""Decoding speed side by side: zhuyi and its peers in turn, on the same model, lines and limits.

    python benchmarks/decoding/run.py tiny base cold --models DIR --work DIR --name cpu2

Rows are those of rows.py and commands.py, `products` and `busy`; without any, all are measured. Each system has a
process of its own, which waits while another one is measured: round 1 all systems, round 2 all systems, ... for each
cell. Each row replaces its own part of ../results/decoding-NAME.json; `python benchmarks/report.py` makes
docs/decoding-speed.md.
"""

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # machine.py, stored.py and training/ are there
sys.path.insert(0, str(Path(__file__).parents[2]))  # and hatch_build.py

import commands
import products
import systems
from machine import describe
from peers.common import Cell
from rows import CELLS, ROWS, Row
from stored import load, save, spread
from systems import SYSTEMS, Process, RunError
from training.environments import InstallError, python_of

from zhuyi.data.corpus import Corpus
from zhuyi.directory import load_config_of, read_model

HERE = Path(__file__).parent
BUSY = ("native-int8", "ctranslate2-int8", "torch")


class Contest:
    """The systems of one row: their processes, what they gave, and what failed."""

    def __init__(self, row: Row, names: list[str], arguments: argparse.Namespace, stack: ExitStack) -> None:
        self.row, self.arguments = row, arguments
        model = arguments.models / row.model
        self.options: dict[str, Any] = {"model": str(model), "limit": row.limit, "fixed": row.fixed}
        self.options |= {"singles": row.singles, "lines": str(write_lines(row, arguments, stack))}
        self.processes: dict[str, list[Process]] = {}
        self.systems: dict[str, dict[str, Any]] = {name: {"title": SYSTEMS[name].title} for name in names}
        for name in names:
            self._start(name, stack)

    def _start(self, name: str, stack: ExitStack) -> None:
        system, options = SYSTEMS[name], dict(self.options)
        try:
            python = python_of(system.environment, self.arguments.work, HERE / "requirements")
            if system.module == "ctranslate2":
                options["converted"] = str(converted(Path(options["model"]), self.arguments.work))
        except (InstallError, RunError) as error:
            self.fail(name, f"cannot be installed: {error}")
            return
        started, reason = [], ""
        for variables in system.variables:
            try:
                started.append(stack.enter_context(Process(system, python, options, variables)))
            except RunError as error:  # an instruction set that this processor has not, for example
                reason = str(error)
        if started:
            self.processes[name] = started
            self.systems[name] |= started[0].introduction
        else:
            self.fail(name, reason)

    def fail(self, name: str, reason: str) -> None:
        self.systems[name]["failed"] = reason
        self.processes.pop(name, None)
        print(f"{name}: {reason}", flush=True)

    def prepare(self, name: str, cell: Cell) -> tuple[Process, dict[str, Any]]:
        """The process and the setting that are the fastest for a cell."""
        tried = [(process, process.tune(cell)) for process in self.processes[name]]
        process, best = min(tried, key=lambda each: float(each[1]["seconds"]))
        return process, best["setting"]

    def measure(self, cell: Cell) -> dict[str, Any]:
        """All systems in turn, round after round."""
        found: dict[str, Any] = {}
        chosen: dict[str, Process] = {}
        for round_ in range(self.arguments.rounds + 1):  # 0: choose the settings
            for name in list(self.processes):
                try:
                    if round_ == 0:
                        chosen[name], setting = self.prepare(name, cell)
                        found[name] = {"setting": setting, "variables": chosen[name].variables, "runs": []}
                    else:
                        found[name]["runs"].append(chosen[name].measure(cell, self.arguments.seconds))
                except RunError as error:
                    self.fail(name, str(error))
        return found


def write_lines(row: Row, arguments: argparse.Namespace, stack: ExitStack) -> Path:
    """A file with the lines of a row."""
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "lines"
    lines = test_lines(arguments.models / (row.test or row.model), row.lines)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_lines(model: Path, count: int) -> list[str]:
    """The first lines of the source of a model's test set."""
    data = load_config_of(model).data
    if data.test_source is None or data.test_target is None:
        raise SystemExit(f"{model}: its configuration names no test set")
    return [pair.source for pair in Corpus(data.test_source, data.test_target) if pair.source][:count]


def converted(model: Path, work: Path) -> Path:
    """The model in CTranslate2's format; made once for the same weights.

    Raises:
        RunError: if it cannot be made.
    """
    digest = hashlib.sha256((model / "manifest.json").read_bytes()).hexdigest()[:16]
    out = work / f"ctranslate2-{model.name}-{digest}"
    if not out.exists():
        command = [sys.executable, "-m", "zhuyi", "export", str(model), "--to", "ctranslate2", "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise RunError(f"zhuyi export: {said[-1] if said else done.returncode}")
    return out


def measured(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row of the record."""
    if name == "products":
        return products.measure(arguments.rounds)
    if name in commands.COMMANDS:
        model = arguments.models / "multi30k-tiny"
        return commands.measure(name, model, test_lines(model, 1000), arguments.rounds)
    row = ROWS["tiny" if name == "busy" else name]
    names = [each for each in (BUSY if name == "busy" else row.systems) if each in arguments.systems]
    with ExitStack() as stack:
        contest = Contest(row, names, arguments, stack)
        if name == "busy":
            return busy(contest)
        cells = {}
        for cell in (each for each in row.cells if each in arguments.cells):
            cells[cell] = contest.measure(CELLS[cell])
            for system, content in cells[cell].items():
                print(f"{name}, {cell}, {system}: {summary(content['runs'], CELLS[cell])}", flush=True)
    model = read_model(arguments.models / row.model)
    head = {
        "title": row.title,
        "model": model.config.model.model_dump(),
        "parameters": sum(int(weight.size) for weight in model.weights.values()),
        "vocabulary": len(model.tokenizers.target),
        "lines": row.lines,
        "limit": row.limit,
        "fixed": row.fixed,
    }
    return head | {"targets": row.targets, "systems": contest.systems, "cells": cells}


def busy(contest: Contest) -> dict[str, Any]:
    """Greedy search in batches, with and without a core that another program takes."""
    cell, found = CELLS["greedy"], {}
    for name in list(contest.processes):
        try:
            process, _ = contest.prepare(name, cell)
            found[name] = commands.shared(
                lambda process=process: process.measure(cell, contest.arguments.seconds), contest.arguments.rounds
            )
        except RunError as error:
            contest.fail(name, str(error))
        else:
            rates = (f"{kind} {summary(runs, cell)}" for kind, runs in found[name].items())
            print(f"busy, {name}: {'; '.join(rates)}", flush=True)
    return {"title": "a core taken by another program", "systems": contest.systems, "shared": found}


def summary(runs: list[dict[str, Any]], cell: Cell) -> str:
    """Min / median / max, for people."""
    if cell.batch:
        values, unit, digits = [run["lines_per_second"] for run in runs], "lines/s", 0
    else:
        values, unit, digits = [run["milliseconds"]["median"] for run in runs], "ms", 2
    if not values:
        return "failed"
    shown = " / ".join(f"{value:,.{digits}f}" for value in spread(values).values())
    return f"{shown} {unit}, length {runs[-1]['length']:,}"


def instruction_sets() -> list[str]:
    """Those of the processor that the systems make use of, as Linux names them."""
    known = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm")
    info = Path("/proc/cpuinfo")
    words = set(info.read_text(encoding="utf-8").split()) if info.exists() else set()
    return [name for name in known if name in words]


def main() -> None:
    every = [*ROWS, *commands.COMMANDS, "products", "busy"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(every)}; none: all")
    parser.add_argument("--models", type=Path, default=Path("runs"), help="holds the model directories")
    parser.add_argument("--work", type=Path, default=Path("runs/peers"), help="environments, converted models")
    parser.add_argument("--name", default=f"cpu{systems.CORES}", help="of the machine: results/decoding-NAME.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a run")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="SYSTEM")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS), metavar="CELL")
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - {*every}:
        parser.error(f"{', '.join(sorted(unknown))}: the rows are {', '.join(every)}")
    arguments.models, arguments.work = arguments.models.resolve(), arguments.work.resolve()
    arguments.work.mkdir(parents=True, exist_ok=True)

    file = f"decoding-{arguments.name}"
    record = load(file) or {"name": arguments.name, "rows": {}}
    for name in arguments.rows or every:
        before = os.getloadavg()[0]
        content = measured(name, arguments)
        machine = describe(systems.CORES) | {"system": platform.system(), "instruction_sets": instruction_sets()}
        load_average = [before, os.getloadavg()[0]]
        record["rows"][name] = {"machine": machine, "load": load_average, "rounds": arguments.rounds} | content
        print(save(file, record), flush=True)


if __name__ == "__main__":
    main()
