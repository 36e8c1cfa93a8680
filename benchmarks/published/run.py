"""Train on the corpora of published results, and score as published.

    python benchmarks/published/run.py TASK DATA --work runs/published [--seeds 1 2] [--set SECTION.KEY=VALUE] [--test]

DATA holds the files of the origins (corpora.py says which). One model a seed is trained; what is there already goes on.
Everything is chosen by the dev set, which is scored always. With `--test`, at the end, the test sets are scored too:
the models, and the ensemble of all of them. Writes results/published-TASK.json. With `--prepare` only the corpus and
its configuration are written, for recipes.py.
"""

import argparse
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # machine.py is there

from commands import evaluate, train, training_of
from machine import describe
from published.tasks import TASKS, Task
from stored import load, save

from zhuyi.directory import load_config_of

HERE = Path(__file__).parent


def prepared(task: Task, data: Path, folder: Path) -> Path:
    """The configuration in a folder with its corpus."""
    task.make(data / task.origin, folder)
    return Path(shutil.copy(HERE / task.config, folder / f"{folder.name}.toml"))


def scored(task: Task, part: str, folder: Path, models: Sequence[Path]) -> dict[str, Any]:
    """The score of a model, or of an ensemble."""
    return evaluate(models, folder / f"{part}.source", folder / f"{part}.target", task.metric, *task.options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()

    task, folder, name = TASKS[arguments.task], arguments.work / arguments.task, f"published-{arguments.task}"
    if not arguments.test and task.published.keys() <= (load(name) or {"mean": {}})["mean"].keys():
        parser.error(f"results/{name}.json has the scores of the test sets: remove it, to choose again by the dev set")
    config = prepared(task, arguments.data, folder)
    if arguments.prepare:
        print(config)
        return
    settings = {"training.threads": arguments.threads} | dict(setting.split("=", 1) for setting in arguments.set)
    models = [train(config, folder / f"seed-{seed}", {"training.seed": seed, **settings}) for seed in arguments.seeds]
    parts = ["dev", *(task.published if arguments.test else ())]
    runs = [{**training_of(model), **{part: scored(task, part, folder, [model]) for part in parts}} for model in models]
    result = {
        "title": task.title[0],
        "machine": describe(arguments.threads),
        "note": arguments.note,
        "metric": task.metric,
        "config": load_config_of(models[0]).model_dump(exclude={"data"}),
        "runs": runs,
        "mean": {part: round(statistics.mean(run[part]["value"] for run in runs), 2) for part in parts},
    }
    if len(models) > 1:
        result["ensemble"] = {part: scored(task, part, folder, models) for part in parts}
    save(name, result)
    print(arguments.task, result["mean"], {part: each["value"] for part, each in result.get("ensemble", {}).items()})


if __name__ == "__main__":
    main()
