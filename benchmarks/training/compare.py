"""Training speed side by side: zhuyi and its peers in turn, on the same corpus, sizes and budget of tokens.

    python benchmarks/training/compare.py CONFIG.toml --set text.vocabulary=10000 --name cpu2 --threads 2 --work DIR

Installs what is missing under DIR, then runs: round 1 all systems, round 2 all systems, ..., the machine's
matrix-product ceiling measured after each. Writes ../results/training-NAME.json after every run;
`python benchmarks/report.py` makes docs/training-speed.md of it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # machine.py is there

import segmented
from environments import InstallError, python_of
from machine import describe
from peers.common import SIZES
from systems import SYSTEMS, TUNED, RunError, run, title_of
from table import fastest_peer, medians

HERE = Path(__file__).parent
SECONDS = {"tiny": 15, "base": 40, "big": 40}
SKIP = {"tiny": 5, "base": 2, "big": 2}
"""Batches of warm-up."""
STARTING = 600
"""Seconds that a process may take beside what is timed: to start, to read the corpus, to warm up."""


def speed(result: dict[str, Any]) -> float:
    """Source and target tokens per second, without padding."""
    return float(result["source_tokens"] + result["target_tokens"]) / float(result["seconds"])


def ceiling(threads: int, device: str) -> dict[str, float]:
    command = [sys.executable, "ceiling.py", "--threads", str(threads), "--device", device]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=HERE, env=environment, check=True, capture_output=True, text=True)
    rates: dict[str, float] = json.loads(done.stdout)
    return rates


class Comparison:
    """One size: the runs so far of every system, and what failed."""

    def __init__(self, size: str, vocabulary: int) -> None:
        source, target = SIZES[size].flop(vocabulary)
        self.content: dict[str, Any] = {
            "flop": {"source": source, "target": target},
            "ceilings": [],
            "systems": {},
        }

    def systems(self) -> dict[str, Any]:
        found: dict[str, Any] = self.content["systems"]
        return found

    def add(self, name: str, result: dict[str, Any]) -> None:
        row = self.systems().setdefault(name, {"title": title_of(name), "runs": []})
        row["runs"].append(result | {"tokens_per_second": speed(result)})

    def fail(self, name: str, reason: str) -> None:
        self.systems().setdefault(name, {"title": title_of(name), "runs": []})["failed"] = reason

    def failed(self, name: str) -> bool:
        return "failed" in self.systems().get(name, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="names the corpus and the vocabulary")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--work", type=Path, default=Path("runs/peers"), help="environments and the segmented corpus")
    parser.add_argument("--name", help="of the machine, as in results/training-NAME.json")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="names, with commas")
    parser.add_argument("--sizes", default="tiny,base", help="of tiny, base, big")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help=f"of each run after its warm-up; unset: {SECONDS}")
    parser.add_argument("--skip", type=int, help=f"batches of warm-up; unset: {SKIP}")
    parser.add_argument("--tokens", type=int, default=4096, help="of a batch, a side")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    parser.add_argument("--install-only", action="store_true")
    arguments = parser.parse_args()

    names, sizes, work = arguments.systems.split(","), arguments.sizes.split(","), arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    pythons: dict[str, Path | InstallError] = {}
    for environment in dict.fromkeys(SYSTEMS[name].environment for name in names):
        try:
            pythons[environment] = python_of(environment, work)
        except InstallError as error:
            pythons[environment] = error
            print(f"{environment}: {error}", flush=True)
    if arguments.install_only:
        return
    data = segmented.make(arguments.config, arguments.set, work / "data")
    comparisons = {size: Comparison(size, int(data["vocabulary"])) for size in sizes}
    machine = arguments.name or f"{arguments.device}{arguments.threads}"
    head = {
        "name": machine,
        "machine": describe(arguments.threads),
        "device": arguments.device,
        "data": data,
        "tokens_per_batch": 2 * arguments.tokens,
        "rounds": arguments.rounds,
    }
    path = arguments.results / f"training-{machine}.json"

    def measure(size: str, name: str, round_: int) -> None:
        comparison = comparisons[size]
        if comparison.failed(name):
            return
        python = pythons[SYSTEMS[name.removesuffix(TUNED)].environment]
        seconds = arguments.seconds or SECONDS[size]
        skip = SKIP[size] if arguments.skip is None else arguments.skip
        try:
            if isinstance(python, InstallError):
                raise RunError(f"cannot be installed: {python}")
            with tempfile.TemporaryDirectory(dir=work) as scratch:
                options = {
                    "size": size,
                    "data": work / "data",
                    "scratch": scratch,
                    "tokens": arguments.tokens,
                    "seconds": seconds,
                    "skip": skip,
                    "seed": round_,
                }
                words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
                result = run(name, python, words, arguments.threads, arguments.device, 10 * seconds + STARTING)
        except RunError as error:
            comparison.fail(name, str(error))
            print(f"{size} {name}: {error}", flush=True)
        else:
            comparison.add(name, result)
            print(f"{size} {name}: {speed(result):,.0f} tokens/s in {result['updates']} updates", flush=True)
        comparison.content["ceilings"].append(ceiling(arguments.threads, arguments.device))
        whole = head | {"sizes": {each: comparisons[each].content for each in sizes}}
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)

    for size in sizes:
        tuned = None
        for round_ in range(1, arguments.rounds + 1):
            for name in names:
                measure(size, name, round_)
            # After the first round it is known which peer is the fastest: it gets the allocator that zhuyi has.
            tuned = tuned or fastest_peer(medians(comparisons[size].content), tuned=False)
            if tuned and arguments.device == "cpu":
                measure(size, tuned + TUNED, round_)
    print(path)


if __name__ == "__main__":
    main()
