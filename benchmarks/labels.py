"""Train the examples of labels on data of their own, and score them on the test sets.

    python benchmarks/labels.py DATA --work runs/labels [--tasks trec sst2 weibo_ner] [--seeds 1 2 3]

DATA holds the folders that the examples name: trec/, sst2/ and weibo/, made as their heads say. Settings were chosen on
the dev sets. Complete runs under --work are scored, not repeated. Writes results/labels.json, and keeps what it holds
of other tasks.
"""

import argparse
import shutil
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from commands import evaluate, train, training_of
from machine import describe
from stored import load, save

from zhuyi.config import load_config

ROOT = Path(__file__).parents[1]

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
    example = shutil.copy(ROOT / f"examples/{task}.toml", data / f"{task}.toml")
    out = train(example, work / f"{task}-{seed}", {"training.seed": seed, "training.threads": 1})
    config = load_config(example)
    files, metric = config.data, config.training.metric
    dev = evaluate([out], files.dev_source, files.dev_target, metric)
    test = evaluate([out], files.test_source, files.test_target, metric)
    scores = {"dev": dev["value"], "test": test["value"], "metric": metric, "signature": test["signature"]}
    return scores | training_of(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    result = load("labels") or {"tasks": {}}
    for task in arguments.tasks:
        runs = [run(task, seed, arguments.data, arguments.work) for seed in arguments.seeds]
        tests = [each["test"] for each in runs]
        test = {"mean": mean(tests), "sd": stdev(tests) if len(tests) > 1 else 0.0}
        result["tasks"][task] = {"machine": describe(1), "runs": runs, "test": test, "published": PUBLISHED[task]}
        save("labels", result)
        print(f"{task}: {runs[0]['metric']} {test['mean']:.2f} ± {test['sd']:.2f} on test")


if __name__ == "__main__":
    main()
