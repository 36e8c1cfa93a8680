"""Attention, convolution and recurrence, in the encoder and in the decoder: the nine combinations, on three tasks.

    python benchmarks/mixers.py DATA dates g2p multi30k --work DIR [--jobs 2] [--runs 3]

DATA has the folders `g2p/` and `multi30k/` with the files that examples/g2p.toml and examples/multi30k_en_de.toml name;
the dates are made on the spot. Each task is one `zhuyi compare`, with equal parameters and a budget in updates, so that
other work on the machine changes no score. It continues where it was stopped. Writes results/mixers-TASK.json (the
comparison's own comparison.json).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stored import save

from zhuyi.data.dates import date_pairs, write_dates

ROOT = Path(__file__).parents[1]
MIXERS = "attention,convolution,recurrence"


@dataclass(frozen=True)
class Task:
    config: Path
    settings: tuple[str, ...]
    """Besides those of the configuration."""


TASKS = {
    "dates": Task(
        ROOT / "src/zhuyi/dates.toml",
        (
            *("training.steps=350", "training.warmup=100", "training.save_every=25", "training.keep=1"),
            *("training.keep_at=[]", "training.label_smoothing=0.0"),
        ),
    ),
    "g2p": Task(
        ROOT / "examples/g2p.toml",
        (
            *("training.steps=450", "training.warmup=100", "training.save_every=50", "training.keep=1"),
            *("training.average=1", "decoding.beam=1"),
        ),
    ),
    "multi30k": Task(
        ROOT / "examples/multi30k_en_de.toml",
        (
            *("training.steps=350", "training.warmup=100", "training.save_every=50", "training.keep=1"),
            *("training.average=1", "decoding.beam=1"),
            *("model.width=128", "model.feed_forward=256", "model.decoder_layers=4"),  # those of the preset tiny
        ),
    ),
}
"""A run takes about 50, 75 and 150 seconds of one core."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("tasks", nargs="+", choices=TASKS)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3, help="of each variant, with the seeds 1, 2, …")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    arguments = parser.parse_args()
    for name in arguments.tasks:
        compare(
            place(name, arguments.data, arguments.work),
            [f"model.{side}_mixer={MIXERS}" for side in ("encoder", "decoder")],
            [*TASKS[name].settings, *arguments.settings],
            arguments.work / f"mixers-{name}",
            runs=arguments.runs,
            jobs=arguments.jobs,
        )


def compare(config: Path, vary: Sequence[str], settings: Sequence[str], out: Path, *, runs: int, jobs: int) -> None:
    """`zhuyi compare` with equal parameters; the result gets the name of `out`."""
    command = ["compare", str(config), "--equal", "parameters", "--out", str(out)]
    command += ["--seeds", str(runs), "--jobs", str(jobs)]
    command += [word for each in vary for word in ("--vary", each)]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run([sys.executable, "-m", "zhuyi", *command], check=True)
    save(out.name, json.loads((out / "comparison.json").read_text(encoding="utf-8")))


def place(name: str, data: Path, work: Path) -> Path:
    """The configuration of a task, beside its data."""
    if name == "dates":
        folder = work / "data"
        if not (folder / "dates").exists():
            write_dates(folder / "dates", date_pairs())
    else:
        folder = data
    config = work / f"{name}.toml"
    work.mkdir(parents=True, exist_ok=True)
    text = TASKS[name].config.read_text(encoding="utf-8")
    for own in ("dates", "g2p", "multi30k"):
        text = text.replace(f'"{own}/', f'"{(folder / own).resolve()}/')
    config.write_text(text, encoding="utf-8")
    return config


if __name__ == "__main__":
    main()
