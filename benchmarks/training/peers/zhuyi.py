"""zhuyi itself, by the function behind `zhuyi train`, with the meter as a listener.

zhuyi            the precision it chooses for the machine (bf16 where it is fast)
zhuyi-float32    float32
"""

import json
import time
from typing import Any

from peers.common import Meter, Run, TimeUp, arguments, leave

import zhuyi
from zhuyi.config import Config
from zhuyi.directory import read_model
from zhuyi.training.events import Event, Saved, Started, Updated, Validated
from zhuyi.training.precision import choose_device, uses_bf16


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

    def listen(event: Event) -> None:
        nonlocal parameters
        if isinstance(event, Started):
            parameters = event.parameters
        elif isinstance(event, Updated):
            meter.count(event.source_tokens, event.target_tokens, event.positions)
            meter.step()

    try:
        zhuyi.train(trained_for(config, steps=10**9, save_every=10**9), run.scratch / "model", listeners=[listen])
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
    """A listener that measures the seconds between updates; validations and checkpoints do not count."""

    def __init__(self) -> None:
        self.seconds, self.updates = 0.0, 0
        self.points: list[dict[str, float]] = []
        self._since = 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._since = time.perf_counter()
            case Updated():
                now = time.perf_counter()
                self.seconds, self.updates, self._since = self.seconds + now - self._since, event.step, now
            case Validated():
                self.points.append(
                    {"minutes": self.seconds / 60, "updates": event.step, "bleu": round(event.scores["bleu"], 4)}
                )
            case Saved():
                self._since = time.perf_counter()


CALIBRATION_MINUTES = 0.5


def curve(run: Run, config: Config) -> None:
    """`zhuyi train` for some minutes of training alone; one line of points.jsonl for each validation.

    The budget is in updates, as many as these minutes hold by a short run before: so the schedule does not count
    validations either.
    """
    calibration = TrainingClock()
    short = trained_for(config, minutes=CALIBRATION_MINUTES, save_every=10**9)
    zhuyi.train(without_dev(short), run.scratch / "calibration", listeners=[calibration])
    steps = round(run.minutes * 60 * calibration.updates / calibration.seconds)
    clock, meter, out = TrainingClock(), Meter(run), run.scratch / "model"
    every = max(1, round(steps * run.every / run.minutes))
    result = zhuyi.train(trained_for(config, steps=steps, save_every=every), out, listeners=[clock])
    with open(run.scratch / "points.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(point) + "\n" for point in clock.points)
    meter.steps, meter.seconds = result.steps, result.seconds
    parameters = sum(weight.size for weight in read_model(out).weights.values())
    meter.report(parameters, precision(config), "zhuyi train", "zhuyi")


def without_dev(config: Config) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"dev_source": None, "dev_target": None})})


def main() -> None:
    run = arguments()
    config = configuration(run)
    if run.is_curve:
        curve(run, config)
    else:
        measure(run, config)


if __name__ == "__main__":
    main()
