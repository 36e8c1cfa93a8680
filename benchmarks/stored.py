"""The files of results/."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zhuyi.files import write_atomically

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> Any:
    """The content of one file of results, or None if it does not exist."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def save(name: str, result: Any) -> Path:
    """Write one file of results, complete or not at all."""
    path = RESULTS / f"{name}.json"
    write_atomically(path, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    return path


def spread(values: Sequence[float]) -> dict[str, float]:
    """The smallest, the median and the largest of some measurements."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}
