"""Compare 40 updates of this version with those of another checkout: losses, weights and moments, bit for bit.

    python benchmarks/same_training.py --before ../zhuyi-before --source train.en --target train.de

Each case trains with the command line of either checkout, in a process (or two, by torchrun), with a cache of
its own. Tensors that an older format names otherwise are compared after the renaming of `zhuyi.upgrade`. Writes
results/same-training.json; the exit code is 1 if anything differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from machine import describe
from safetensors.torch import load_file

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
        command += ["--set", setting]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stdout + run.stderr)


def losses(run: Path) -> list[tuple[float, float]]:
    """Loss and norm of the gradient of each update."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the version to compare with")
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--only", help="cases whose name has this")
    arguments = parser.parse_args()
    data = ["--source", str(Path(arguments.source).resolve()), "--target", str(Path(arguments.target).resolve())]
    found: dict[str, Any] = {}
    for name, (settings, processes) in CASES.items():
        if arguments.only and arguments.only not in name:
            continue
        preset = [value.removeprefix("preset=") for value in settings if value.startswith("preset=")]
        chosen = [*data, *(["--preset", preset[0]] if preset else [])]
        rest = tuple(value for value in settings if not value.startswith("preset="))
        with tempfile.TemporaryDirectory() as folder:
            for side, checkout in (("before", arguments.before.resolve()), ("after", ROOT)):
                train(checkout, rest, processes, chosen, Path(folder, side))
            found[name] = {"processes": processes, **compare(Path(folder, "before/run"), Path(folder, "after/run"))}
        print(name, found[name], flush=True)
    commits = {
        side: subprocess.check_output(["git", "-C", str(path), "rev-parse", "HEAD"], text=True).strip()
        for side, path in (("before", arguments.before), ("after", ROOT))
    }
    same = all(
        each["updates"] == each["equal losses and norms"] and each["tensors"] == each["equal tensors"]
        for each in found.values()
    )
    if not arguments.only:
        result = {"machine": describe(threads=1), "commits": commits, "same": same, "cases": found}
        path = ROOT / "benchmarks" / "results" / "same-training.json"
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.exit(not same)


if __name__ == "__main__":
    main()
