"""Copy and reverse random symbols: how far do attention, convolution and recurrence carry them?

    python benchmarks/copy_task.py --work DIR [--runs 3] [--jobs 2] [--only encoder-decoder/copy decoder/reverse]

The lines are made on the spot: 1 to 200 of 20 symbols, drawn evenly, so that nothing can be guessed; short lines are
more frequent than long ones, because a model learns the task on them first. Each task is one `zhuyi compare` with equal
parameters and a budget in updates, in two shapes. In the encoder–decoder a mixer stands in both stacks, and cross
attention between them: what is mixed only has to say where a symbol stands. In the decoder shape there is no cross
attention: the mixer itself has to bring every symbol from the source to its place in the target.

All mixers have the same positional encoding, which is added to the embeddings (sinusoidal): rotary positions would be
given to attention alone. All have the same kernel, layers, rate and budget, chosen so that attention learns the tasks.

Each model is scored on lines of 10, 20, … 200 symbols: the share of right symbols where the right ones before it are
given (teacher forcing, END counted), and of lines that greedy search writes without a mistake. It continues where it
was stopped, and with more --runs it adds them. Writes results/copy-task.json, which docs/pictures/copy_task.py draws.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

from machine import describe
from stored import load, save

import zhuyi
from zhuyi.comparison import VariantReport
from zhuyi.config import Config, build_config
from zhuyi.data.sequences import InMemory
from zhuyi.engine.torch import TorchEngine
from zhuyi.files import write_atomically

SYMBOLS = "abcdefghijklmnopqrst"
LONGEST = 200
LENGTHS = range(10, LONGEST + 1, 10)
LINES = 20
"""Of each length that is scored."""
PAIRS = 60_000
MIXERS = ("attention", "convolution", "recurrence")
TASKS = {"copy": lambda line: line, "reverse": lambda line: line[::-1]}
SHAPES: dict[str, dict[str, Any]] = {
    "encoder-decoder": {"model": {"encoder_layers": 2, "decoder_layers": 2}, "training": {"steps": 1500}},
    "decoder": {"model": {"decoder_layers": 4}, "training": {"steps": 2000}},
}
MODEL = {
    **{"width": 64, "heads": 4, "feed_forward": 256, "dropout": 0.0, "kernel": 5, "positions": "sinusoidal"},
    "max_length": LONGEST + 2,
}
TRAINING = {
    **{"tokens_per_batch": 2048, "learning_rate": 2e-3, "warmup": 50, "label_smoothing": 0.0, "weight_decay": 0.0},
    **{"metric": "exact", "keep": 1, "average": 1, "threads": 1, "precision": "float32", "device": "cpu"},
}


def write_data(folder: Path) -> None:
    """Training lines of all lengths, and lines of `LENGTHS` to be scored, with their copies and reversals."""
    draw = random.Random(1)

    def line(length: int) -> list[str]:
        return draw.choices(SYMBOLS, k=length)

    sets = {
        "train": [line(1 + int(LONGEST * draw.random() ** 2)) for _ in range(PAIRS)],
        "dev": [line(length) for length in LENGTHS for _ in range(LINES)],
    }
    for name, lines in sets.items():
        for side, change in {"source": TASKS["copy"], **TASKS}.items():
            text = "".join(f"{' '.join(change(each))}\n" for each in lines)
            write_atomically(folder / f"{name}.{side}", text.encode())


def config_of(shape: str, task: str, folder: Path) -> Config:
    """The settings that all mixers share; half of the budget is over before the first validation, which costs time."""
    steps = SHAPES[shape]["training"]["steps"]
    return build_config(
        {
            "data": {
                **{"source": str(folder / "train.source"), "target": str(folder / f"train.{task}")},
                **{"dev_source": str(folder / "dev.source"), "dev_target": str(folder / f"dev.{task}")},
            },
            "text": {"kind": "whitespace"},
            "model": {**MODEL, "shape": shape, **SHAPES[shape]["model"]},
            "training": {**TRAINING, "steps": steps, "save_every": steps // 2},
            "decoding": {"beam": 1},
        }
    )


def by_length(run: Path, task: str, folder: Path) -> list[dict[str, float]]:
    """Of each length, in per cent: right symbols by teacher forcing, and right lines by greedy search."""
    translator = zhuyi.load(run, device="cpu", engine="torch")
    engine, tokenizers = translator.engine, translator.tokenizers
    assert isinstance(engine, TorchEngine)
    sources, targets = ((folder / f"dev.{side}").read_text(encoding="utf-8").splitlines() for side in ("source", task))
    written = json.loads((run / "outputs.json").read_bytes())["dev"]["hypotheses"]
    found = []
    for length in LENGTHS:
        lines = [number for number, line in enumerate(sources) if len(line.split()) == length]
        losses = engine.losses(
            InMemory(
                tokenizers.source.encode([sources[number] for number in lines]),
                tokenizers.target.encode([targets[number] for number in lines]),
            )
        )
        exact = sum(written[number] == targets[number] for number in lines)
        symbols = 100 * losses.right / losses.tokens
        found.append({"length": length, "symbols": round(symbols, 2), "exact": round(100 * exact / len(lines), 1)})
    return found


def record(variant: VariantReport, directory: Path, task: str, folder: Path) -> dict[str, Any]:
    """What is kept of one mixer."""
    seeds = range(1, len(variant.curves) + 1)
    return {
        "parameters": variant.parameters,
        "feed_forward": variant.settings.get("model.feed_forward", MODEL["feed_forward"]),
        "tokens_per_second": round(variant.tokens_per_second, 1),
        "reach": {stack: reach.positions for stack, reach in variant.reach.items()},
        "loss": variant.losses["dev"].values,
        "seeds": [by_length(directory / "runs" / f"{variant.name}-s{seed}", task, folder) for seed in seeds],
    }


def keep(name: str, mixers: dict[str, Any]) -> None:
    """Put a task into the result, beside the others that it has."""
    result = load("copy-task") or {"tasks": {}}
    shape = SHAPES[name.split("/")[0]]
    task = {"updates": shape["training"]["steps"], "layers": shape["model"], "machine": describe(1), "mixers": mixers}
    settings = {"model": MODEL, "training": TRAINING, "symbols": len(SYMBOLS), "lines": LINES}
    save("copy-task", {**settings, "tasks": {**result["tasks"], name: task}})


def main() -> None:
    every = [f"{shape}/{task}" for shape in SHAPES for task in TASKS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=1, help="of each mixer, with the seeds 1, 2, …")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="SHAPE/TASK")
    arguments = parser.parse_args()
    folder = arguments.work / "copy-data"
    if not (folder / "dev.reverse").exists():  # written last
        write_data(folder)
    for name in arguments.only:
        shape, task = name.split("/")
        directory = arguments.work / f"copy-{shape}-{task}"
        found = zhuyi.compare(
            config_of(shape, task, folder),
            {"model.mixer": MIXERS},
            directory,
            seeds=arguments.runs,
            equal="parameters",
            jobs=arguments.jobs,
            listener=lambda event: print(event, flush=True),
        )
        if found is None:
            return
        keep(name, {each.name: record(each, directory, task, folder) for each in found.variants})


if __name__ == "__main__":
    main()
