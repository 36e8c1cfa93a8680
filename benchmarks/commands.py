"""Models that are trained and scored by the commands of zhuyi, as a user does it."""

import json
import shlex
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zhuyi.config import load_config
from zhuyi.directory import load_config_of, read_metrics, read_model


def zhuyi(*arguments: str | Path) -> str:
    """What a command prints. If it fails, which it says itself, this process ends."""
    command = [sys.executable, "-m", "zhuyi", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8")
    if done.returncode:
        sys.exit(f"this failed: {shlex.join(['zhuyi', *command[3:]])}")
    return done.stdout


def train(config: Path, folder: Path, settings: Mapping[str, Any]) -> Path:
    """Train a model, or go on with it.

    Returns:
        Its directory, which is named like `folder` with a checksum of all settings: others make another model.
    """
    overrides = [f"{key}={value}" for key, value in settings.items()]
    checksum = zlib.crc32(load_config(config, overrides).model_dump_json(exclude={"data"}).encode())
    out = folder.with_name(f"{folder.name}-{checksum:08x}")
    options = [word for override in overrides for word in ("--set", override)]
    print(zhuyi("train", config, "--out", out, "--resume", *options), flush=True)
    return out


def evaluate(models: Sequence[Path], source: Path, target: Path, metric: str, *options: str) -> dict[str, Any]:
    """The loss, and the value and the signature of a metric, of a model or of an ensemble."""
    files = ("--source", source, "--target", target)
    found = json.loads(zhuyi("evaluate", *models, *files, "--metric", metric, *options, "--json"))
    return {"loss": found.get("loss"), **{key: found["scores"][metric][key] for key in ("value", "signature")}}


def training_of(model: Path) -> dict[str, Any]:
    """How long a run took, with how many threads, and of how large a model."""
    records = read_metrics(model / "metrics.jsonl")
    last = max((model / "checkpoints").glob("step-*"))
    return {
        "seed": load_config_of(model).training.seed,
        "steps": max(record["step"] for record in records),
        "minutes": round(max(record["seconds"] for record in records) / 60, 1),
        "threads": json.loads((last / "run_state.json").read_text(encoding="utf-8"))["threads"],
        "parameters": sum(weight.size for weight in read_model(model).weights.values()),
    }
