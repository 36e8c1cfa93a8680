"""Compare training recipes: dev scores after equal minutes or updates, on the same cores, one run after the other.

    python benchmarks/recipes.py CONFIG.toml... --minutes 6 --threads 1 --name cpu1 --work runs/recipes
    python benchmarks/recipes.py CONFIG.toml... --steps 700 --recipes "decay 0.01" "decay 0.5" ...

A recipe is a set of settings that is applied to each CONFIG. Complete runs under --work are read, not repeated. Writes
results/recipes-NAME.json, from which report.py generates a table in docs/training-speed.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import describe

RESULTS = Path(__file__).parent / "results"

RECIPES: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "ema": 0.0},
    "muon": {"optimizer": "muon", "ema": 0.0},
    "adamw, ema": {"optimizer": "adamw", "ema": 0.998},
    "muon, ema": {"optimizer": "muon", "ema": 0.998},
    **{f"decay {value}": {"weight_decay": value} for value in (0.01, 0.1, 0.3, 0.5, 1.0)},
}
"""By name, what [training] has besides what the file says."""


def run(config: Path, recipe: str, budget: dict[str, float], threads: int, work: Path) -> dict[str, Any]:
    """Train, validate once at the end, and return the last dev scores and the number of steps."""
    out = work / f"{config.stem}-{recipe.replace(', ', '-').replace(' ', '-')}"
    if not (out / "manifest.json").exists():
        settings = {**budget, "threads": threads, "average": 1, "save_every": 10**9, **RECIPES[recipe]}
        arguments = [word for key, value in settings.items() for word in ("--set", f"training.{key}={value}")]
        command = [sys.executable, "-m", "zhuyi", "train", str(config), "--out", str(out), *arguments]
        subprocess.run(command, check=True)
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    last = [record for record in records if "dev_loss" in record][-1]
    return {"config": config.name, "recipe": recipe, "minutes": last["seconds"] / 60, **last}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path, nargs="+")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=["adamw", "muon", "adamw, ema", "muon, ema"])
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--steps", type=int, help="updates, in the place of minutes")
    parser.add_argument("--note", default="", help="what follows from it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    budget = {"steps": arguments.steps} if arguments.steps else {"minutes": arguments.minutes}
    runs = [
        run(config, recipe, budget, arguments.threads, arguments.work)
        for config in arguments.configs
        for recipe in arguments.recipes
    ]
    path = RESULTS / f"recipes-{arguments.name}.json"
    known = {name: RECIPES[name] for name in arguments.recipes}
    result = {"machine": describe(arguments.threads), "note": arguments.note, "recipes": known, "runs": runs}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for each in runs:
        print({key: each[key] for key in each if key not in ("seconds", "minutes")})


if __name__ == "__main__":
    main()
