"""`zhuyi serve` beside CTranslate2 behind FastAPI, and LibreTranslate: requests a second and latency, under 1 to 256
clients.

    python benchmarks/serving/run.py MODEL --source test.en --work DIR [--precision int8] [--beams 1 5]
        [--libretranslate PYTHON]

All have the same model, precision, beam and lines, and are asked by LibreTranslate's API; all use all cores, which they
share with the clients. LibreTranslate takes part if a Python is named that has it (`libretranslate_server.py`). Each
server is started, measured and stopped in turn, `--rounds` times. Lines are short (the shortest tenth of the file) or
mixed (the whole file). Replaces these beams in results/serving.json, where other beams are kept that were measured with
the same model, lines, settings, packages and machine, and prints a table.
"""

import argparse
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # machine.py and stored.py are there

import numpy as np
from load import put_under_load
from machine import describe
from stored import load, save

from zhuyi.directory import load_config_of, read_model

HERE = Path(__file__).parent
CLIENTS = (1, 8, 64, 256)
PERCENTILES = (50, 95, 99)
PACKAGES = ("zhuyi", "ctranslate2", "fastapi", "uvicorn", "tokenizers")


@dataclass(frozen=True)
class Settings:
    """What is the same for all servers."""

    model: Path
    work: Path
    precision: str
    beam: int

    def folder(self, name: str) -> Path:
        """A folder in --work for something that is made of this model."""
        digest = hashlib.sha256((self.model / "manifest.json").read_bytes()).hexdigest()[:16]
        return self.work / f"{name}-{digest}"

    def exported(self) -> Path:
        """The model for CTranslate2, in float32, which it converts to any precision."""
        directory = self.folder("ctranslate2")
        if not directory.exists():
            export = ("export", self.model, "--to", "ctranslate2", "--out", directory)
            subprocess.run([sys.executable, "-m", "zhuyi", *export], check=True)
        return directory


def zhuyi(settings: Settings) -> list[str]:
    """The command of `zhuyi serve`, without the port."""
    own = settings.folder(f"beam-{settings.beam}")
    if not own.exists():
        shutil.copytree(settings.model, own, ignore=shutil.ignore_patterns("checkpoints"))
        search = ("--set", f"decoding.beam={settings.beam}", "--set", "decoding.length_penalty=0", "--save")
        subprocess.run([sys.executable, "-m", "zhuyi", "config", own, *search], check=True, stdout=subprocess.DEVNULL)
    return [sys.executable, "-m", "zhuyi", "serve", str(own), "--precision", settings.precision]


def ctranslate2(settings: Settings) -> list[str]:
    """The command of CTranslate2 behind FastAPI."""
    limit = load_config_of(settings.model).model.max_length
    command = [sys.executable, str(HERE / "ctranslate2_server.py"), str(settings.exported()), "--limit", str(limit)]
    return [*command, "--compute-type", settings.precision, "--beam", str(settings.beam)]


def libretranslate(python: str, settings: Settings) -> list[str]:
    """The command of LibreTranslate, in a Python that has it."""
    work = settings.work / "libretranslate"
    command = [python, str(HERE / "libretranslate_server.py"), str(settings.exported()), "--work", str(work)]
    return [*command, "--compute-type", settings.precision, "--beam", str(settings.beam)]


@contextmanager
def serving(command: Sequence[str], log: Path) -> Iterator[int]:
    """A server in a process of its own: its port, once it answers. What it logs is in a file."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=output, stderr=output)
    try:
        wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return when a server has opened its port."""
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"a server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("a server did not open its port within a minute")


