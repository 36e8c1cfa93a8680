"""zhuyi itself, by the function behind `zhuyi train`, with the meter after each of its updates.

zhuyi            the precision it chooses for the machine (bf16 where it is fast)
zhuyi-float32    float32
"""

import json
import time
from pathlib import Path
from typing import Any

from peers.common import Meter, Run, TimeUp, after_each_update, arguments, before_each_forward, leave

import zhuyi
from zhuyi.config import Config
from zhuyi.data.batches import Batch
from zhuyi.training import loop, validation
from zhuyi.training.loop import train
from zhuyi.training.precision import choose_device, uses_bf16
from zhuyi.training.update import Objective


def configuration(run: Run) -> Config:
    """The configuration that the corpus was made with, with the sizes and settings of this run.

    Where speed is measured, the optimiser is the peers' too: AdamW.
    """
    tree: dict[str, Any] = json.loads((run.data / "config.json").read_text(encoding="utf-8"))
    size = run.sizes
    tree["model"] |= {
        "width": size.width,
        "heads": size.heads,
        "key_value_heads": size.heads,
        "encoder_layers": size.layers,
        "decoder_layers": size.layers,
        "feed_forward": size.feed_forward,
        "dropout": size.dropout,
        "activation": "relu",
    }
    tree["training"] |= {
        "tokens_per_batch": 2 * run.tokens,
        "seed": run.seed,
        "threads": run.threads,
        "device": run.device,
        "precision": "float32" if run.system.endswith("-float32") else "auto",
        **({} if run.is_curve else {"optimizer": "adamw", "ema": 0.0}),
    }
    return Config.model_validate(tree)


def measure(run: Run, config: Config) -> None:
    """`zhuyi train` without validations, until the time is up."""
    meter = Meter(run)
    parameters = 0

    def count(objective: Objective, batch: Batch) -> None:
        nonlocal parameters
        parameters = parameters or sum(weight.numel() for weight in objective.parameters())
        meter.count(batch.source_tokens, batch.target_tokens, batch.source.numel() + batch.target_out.numel())

    before_each_forward(Objective, count)
    after_each_update(meter)
    try:
        train(trained_for(config, steps=10**9, save_every=10**9), run.scratch / "model")
    except TimeUp:
        meter.report(parameters, precision(config), "zhuyi train, fused AdamW", "zhuyi")
        leave()


def trained_for(config: Config, **budget: Any) -> Config:
    """The configuration with another budget, greedy validations and no test set."""
    settings = config.training.model_dump() | dict.fromkeys(("steps", "epochs", "minutes", "save_every")) | budget
    sections = {
        "training": type(config.training).model_validate(settings),
        "data": config.data.model_copy(update={"test_source": None, "test_target": None}),
        "decoding": config.decoding.model_copy(update={"beam": 1, "n_best": 1}),
    }
    return config.model_copy(update=sections)


def precision(config: Config) -> str:
    return "bf16" if uses_bf16(config.training, choose_device(config.training)) else "float32"


class TrainingClock:
    """Stands in for the module `time` in the loop: it stands still while the dev set is translated."""

    def __init__(self) -> None:
        self.stopped = 0.0

    def perf_counter(self) -> float:
        return time.perf_counter() - self.stopped

    def standing_still(self, function: Any) -> Any:
        def timed(*inputs: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = function(*inputs, **named)
            self.stopped += time.perf_counter() - began
            return result

        return timed


def curve(run: Run, config: Config) -> None:
    """`zhuyi train` for some minutes of training alone; one line of points.jsonl for each validation."""
    clock = TrainingClock()
    loop.time = clock
    loop.VALIDATIONS = max(1, round(run.minutes / run.every))
    validation.evaluate = clock.standing_still(validation.evaluate)
    out = run.scratch / "model"
    meter = Meter(run)
    result = train(trained_for(config, minutes=run.minutes), out)
    assert clock.stopped > 0, "the loop has another way to validate: this runner must follow"
    write_points(out / "metrics.jsonl", run.scratch / "points.jsonl")
    meter.steps, meter.seconds = result.steps, result.seconds
    meter.report(zhuyi.load(out).transformer.parameter_count(), precision(config), "zhuyi train", "zhuyi")


def write_points(metrics: Path, points: Path) -> None:
    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    with open(points, "w", encoding="utf-8") as file:
        for record in records:
            if "dev_bleu" in record:
                point = {
                    "minutes": record["seconds"] / 60,
                    "updates": record["step"],
                    "bleu": record["dev_bleu"],
                }
                file.write(json.dumps(point) + "\n")


def main() -> None:
    run = arguments()
    config = configuration(run)
    if run.is_curve:
        curve(run, config)
    else:
        measure(run, config)


if __name__ == "__main__":
    main()
