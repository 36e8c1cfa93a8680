"""Training speed side by side: zhuyi and its peers in turn, on the same corpus, sizes and budget of tokens.

    python benchmarks/training/compare.py CONFIG.toml --set text.vocabulary=10000 --name cpu2 --threads 2 --work DIR

Installs what is missing under DIR, then runs: round 1 all systems, round 2 all systems, ..., the machine's
matrix-product ceiling measured after each. Writes ../results/training-NAME-SIZE.json after every run, and keeps what
it holds of other systems; a ratio is made only of systems that took turns. `python benchmarks/report.py` makes
docs/training-speed.md of it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # machine.py and stored.py are there

import segmented
from earlier import earlier
from environments import InstallError, python_of
from machine import describe
from peers.common import SIZES, Run
from stored import save
from systems import SYSTEMS, TUNED, RunError, run, title_of
from table import fastest_peer, medians

HERE = Path(__file__).parent
SECONDS = {"tiny": 15, "base": 40, "big": 40}
SKIP = {"tiny": 5, "base": 2, "big": 2}
"""Updates before those that are timed."""
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

    def __init__(self, size: str, head: dict[str, Any]) -> None:
        head = {**head, "name": f"{head['name']}-{size}"}
        self.file, self.began = f"training-{head['name']}", datetime.now(UTC).isoformat(timespec="seconds")
        source, target = SIZES[size].flop(head["data"]["vocabulary"])
        empty = {"flop": {"source": source, "target": target}, "ceilings": [], "systems": {}}
        self.commit = head["machine"]["commit"]
        self.result = {**head, "sizes": {size: empty}, **earlier(self.file, head)}
        self.content: dict[str, Any] = self.result["sizes"][size]

    def row(self, name: str) -> dict[str, Any]:
        """Of a system, as this command has measured it: it takes the place of an older one."""
        rows: dict[str, dict[str, Any]] = self.content["systems"]
        if name not in rows or rows[name].get("began") != self.began:
            rows[name] = {"title": title_of(name), "began": self.began, "commit": self.commit, "runs": []}
        return rows[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="names the corpus and the vocabulary")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--work", type=Path, default=Path("runs/peers"), help="environments and the segmented corpus")
    parser.add_argument("--name", help="of the machine, as in results/training-NAME-SIZE.json")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["tiny", "base"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help=f"that are timed, or more for enough updates; unset: {SECONDS}")
    parser.add_argument("--skip", type=int, help=f"updates before those that are timed; unset: {SKIP}")
    parser.add_argument("--tokens", type=int, default=Run.tokens, help="of a batch, a side")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--install-only", action="store_true")
    arguments = parser.parse_args()

    names, work = arguments.systems, arguments.work.resolve()
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
    head = {
        "name": arguments.name or f"{arguments.device}{arguments.threads}",
        "machine": describe(arguments.threads),
        "device": arguments.device,
        "data": data,
        "tokens_per_batch": 2 * arguments.tokens,
        "rounds": arguments.rounds,
    }

    def measure(comparison: Comparison, size: str, name: str, round_: int) -> None:
        row = comparison.row(name)
        if "failed" in row:
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
                limit = 60 * seconds + STARTING  # a slow system takes so long for enough updates
                result = run(name, python, words, arguments.threads, arguments.device, limit)
        except RunError as error:
            row["failed"] = str(error)
            print(f"{size} {name}: {error}", flush=True)
        else:
            row["runs"].append(result | {"tokens_per_second": speed(result)})
            print(f"{size} {name}: {speed(result):,.0f} tokens/s in {result['updates']} updates", flush=True)
        comparison.content["ceilings"].append(ceiling(arguments.threads, arguments.device))
        print(save(comparison.file, comparison.result), flush=True)

    for size, comparison in {size: Comparison(size, head) for size in arguments.sizes}.items():
        tuned = None
        for round_ in range(1, arguments.rounds + 1):
            for name in names:
                measure(comparison, size, name, round_)
            # After the first round it is known which peer is the fastest: it gets the allocator that zhuyi has.
            tuned = tuned or fastest_peer(medians(comparison.content, comparison.began), tuned=False)
            if tuned and arguments.device == "cpu":
                measure(comparison, size, tuned + TUNED, round_)


if __name__ == "__main__":
    main()
