"""The row `products`: multiplications a second of one core, of its instructions and of the engine's `Linear`."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatch_build import COMPILE, SOURCES, chosen_target
from zhuyi.engine.library import DIRECTORY, usable

PROGRAM = Path(__file__).with_name("products.cpp")
ENGINE = Path(__file__).parents[2] / SOURCES
PRECISIONS = ("float32", "bf16", "int8")
SIZES = ("10,000 × 128", "2,048 × 512", "512 × 2,048")
"""Of the weights, as products.cpp has them; with 64 rows."""


def measure(rounds: int) -> dict[str, Any]:
    """Every instruction set that this machine runs, in turn: for each precision, the runs."""
    target = chosen_target()
    assert target is not None, "no engine can be compiled for this machine"
    compiler = [sys.executable, "-m", "ziglang", "c++", "-target", target.triple]
    found: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in usable(DIRECTORY):
            objects = [Path(folder, f"{name}.{source.stem}.o") for source in (PROGRAM, ENGINE / "cpu.cpp")]
            for source, made in zip((PROGRAM, ENGINE / "cpu.cpp"), objects, strict=True):
                flags = [*COMPILE, *target.sets[name], "-I", ENGINE]
                subprocess.run([*compiler, *flags, "-c", source, "-o", made], check=True)
            subprocess.run([*compiler, *objects, "-o", Path(folder, name)], check=True)
            found[name] = []
        for _ in range(rounds):
            for name, runs in found.items():
                runs.append(json.loads(subprocess.check_output([Path(folder, name)])))
    for name, runs in found.items():
        print(f"products, {name}: {runs[-1]}", flush=True)
    return {"title": "products, one core", "precisions": PRECISIONS, "sizes": SIZES, "products": found}