def measure(port: int, sets: dict[str, list[str]], seconds: float) -> dict[str, dict[str, Any]]:
    """For each kind of lines and number of clients: requests a second, percentiles of latency in milliseconds, requests
    that were refused, and lines that got different answers.
    """
    put_under_load(port, sets["short"], clients=1, seconds=0.0, warm_up=1.0)  # the first request loads the model
    found = {}
    for lengths, lines in sets.items():
        for clients in CLIENTS:
            answers = put_under_load(port, lines, clients, seconds, warm_up=1.0)
            times = 1000 * np.percentile(answers.seconds, PERCENTILES)
            found[f"{lengths}, {clients}"] = {
                "requests_per_second": round(len(answers.seconds) / seconds, 1),
                **{f"p{p}": round(float(value), 2) for p, value in zip(PERCENTILES, times, strict=True)},
                "refused": answers.refused,
                "lines_with_two_answers": sum(len(texts) > 1 for texts in answers.texts.values()),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--libretranslate", metavar="PYTHON", help="which has libretranslate and tokenizers")
    arguments = parser.parse_args()
    systems: dict[str, Callable[[Settings], list[str]]] = {"zhuyi": zhuyi, "ctranslate2": ctranslate2}
    packages = {name: version(name) for name in PACKAGES}
    if python := arguments.libretranslate:
        systems["libretranslate"] = partial(libretranslate, python)
        asked = "from importlib.metadata import version; print(version('libretranslate'))"
        packages["libretranslate"] = subprocess.check_output([python, "-c", asked], text=True).strip()
    arguments.work.mkdir(parents=True, exist_ok=True)
    lines = [line for line in arguments.source.read_text(encoding="utf-8").splitlines() if line.strip()]
    sets = {"short": sorted(lines, key=len)[: len(lines) // 10], "mixed": lines}
    head = {
        "machine": describe(os.cpu_count()),
        "parameters": sum(weight.size for weight in read_model(arguments.model).weights.values()),
        "packages": packages,
        "lines": {
            name: {"lines": len(each), "characters": round(statistics.mean(map(len, each)), 1)}
            for name, each in sets.items()
        },
        "settings": {"precision": arguments.precision, "rounds": arguments.rounds, "seconds": arguments.seconds},
    }
    before = load("serving") or {"beams": {}}
    beams = {beam: systems for beam, systems in before["beams"].items() if int(beam) not in arguments.beams}
    if beams:
        known, now = conditions(before), conditions(head)
        if different := [key for key in known if key in now and known[key] != now[key]]:
            parser.error(
                f"the results of beam {', '.join(beams)} have another {', '.join(different)}: measure it again too"
            )
        head["packages"] = {**before["packages"], **packages}
    for beam in arguments.beams:
        settings = Settings(arguments.model, arguments.work, arguments.precision, beam)
        commands = {system: command(settings) for system, command in systems.items()}
        rounds: dict[str, list[dict[str, Any]]] = {system: [] for system in systems}
        for _ in range(arguments.rounds):
            for system, command in commands.items():
                with serving(command, arguments.work / f"{system}.log") as port:
                    rounds[system].append(measure(port, sets, arguments.seconds))
        beams[str(beam)] = {system: spread(each) for system, each in rounds.items()}
        save("serving", {**head, "beams": dict(sorted(beams.items(), key=lambda each: int(each[0])))})
    show(beams)


def conditions(result: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same for all beams of a file of results; the commit need not be."""
    machine = {key: value for key, value in result["machine"].items() if key != "commit"}
    return {**machine, **result["packages"], **{key: result[key] for key in ("parameters", "lines", "settings")}}


def spread(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, list[float]]]:
    """The smallest, the median and the largest value of each figure in all rounds."""
    return {
        cell: {
            key: [f(each[cell][key] for each in rounds) for f in (min, statistics.median, max)]
            for key in rounds[0][cell]
        }
        for cell in rounds[0]
    }


def show(beams: dict[str, Any]) -> None:
    """Print the medians."""
    for beam, systems in beams.items():
        for cell in systems["zhuyi"]:
            for system, cells in systems.items():
                found = cells[cell]
                times = "  ".join(f"p{p} {found[f'p{p}'][1]:8.1f} ms" for p in PERCENTILES)
                print(f"beam {beam}  {cell:11}  {system:14}  {found['requests_per_second'][1]:8.1f} a second  {times}")


if __name__ == "__main__":
    main()
