"""Compare the training of this version with that of another checkout: the same bytes, and the same speed.

    python benchmarks/before_after.py bytes --before ../zhuyi-before --source train.en --target train.de
    python benchmarks/before_after.py speed --before ../zhuyi-before --source train.en --target train.de

`bytes` compares losses, weights and moments of 40 updates, bit for bit; tensors of an older format are first
renamed as `zhuyi.upgrade` does. It exits with 1 if anything differs. `speed` compares tokens a second, in alternating
runs. Each run is `zhuyi train` of either checkout, in a process of its own (or two, by torchrun), with a cache of its
own. Results are in results/same-training.json and results/same-speed.json.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from machine import describe
from safetensors.torch import load_file
from stored import save, spread

from zhuyi.directory import read_metrics
from zhuyi.upgrade import renamed_weights

ROOT = Path(__file__).parents[1]
UPDATES = 40
COMMON = ("training.threads=1", f"training.steps={UPDATES}", "training.log_every=1", "training.warmup=4")
SMALL = ("model.width=64", "model.feed_forward=128", "training.tokens_per_batch=2000", "text.vocabulary=2000")

CASES: dict[str, tuple[tuple[str, ...], int]] = {
    # settings, and the number of processes
    "default recipe": (("training.tokens_per_batch=1000",), 1),
    "default recipe, float32": ((*SMALL, "training.precision=float32"), 1),
    "paper": (("preset=paper", "training.tokens_per_batch=500", "text.vocabulary=8000"), 1),
    "convolution": ((*SMALL, "model.mixer=convolution"), 1),
    "recurrence": ((*SMALL, "model.mixer=recurrence"), 1),
    "learned positions, nothing tied": ((*SMALL, "model.positions=learned", "model.tie=none"), 1),
    "separate vocabularies, grouped queries": ((*SMALL, "text.shared=false", "model.key_value_heads=2"), 1),
    "accumulated AdamW": ((*SMALL, "training.optimizer=adamw", "training.ema=0", "training.accumulate=2"), 1),
    "two processes": (SMALL, 2),
    "two processes, sharded": ((*SMALL, "training.shard=true"), 2),
}


def train(checkout: Path, settings: tuple[str, ...], processes: int, data: list[str], out: Path) -> None:
    """Run `zhuyi train` of a checkout.

    Raises:
        RuntimeError: with what it printed, if it fails.
    """
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "ZHUYI_CACHE": str(out / "cache")}
    environment["OMP_NUM_THREADS"] = "1"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", "zhuyi", "train", *data]
    command += ["--out", str(out / "run")]
    for setting in (*COMMON, *settings):
        name, _, value = setting.partition("=")
        command += ["--preset", value] if name == "preset" else ["--set", setting]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stdout + run.stderr)


def losses(run: Path) -> list[tuple[float, float]]:
    """Loss and norm of the gradient of each update."""
    records = read_metrics(run / "metrics.jsonl")
    return [(record["loss"], record["norm"]) for record in records if "loss" in record]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """Weights, moments and random states of the last checkpoint, by the names of this version."""
    folder = run / "checkpoints" / f"step-{UPDATES:06d}"
    files = sorted(folder.glob("*.safetensors"))
    return renamed_weights({name: tensor for file in files for name, tensor in load_file(file).items()})


def compare(before: Path, after: Path) -> dict[str, Any]:
    """How many updates and tensors are equal, bit for bit."""
    old, new = losses(before), losses(after)
    ours, theirs = tensors(after), tensors(before)
    equal = [name for name in ours.keys() & theirs.keys() if torch.equal(ours[name], theirs[name])]
    return {
        "updates": len(new),
        "equal losses and norms": sum(a == b for a, b in zip(old, new, strict=True)),
        "tensors": len(ours.keys() | theirs.keys()),
        "equal tensors": len(equal),
        "last loss": new[-1][0],
    }


def compare_bytes(before: Path, data: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (settings, processes) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            for side, checkout in (("before", before), ("after", ROOT)):
                train(checkout, settings, processes, data, Path(folder, side))
            found[name] = {"processes": processes, **compare(Path(folder, "before/run"), Path(folder, "after/run"))}
        print(name, found[name], flush=True)
    return found


NO_SAVE = "training.save_every=1000"  # but at the end
SPEED_CASES = {
    "tiny": ("preset=tiny", "training.tokens_per_batch=4096", "training.steps=100", "training.log_every=20", NO_SAVE),
    "base": (
        *("preset=paper", "text.vocabulary=10000", "training.tokens_per_batch=2048"),
        *("training.steps=10", "training.log_every=2", "training.warmup=4000", NO_SAVE),
    ),
}
ROUNDS = 3


def compare_speed(before: Path, data: list[str]) -> dict[str, Any]:
    """Tokens a second, of alternating runs; of each run the median of its records but for the first."""
    found: dict[str, Any] = {}
    for name, settings in SPEED_CASES.items():
        speeds: dict[str, list[float]] = {"before": [], "after": []}
        for number in range(ROUNDS):
            sides = [("before", before), ("after", ROOT)]
            for side, checkout in sides if number % 2 else reversed(sides):
                with tempfile.TemporaryDirectory() as folder:
                    train(checkout, settings, 1, data, Path(folder))
                    records = read_metrics(Path(folder, "run/metrics.jsonl"))
                speeds[side].append(statistics.median(record["tokens_per_second"] for record in records[1:]))
        ratios = [after / before for before, after in zip(speeds["before"], speeds["after"], strict=True)]
        found[name] = {**speeds, "ratio": spread(ratios)}
        print(name, found[name], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["bytes", "speed"])
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the version to compare with")
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    arguments = parser.parse_args()
    data = ["--source", str(Path(arguments.source).resolve()), "--target", str(Path(arguments.target).resolve())]
    before = arguments.before.resolve()
    commits = {
        side: subprocess.check_output(["git", "-C", str(path), "rev-parse", "HEAD"], text=True).strip()
        for side, path in (("before", before), ("after", ROOT))
    }
    result: dict[str, Any] = {"machine": describe(threads=1), "commits": commits}
    if arguments.what == "bytes":
        result["cases"] = compare_bytes(before, data)
        result["same"] = all(
            case["updates"] == case["equal losses and norms"] and case["tensors"] == case["equal tensors"]
            for case in result["cases"].values()
        )
    else:
        result["cases"] = compare_speed(before, data)
    save("same-training" if arguments.what == "bytes" else "same-speed", result)
    sys.exit(not result.get("same", True))


if __name__ == "__main__":
    main()
