"""Train the demo's dates without one part after the other: what is each part for?

    python benchmarks/without.py --work runs/without                    # --steps 400 --seed 1 --only mask end

Each run is `zhuyi train dates.toml --without PART` with a budget in updates, and its model is scored on the dev set by
greedy search. Runs that are in the result already are not repeated. Writes results/without-dates.json, which
docs/course reads.
"""

import argparse
import json
import time
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from machine import describe
from stored import load, save

import zhuyi
from zhuyi.config import Part
from zhuyi.data.dates import date_pairs, write_dates
from zhuyi.directory import read_metrics
from zhuyi.errors import TrainingError

SHOWN = 4
"""Lines of the dev set whose outputs are kept."""
SMALLER = {"model.width": 64, "model.feed_forward": 128, "training.tokens_per_batch": 1024}
"""A run takes well under a minute of one core."""
UNSMOOTHED = {"training.label_smoothing": 0.0}
"""A loss can then fall to 0."""
OF_2017 = {
    **{"model.norm": "post", "model.norm_kind": "layer", "training.optimizer": "adamw", "training.clip": 0.0},
    **{"training.schedule": "constant", "training.ema": 0.0, "training.learning_rate": 5e-3},
}
"""Post-norm and AdamW, at a rate at which they want a warm-up."""

RUNS: dict[str, tuple[tuple[Part, ...], dict[str, Any]]] = {
    "intact": ((), {}),
    **{part: ((part,), {}) for part in get_args(Part)},
    "intact, post-norm": ((), OF_2017),
    "warmup, post-norm": (("warmup",), OF_2017),
}
"""By name, what is taken away, and the settings beside those of dates.toml."""


def run(name: str, steps: int, seed: int, work: Path) -> dict[str, Any]:
    """Train and score one model; the losses are nats per target token."""
    without, settings = RUNS[name]
    budget = {"steps": steps, "seed": seed, "threads": 1, "save_every": steps, "keep_at": [], "log_every": 10}
    settings = {**SMALLER, **UNSMOOTHED, **{f"training.{key}": value for key, value in budget.items()}, **settings}
    chosen = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    config = zhuyi.load_config(work / "dates.toml", [f"model.without={json.dumps(without)}", *chosen])
    # dates.toml has a budget in minutes, which would depend on what else the machine does.
    training = config.training.model_copy(update={"minutes": None})
    data = config.data.model_copy(update={"test_source": None, "test_target": None})
    config = config.model_copy(update={"data": data, "training": training})
    out = work / f"{name.replace(', ', '-')}-{steps}-{seed}"
    about = {"without": without, "settings": settings}
    began = time.perf_counter()
    try:
        result = zhuyi.train(config, out, resume=out.exists())
    except TrainingError as error:
        return {**about, "error": str(error)}
    losses = [record["loss"] for record in read_metrics(out / "metrics.jsonl") if "loss" in record]
    dev, pairs = result.evaluations["dev"], date_pairs().dev[:SHOWN]
    return {
        **about,
        "seconds": round(time.perf_counter() - began, 1),
        "training_loss": losses[-1],
        "dev_loss": dev.loss,
        "exact": dev.scores["exact"].value,
        "finished": 100 * (1 - dev.unfinished / dev.lines),
        "answers": [[*pair, answer] for pair, answer in zip(pairs, dev.hypotheses, strict=False)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    write_dates(arguments.work / "dates", date_pairs())
    (arguments.work / "dates.toml").write_bytes(resources.files("zhuyi").joinpath("dates.toml").read_bytes())
    asked = {"steps": arguments.steps, "seed": arguments.seed}
    result: dict[str, Any] = {"machine": describe(1), **asked, "runs": {}}
    old = load("without-dates") or {}
    if asked.items() <= old.items():
        result = old
    for name in arguments.only:
        if name not in result["runs"]:
            result["runs"][name] = run(name, arguments.steps, arguments.seed, arguments.work)
            save("without-dates", result)
        each = result["runs"][name]
        print(name, {key: value for key, value in each.items() if isinstance(value, float | str)}, flush=True)


if __name__ == "__main__":
    main()
