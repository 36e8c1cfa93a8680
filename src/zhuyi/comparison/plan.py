"""The directory of a comparison: its variants, and the directories of its runs.

DIR/plan.json              the settings of each variant
DIR/runs/NAME-sN/          the run of a variant with seed N, from 1
DIR/runs/NAME-sN.log       the output of this run
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zhuyi.comparison.variants import Variant, to_tree
from zhuyi.config import Config, build_config
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.files import write_atomically

PLAN = "plan.json"
OUTPUTS = "outputs.json"
"""The scores and outputs, in the directory of a finished run."""


def run_directory(directory: Path, name: str, seed: int) -> Path:
    """The directory of the run of a variant with a seed, which is counted from 1."""
    return directory / "runs" / f"{name}-s{seed}"


def finished(run: Path) -> bool:
    """Whether the run in a directory has finished."""
    return (run / OUTPUTS).exists()


@dataclass(frozen=True)
class Plan:
    """The plan of a comparison."""

    variants: dict[str, Config]
    """The configurations of the variants, by name."""

    @classmethod
    def read(cls, directory: Path) -> "Plan":
        """Read the plan of a directory.

        Raises:
            CheckpointError: if it cannot be read.
        """
        try:
            trees = json.loads((directory / PLAN).read_bytes())
            return cls({name: build_config(tree) for name, tree in trees.items()})
        except (OSError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{directory / PLAN}: cannot read the plan of a comparison: {error}") from error


def claim(directory: Path, variants: Sequence[Variant]) -> None:
    """Write the plan into a directory, or check that the plan in it is the same.

    Raises:
        ConfigError: if the directory belongs to another comparison.
        CheckpointError: if the directory contains something else, or cannot be written.
    """
    wanted = {variant.name: to_tree(variant.config) for variant in variants}
    if (directory / PLAN).exists():
        there = {name: to_tree(config) for name, config in Plan.read(directory).variants.items()}
        if there != wanted:
            raise ConfigError(
                f"{directory} holds another comparison ({_difference(there, wanted)}): give the settings that it began "
                "with, or choose another place with --out"
            )
    elif directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CheckpointError(f"{directory} exists and is not a comparison's: choose another place with --out")
    else:
        write_atomically(directory / PLAN, (json.dumps(wanted, ensure_ascii=False, indent=2) + "\n").encode())


def _difference(there: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first difference, in words."""
    if there.keys() != wanted.keys():
        return f"its variants are {', '.join(there)}"
    for name, tree in wanted.items():
        for section in tree.keys() | there[name].keys():
            before, now = there[name].get(section, {}), tree.get(section, {})
            if not (isinstance(before, dict) and isinstance(now, dict)):
                before, now = {"": before}, {"": now}
            for key in sorted(before.keys() | now.keys()):
                if before.get(key) != now.get(key):
                    return f"{section}.{key}".rstrip(".") + f" is {before.get(key)!r} there, and {now.get(key)!r} here"
    return "its variants are in another order"
