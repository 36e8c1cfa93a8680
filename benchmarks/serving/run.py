"""`zhuyi serve` beside CTranslate2 behind FastAPI: requests a second and latency, under 1 to 256 clients.

    python benchmarks/serving/run.py MODEL --source test.en --work DIR [--precision int8] [--beams 1 5]

Both have the same model, precision, beam and lines, and are asked by LibreTranslate's API; both use all cores, which
they share with the clients. Each server is started, measured and stopped in turn, `--rounds` times. Lines are short
(the shortest tenth of the file) or mixed (the whole file). Writes results/serving.json, and prints it as a table.
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # machine.py is there

import numpy as np
from load import put_under_load
from machine import describe

from zhuyi.directory import load_config_of, read_model

HERE = Path(__file__).parent
RESULT = HERE.parent / "results/serving.json"
CLIENTS = (1, 8, 64, 256)
SYSTEMS = ("zhuyi", "ctranslate2")
PERCENTILES = (50, 95, 99)
PACKAGES = ("zhuyi", "ctranslate2", "fastapi", "uvicorn", "tokenizers")


@contextmanager
def serving(system: str, model: Path, work: Path, beam: int, precision: str) -> Iterator[int]:
    """A server in a process of its own: its port, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    if system == "zhuyi":
        own = work / f"beam-{beam}"
        if not own.exists():
            shutil.copytree(model, own, ignore=shutil.ignore_patterns("checkpoints"))
            settings = ("--set", f"decoding.beam={beam}", "--set", "decoding.length_penalty=0", "--save")
            subprocess.run(
                [sys.executable, "-m", "zhuyi", "config", own, *settings], check=True, stdout=subprocess.DEVNULL
            )
        command = ["-m", "zhuyi", "serve", str(own), "--port", str(port), "--precision", precision]
    else:
        exported = work / f"ctranslate2-{precision}"
        if not exported.exists():
            export = ("export", model, "--to", "ctranslate2", "--out", exported)
            subprocess.run([sys.executable, "-m", "zhuyi", *export], check=True)
        limit = load_config_of(model).model.max_length
        command = [str(HERE / "ctranslate2_server.py"), str(exported), "--port", str(port)]
        command += ["--compute-type", precision, "--beam", str(beam), "--limit", str(limit)]
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
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
    """Of each kind of lines and number of clients: requests a second, percentiles in milliseconds, refusals."""
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
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    lines = [line for line in arguments.source.read_text(encoding="utf-8").splitlines() if line.strip()]
    sets = {"short": sorted(lines, key=len)[: len(lines) // 10], "mixed": lines}
    result = {
        "machine": describe(threads=2),
        "parameters": sum(weight.size for weight in read_model(arguments.model).weights.values()),
        "packages": {name: version(name) for name in PACKAGES},
        "lines": {
            name: {"lines": len(each), "characters": round(statistics.mean(map(len, each)), 1)}
            for name, each in sets.items()
        },
        "settings": {"precision": arguments.precision, "rounds": arguments.rounds, "seconds": arguments.seconds},
        "beams": {},
    }
    for beam in arguments.beams:
        rounds: dict[str, list[dict[str, Any]]] = {system: [] for system in SYSTEMS}
        for _ in range(arguments.rounds):
            for system in SYSTEMS:
                with serving(system, arguments.model, arguments.work, beam, arguments.precision) as port:
                    rounds[system].append(measure(port, sets, arguments.seconds))
        result["beams"][beam] = {system: spread(each) for system, each in rounds.items()}
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    show(result)


def spread(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, list[float]]]:
    """Of each figure the smallest, the median and the largest of all rounds."""
    return {
        cell: {
            key: [f(each[cell][key] for each in rounds) for f in (min, statistics.median, max)]
            for key in rounds[0][cell]
        }
        for cell in rounds[0]
    }


def show(result: dict[str, Any]) -> None:
    for beam, systems in result["beams"].items():
        for cell in systems["zhuyi"]:
            for system in SYSTEMS:
                found = systems[system][cell]
                times = "  ".join(f"p{p} {found[f'p{p}'][1]:8.1f} ms" for p in PERCENTILES)
                print(f"beam {beam}  {cell:11}  {system:11}  {found['requests_per_second'][1]:8.1f} a second  {times}")


if __name__ == "__main__":
    main()
