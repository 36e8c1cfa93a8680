"""Rows that are not a system's rate: whole commands, and a machine that is shared with another program."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from systems import RunError

HERE = Path(__file__).parent
COMMANDS = {
    "cold": ("`zhuyi translate`, one line", 1, []),
    "lines": ("`zhuyi translate`, 1,000 lines, beam 5", 1000, ["--beam", "5"]),
}
"""Title, lines and options."""
ENGINES = {"native, int8": ("native", "int8"), "native, float32": ("native", "float32"), "torch": ("torch", "float32")}
SPIN = "while True: pass"


def translate(model: Path, lines: Sequence[str], options: Sequence[str], engine: str, precision: str) -> dict[str, Any]:
    """Run `zhuyi translate` once: its seconds from start to end, and the most memory that it held.

    Raises:
        RunError: with the last line that it had to say.
    """
    command = [sys.executable, "-m", "zhuyi", "translate", str(model), *options]
    command += ["--set", f"decoding.engine={engine}", "--set", f"decoding.precision={precision}"]
    with tempfile.TemporaryDirectory() as scratch:
        text, result = Path(scratch, "text"), Path(scratch, "result")
        text.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        with text.open(encoding="utf-8") as stream:
            launcher = [sys.executable, "-I", "-S", str(HERE / "once.py"), str(result)]
            done = subprocess.run([*launcher, *command], stdin=stream, capture_output=True, encoding="utf-8")
        written, said = done.stdout.count("\n"), done.stderr.strip().splitlines()
        if done.returncode or written != len(lines):
            raise RunError(f"exit {done.returncode}, {written} lines: {said[-1] if said else 'no output'}"[:300])
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def measure(name: str, model: Path, lines: Sequence[str], rounds: int) -> dict[str, Any]:
    """One of `COMMANDS`, every engine in turn. Round 0, of one line, fills the caches of the disk."""
    title, count, options = COMMANDS[name]
    found: dict[str, Any] = {engine: {"runs": []} for engine in ENGINES}
    for round_ in range(rounds + 1):
        for engine, content in found.items():
            if "failed" in content:
                continue
            try:
                run = translate(model, lines[: count if round_ else 1], options, *ENGINES[engine])
            except RunError as error:
                content["failed"] = str(error)
                print(f"{name}, {engine}: {error}", flush=True)
                continue
            if round_:
                content["runs"].append(run)
                print(f"{name}, {engine}: {run['seconds']:.2f} s, {run['peak_bytes'] / 1e6:.0f} MB", flush=True)
    return {"title": title, "engines": found}


@contextmanager
def taken_core() -> Iterator[None]:
    """Another program that never sleeps, on the first of the cores that this process may use."""
    core = min(os.sched_getaffinity(0))
    program = f"import os; os.sched_setaffinity(0, [{core}])\n{SPIN}"
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()


def shared(run: Callable[[], dict[str, Any]], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Runs on the machine as it is, and with a core taken, in turn."""
    found: dict[str, list[dict[str, Any]]] = {"quiet": [], "taken": []}
    for _ in range(rounds):
        found["quiet"].append(run())
        with taken_core():
            found["taken"].append(run())
    return found
