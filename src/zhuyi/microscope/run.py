"""What is known of the run that made a model, from files that are no part of it: how it went, and what to look at.

    metrics.jsonl   the losses and scores of the run
    examples.tsv    sentences to begin with, of whoever made the model: SENTENCE, or SENTENCE tab RIGHT ANSWER

Where there is no `examples.tsv`, the server takes lines of the dev set, if its files are still where the run found
them. A page that is a file holds no line of the data: it has the sentences of `examples.tsv` or none.
"""

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from zhuyi.config import Config
from zhuyi.data.corpus import Corpus
from zhuyi.directory import METRICS, read_metrics
from zhuyi.encoding import decoded
from zhuyi.errors import DataError
from zhuyi.microscope.schema import Curve, Curves, Example

EXAMPLES = "examples.tsv"
MAX_EXAMPLES = 6
MAX_POINTS = 200
"""Of a curve: more than that is no finer on a screen."""
MAX_DEV_LINES = 1000
"""Read in order to choose examples from them."""


def examples(directory: Path) -> list[Example]:
    """Those of the `examples.tsv` in a model directory; none, where there is no such file.

    Raises:
        DataError: if it is not UTF-8.
    """
    path = directory / EXAMPLES
    if not path.is_file():
        return []
    with path.open("rb") as file:
        pairs = [line.partition("\t") for line in decoded(file, f"{path}:")]
    return [Example(text=text, target=target) for text, _, target in pairs if text.strip()]


def examples_of_dev_set(config: Config) -> list[Example]:
    """Some lines of the dev set of a run, evenly spread; none, where it has none, or its files are gone."""
    source, target = config.data.dev_source, config.data.dev_target
    if source is None or target is None or not (Path(source).is_file() and Path(target).is_file()):
        return []
    try:
        pairs = [pair for pair in islice(Corpus(source, target), MAX_DEV_LINES) if pair.source.strip()]
    except DataError:  # other files of the same names
        return []
    return [Example(text=pair.source, target=pair.target) for pair in _evenly(pairs, MAX_EXAMPLES)]


def curves(directory: Path) -> Curves | None:
    """How the run in a directory went, where its record is there."""
    records = read_metrics(directory / METRICS)
    validations = [record for record in records if "dev_loss" in record]
    names = [name for name in (validations[0] if validations else {}) if name.startswith("dev_") and name != "dev_loss"]
    score = names[0] if names else ""
    found = Curves(
        loss=_curve(records, "loss"),
        dev_loss=_curve(validations, "dev_loss"),
        metric=score.removeprefix("dev_"),
        score=_curve(validations, score),
    )
    return found if found.loss.steps else None


def _curve(records: Sequence[dict[str, Any]], name: str) -> Curve:
    """A run that diverged has records that are no numbers."""
    points = [(each["step"], each[name]) for each in records if name in each and math.isfinite(each[name])]
    points = _evenly(points, MAX_POINTS)
    return Curve(steps=[step for step, _ in points], values=[value for _, value in points])


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, the first and the last included."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]
