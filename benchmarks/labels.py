"""Train the examples of labels on data of their own, and score them on the test sets.

    python benchmarks/labels.py DATA --work runs/labels [--tasks trec sst2 weibo_ner] [--seeds 1 2 3]

DATA holds the folders that the examples name: trec/, sst2/ and weibo/, made as their heads say. Settings were chosen on
the dev sets. Complete runs under --work are read, not repeated. Writes results/labels.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from machine import describe

from zhuyi.config import load_config
from zhuyi.directory import read_metrics, read_model

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"

PUBLISHED: dict[str, list[dict[str, Any]]] = {
    "trec": [{"of": "Kim 2014, table 2: CNN-rand, words without pre-trained vectors", "accuracy": 91.2}],
    "sst2": [{"of": "Kim 2014, table 2: CNN-rand; it was trained on phrases of the sentences too", "accuracy": 82.7}],
    "weibo_ner": [
        {"of": "Peng & Dredze 2015 on the revised data, with embeddings trained on Weibo", "span_f1": 56.05},
        {"of": "Peng & Dredze 2016 on the revised data, and with word segmentation", "span_f1": 58.99},
    ],
}
"""By example. The figures on Weibo are from golden_horse_supplement.pdf, table 1, in the repository of the data."""


def run(task: str, seed: int, data: Path, work: Path) -> dict[str, Any]:
    """Train an example with a seed, and return its scores."""
    example, out = data / f"{task}.toml", work / f"{task}-{seed}"
    shutil.copy(ROOT / f"examples/{task}.toml", example)
    if not (out / "manifest.json").exists():
        settings = ("--set", f"training.seed={seed}", "--set", "training.threads=1")
        subprocess.run(
            [sys.executable, "-m", "zhuyi", "train", example, "--out", out, "--resume", *settings], check=True
        )
    config = load_config(example)
    metric = config.training.metric
    command = [sys.executable, "-m", "zhuyi", "evaluate", out, "--json", "--metric", metric]
    scores = {}
    for part in ("dev", "test"):
        files = ("--source", getattr(config.data, f"{part}_source"), "--target", getattr(config.data, f"{part}_target"))
        printed = subprocess.run([*command, *files], check=True, stdout=subprocess.PIPE).stdout
        scores[part] = json.loads(printed)["scores"][metric]
    records = read_metrics(out / "metrics.jsonl")
    return {
        "seed": seed,
        "dev": scores["dev"]["value"],
        "test": scores["test"]["value"],
        "metric": metric,
        "signature": scores["test"]["signature"],
        "parameters": sum(weight.size for weight in read_model(out).weights.values()),
        "steps": max(record["step"] for record in records),
        "minutes": round(max(record["seconds"] for record in records) / 60, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()
    path = RESULTS / "labels.json"
    tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"] if path.exists() else {}
    for task in arguments.tasks:
        runs = [run(task, seed, arguments.data, arguments.work) for seed in arguments.seeds]
        tests = [each["test"] for each in runs]
        spread = stdev(tests) if len(tests) > 1 else 0.0
        tasks[task] = {"runs": runs, "test": {"mean": mean(tests), "sd": spread}, "published": PUBLISHED[task]}
        result = {"machine": describe(1), "note": arguments.note, "tasks": tasks}
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{task}: {runs[0]['metric']} {mean(tests):.2f} ± {spread:.2f} on test")


if __name__ == "__main__":
    main()
