"""Runs small enough for a test: a copy task on letters, a model of one layer, a second or less."""

import io
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from zhuyi.config import Config, build_config
from zhuyi.display import ProgressDisplay
from zhuyi.training.events import Event, Updated
from zhuyi.training.recipe import Result, train

BASE: dict[str, dict[str, Any]] = {
    "text": {"kind": "character"},
    "model": {
        "width": 16,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "feed_forward": 16,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "max_length": 24,
    },
    "training": {
        "steps": 20,
        "tokens_per_batch": 150,
        "schedule": "constant",
        "warmup": 0,
        "save_every": 5,
        "average": 1,
        "metric": "exact",
        "precision": "float32",
        "device": "cpu",
    },
    "decoding": {"beam": 1},
}


def write_lines(path: Path, count: int, seed: int, letters: str = "abcdef", longest: int = 6) -> str:
    """Lines of random letters, none of them empty."""
    rng = random.Random(seed)
    lines = ["".join(rng.choices(letters, k=rng.randint(1, longest))) for _ in range(count)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def copying(
    folder: Path, *, dev: bool = True, pairs: int = 60, letters: str = "abcdef", longest: int = 6, **sections: Any
) -> Config:
    """Learn to copy: the target is the source. Settings given here win over `BASE`; None takes one away."""
    train_lines = write_lines(folder / "train.txt", pairs, 1, letters, longest)
    data = {"source": train_lines, "target": train_lines}
    if dev:
        dev_lines = write_lines(folder / "dev.txt", 8, 2, letters, longest)
        data |= {"dev_source": dev_lines, "dev_target": dev_lines}
    tree = {name: {**BASE.get(name, {}), **sections.get(name, {})} for name in BASE.keys() | sections.keys()}
    tree["data"] = {**data, **sections.get("data", {})}
    return build_config({name: {k: v for k, v in values.items() if v is not None} for name, values in tree.items()})


SHAPES: dict[str, dict[str, Any]] = {
    "decoder": {"model": {"shape": "decoder"}},
    "language model": {"model": {"shape": "decoder"}, "training": {"metric": "bits_per_byte"}, "data": {"text": True}},
    "labels of lines": {"model": {"shape": "encoder"}, "training": {"metric": "accuracy"}},
    "labels of tokens": {"model": {"shape": "encoder", "labels": "token"}, "training": {"metric": "macro_f1"}},
    "masked tokens": {
        "model": {"shape": "encoder"},
        "training": {"metric": "accuracy", "objective": "masked"},
        "data": {"text": True},
    },
}
"""Settings of a run of each shape and objective but the encoder–decoder's, for `of_shape`."""


def of_shape(folder: Path, shape: str, **sections: Any) -> Config:
    """A run of `SHAPES`: on lines of `copying`, on these as running text, or on labels that follow from them."""
    settings = {name: {**SHAPES[shape].get(name, {}), **sections.get(name, {})} for name in (*BASE, "data")}
    config = copying(folder, **{**settings, "data": {}, "model": sections.get("model", {}), "training": {}})
    data = config.data.model_dump(exclude_none=True)
    text = {"kind": "character"}
    if "text" in settings["data"]:
        data = {"text": data["source"], "dev_text": data["dev_source"]}
    elif settings["model"]["shape"] == "encoder":
        text = {"source_kind": "character"}
        for part in ("", "dev_"):
            lines = Path(data[f"{part}source"]).read_text(encoding="utf-8").splitlines()
            labels = [line[0] if shape == "labels of lines" else " ".join(line) for line in lines]
            path = folder / f"{part}labels.txt"
            path.write_text("".join(f"{label.upper()}\n" for label in labels), encoding="utf-8")
            data[f"{part}target"] = str(path)
    tree = {name: {**BASE[name], **settings[name]} for name in BASE}
    return build_config({**tree, "text": text, "data": data})


def with_training(config: Config, **values: Any) -> Config:
    return config.model_copy(update={"training": config.training.model_copy(update=values)})


def said(config: Config, out: Path, resume: bool = False) -> tuple[Result, str]:
    """Train, and what is shown."""
    console = Console(record=True, width=500, file=io.StringIO())
    with ProgressDisplay(console) as display:
        result = train(config, out, resume=resume, listeners=[display])
    return result, console.export_text()


def after(step: int, action: Callable[[], object]) -> Callable[[Event], None]:
    """A listener that does something once, when an update has been made."""

    def listener(event: Event) -> None:
        if isinstance(event, Updated) and event.step == step:
            action()

    return listener


def state_of(out: Path, step: int) -> dict[str, bytes]:
    """Weights, moments and random states after a step, to the byte."""
    folder = out / "checkpoints" / f"step-{step:06d}"
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "run_state.safetensors")}


def weights(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()


def stopped(run: Path, step: int, place: Path) -> Path:
    """What a run would have left if it had been killed after saving this step."""
    shutil.copytree(run, place)
    for path in place.glob("checkpoints/*"):
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)
    (place / "model.safetensors").unlink()
    return place
