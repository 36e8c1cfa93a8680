"""Make a record: train on Multi30k with both cores, score, and keep the run if it is as good as published.

    python benchmarks/record.py NAME DATA --config CONFIG.toml --work DIR [--note "what is new"]

The rules are in records/README.md. CONFIG names train.source, train.target, dev.source and dev.target, as
benchmarks/published/multi30k.toml does. Writes records/NAME/.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from machine import describe
from published.run import scored, training_of, zhuyi
from published.tasks import TASKS

RECORDS = Path(__file__).parent / "records"
TASK = TASKS["multi30k"]
TEST, WANTED = "test.2016", 41.0
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
    TASK.make(arguments.data / TASK.origin, folder)
    config = Path(shutil.copy(arguments.config, folder / "config.toml"))
    begin = time.perf_counter()
    print(zhuyi("train", config, "--out", folder / "model"))
    minutes = (time.perf_counter() - begin) / 60

    run = training_of(folder / "model")
    result = {
        "minutes": round(minutes, 1),
        "size": "small" if run["parameters"] <= SMALL else "free",
        **{key: run[key] for key in ("parameters", "steps", "seed")},
        **{part: scored(TASK, part, folder, [folder / "model"]) for part in ("dev", TEST)},
        "note": arguments.note,
        "machine": describe(threads=2),
    }
    print(json.dumps(result, indent=1))
    if result[TEST]["value"] < WANTED:
        sys.exit(f"BLEU {result[TEST]['value']:.2f} on {TEST}, below {WANTED}: no record")
    kept.mkdir()
    for name in KEPT:
        shutil.copy(folder / "model" / name, kept)
    shutil.copy(config, kept)
    (kept / "record.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(kept)


if __name__ == "__main__":
    main()
