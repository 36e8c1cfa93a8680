"""Make a record: train on Multi30k with two cores, score, and keep the run if it is as good as published.

    taskset -c 0,1 python benchmarks/record.py NAME DATA --config CONFIG.toml --work DIR [--note "what is new"]

The rules are in records/README.md, and so are the files of DATA. CONFIG names train.source, train.target, dev.source
and dev.target, as benchmarks/published/multi30k.toml does. Writes records/NAME/.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

from commands import training_of, zhuyi
from machine import describe
from published.run import scored
from published.tasks import TASKS

from zhuyi.files import write_atomically

RECORDS = Path(__file__).parent / "records"
TASK = TASKS["multi30k"]
TEST, WANTED = "test.2016", 41.0
CORES = 2
SMALL = 2_900_000
KEPT = ("metrics.jsonl", "training.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()

    folder, kept = arguments.work / arguments.name, RECORDS / arguments.name
    if exists := [path for path in (folder, kept) if path.exists()]:
        parser.error(f"{exists[0]} is there already: a record is one run, from nothing; give it another NAME")
    if not arguments.config.is_file():
        parser.error(f"{arguments.config}: no such file")
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) != CORES:
        parser.error(f"a record is made on {CORES} cores, under Linux: begin the command with taskset -c 0,1")
    TASK.make(arguments.data / TASK.origin, folder)
    config = Path(shutil.copy(arguments.config, folder / "config.toml"))
    os.environ["ZHUYI_CACHE"] = str(folder / "cache")  # empty: the vocabulary and the tokenised corpus are made too
    load, begin = os.getloadavg()[0], time.perf_counter()
    print(zhuyi("train", config, "--out", folder / "model"))
    minutes = (time.perf_counter() - begin) / 60

    run = training_of(folder / "model")
    result = {
        "minutes": round(minutes, 1),
        "size": "small" if run["parameters"] <= SMALL else "free",
        **{key: run[key] for key in ("parameters", "steps", "seed", "threads")},
        **{part: scored(TASK, part, folder, [folder / "model"]) for part in ("dev", TEST)},
        "note": arguments.note,
        "load before": round(load, 2),
        "machine": describe(run["threads"]),
    }
    content = json.dumps(result, indent=1) + "\n"
    print(content)
    if result[TEST]["value"] < WANTED:
        sys.exit(f"BLEU {result[TEST]['value']:.2f} on {TEST}, below {WANTED}: no record")
    kept.mkdir()
    for name in KEPT:
        shutil.copy(folder / "model" / name, kept)
    shutil.copy(config, kept)
    write_atomically(kept / "record.json", content.encode())
    print(kept)


if __name__ == "__main__":
    main()
