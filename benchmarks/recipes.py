"""Compare training recipes: dev scores after as many updates, or minutes, on the same cores.

    python benchmarks/recipes.py CONFIG.toml... --steps 1500 --recipes default "decay 1.0 + dropout 0.4" --seeds 1 2 \\
        --name small-data --work runs/recipes

A recipe is a set of settings that is applied to each CONFIG; " + " puts several together. Complete runs under --work
are scored, not repeated, and those that results/recipes-NAME.json has already stay there. report.py makes a table of it
in docs/training-speed.md.
"""

import argparse
from pathlib import Path
from typing import Any

from commands import evaluate, train, training_of
from machine import describe
from stored import load, save

from zhuyi.config import load_config

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "adamw": {"training.optimizer": "adamw", "training.ema": 0.0},
    "muon": {"training.optimizer": "muon", "training.ema": 0.0},
    "adamw, ema": {"training.optimizer": "adamw", "training.ema": 0.998},
    "muon, ema": {"training.optimizer": "muon", "training.ema": 0.998},
    **{f"decay {value}": {"training.weight_decay": value} for value in (0.01, 0.1, 0.3, 0.5, 1.0, 2.0)},
    **{f"ema {value}": {"training.ema": value} for value in (0.995, 0.999, 0.9995)},
    **{f"rate {value}": {"training.learning_rate": value} for value in (1e-3, 2e-3, 4e-3, 6e-3)},
    **{f"batch {value}": {"training.tokens_per_batch": value} for value in (1024, 2048, 4096, 8192)},
    **{f"schedule {name}": {"training.schedule": name} for name in ("linear", "inverse_sqrt", "constant")},
    **{f"smoothing {value}": {"training.label_smoothing": value} for value in (0.0, 0.2)},
    **{f"dropout {value}": {"model.dropout": value} for value in (0.1, 0.2, 0.3, 0.4)},
    "dropout inside": {"model.attention_dropout": 0.1, "model.feed_forward_dropout": 0.1},
    **{f"BPE-dropout {value}": {"text.bpe_dropout": value} for value in (0.05, 0.1, 0.2)},
    **{f"vocabulary {value}": {"text.vocabulary": value} for value in (2000, 4000, 6000)},
    "wider": {"model.width": 160, "model.feed_forward": 320, "model.decoder_layers": 3},
}
"""By name, what a configuration has besides what the file says."""


def settings_of(recipe: str) -> dict[str, Any]:
    """The settings of a recipe, or of several."""
    return {key: value for part in recipe.split(" + ") for key, value in RECIPES[part].items()}


def run(config: Path, recipe: str, seed: int, budget: dict[str, float], threads: int, work: Path) -> dict[str, Any]:
    """Train, and score the model on the dev set."""
    (name, amount), *_ = budget.items()
    folder = work / f"{config.stem}-{recipe.replace(', ', '-').replace(' ', '-')}-{seed}"
    settings = {f"training.{name}": amount, "training.threads": threads, "training.seed": seed}
    settings |= {"training.average": 1, "training.save_every": 10**9, **settings_of(recipe)}
    out = train(config, folder, settings)
    loaded, trained = load_config(config), training_of(out)
    metric = loaded.training.metric
    scored = evaluate([out], loaded.data.dev_source, loaded.data.dev_target, metric)
    return {
        "config": config.name,
        "recipe": recipe,
        "seed": seed,
        "minutes": trained["minutes"],
        "step": trained["steps"],
        "dev_loss": scored["loss"],
        f"dev_{metric}": scored["value"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path, nargs="+")
    parser.add_argument("--recipes", nargs="+", default=["default"], help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--steps", type=int, help="updates, in the place of minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--note", default="", help="what follows from it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    parts = {part for recipe in arguments.recipes for part in recipe.split(" + ")}
    if unknown := parts - RECIPES.keys():
        parser.error(f"no recipe {', '.join(sorted(unknown))}")
    budget = {"steps": arguments.steps} if arguments.steps else {"minutes": arguments.minutes}
    name = f"recipes-{arguments.name}"
    result = load(name) or {"runs": [], "recipes": {}}
    for config in arguments.configs:
        for recipe in arguments.recipes:
            for seed in arguments.seeds:
                found = run(config, recipe, seed, budget, arguments.threads, arguments.work)
                if found not in result["runs"]:
                    result["runs"].append(found)
                result["recipes"][recipe] = settings_of(recipe)
                print(found, flush=True)
                head = {"machine": describe(arguments.threads), "note": arguments.note or result.get("note", "")}
                save(name, {**result, **head})


if __name__ == "__main__":
    main()
