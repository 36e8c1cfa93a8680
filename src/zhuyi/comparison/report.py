"""The result of a comparison, as JSON, as Markdown and as a picture: all three from one record."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zhuyi.comparison.bootstrap import LEVEL, RESAMPLES, Interval
from zhuyi.comparison.measures import AT_ONCE, CONTINUED, DISTANCE, ONE_BY_ONE, Curve, Reach, Speed
from zhuyi.config import Metric
from zhuyi.files import write_atomically

JSON, MARKDOWN, PICTURE = "comparison.json", "comparison.md", "comparison.svg"
COLOURS = ("#1f5fa8", "#c2571a", "#6a8f3c", "#8a5aa8", "#b23a48", "#2a8c82", "#8c6d1f", "#5a6570", "#d17fb0")
LEGEND_CHARACTERS = 100
"""In a row of the legend."""
POINTS = 60
"""Of a band: where the curves of the seeds are compared."""


@dataclass(frozen=True)
class Spread:
    """A value of each seed."""

    values: list[float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None of a single one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    def show(self, digits: int) -> str:
        """Mean ± deviation, with so many digits after the point."""
        return f"{self.mean:.{digits}f}" + (f" ± {self.deviation:.{digits}f}" if self.deviation is not None else "")


@dataclass(frozen=True)
class VariantReport:
    """What was found of one variant."""

    name: str
    settings: dict[str, Any]
    """Those that differ between variants."""
    parameters: int
    scores: dict[str, Spread]
    """By the name of the set ("dev", "test"): of the weights that were kept."""
    losses: dict[str, Spread]
    """Likewise, in nats a target token."""
    tokens_per_second: float
    """Of training: the median over the records of all seeds."""
    memory: int | None
    """Most bytes that a process of training used, Python and its libraries included; on a GPU, bytes allocated there.
    None where the system does not say."""
    decoding: Speed | None
    """With the weights of the first seed; None where nothing is decoded: masked pre-training."""
    reach: dict[str, Reach]
    """By stack."""
    curves: list[Curve]
    """Of each seed."""


@dataclass(frozen=True)
class Difference:
    """Between the first variant and another one."""

    name: str
    """Of the other one."""
    score: Interval
    """Its mean score over the seeds less that of the first variant, in points."""


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`."""

    metric: Metric
    higher_is_better: bool
    signatures: dict[str, list[str]]
    """How scores were computed, each with the names of its variants: they may differ in the search."""
    seeds: list[int]
    """`training.seed` of the runs of each variant."""
    budget: dict[str, float]
    """`training.steps`, `epochs` or `minutes` of a run, as far as all variants have the same."""
    equal: str | None
    """What was made equal: "parameters"."""
    variants: list[VariantReport]
    compared_on: str
    """The set whose lines the differences are of: "test", or "dev" where there is no test set."""
    compared_lines: int
    """How many it has; of running text, windows."""
    unit: Literal["lines", "windows"]
    """What `compared_lines` counts, and what is resampled for the differences."""
    differences: list[Difference]
    """Of each variant but the first."""
    engine: str
    """What decoded, in all variants."""
    threads: int
    """Of the CPU, in each run."""
    machine: dict[str, Any]
    """Processor, cores, GPU and versions."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON; a `Spread` has its mean and deviation beside its values."""
        tree = asdict(self)
        for variant, record in zip(self.variants, tree["variants"], strict=True):
            for kind, spreads in (("scores", variant.scores), ("losses", variant.losses)):
                record[kind] = {
                    name: {"mean": each.mean, "deviation": each.deviation, "values": each.values}
                    for name, each in spreads.items()
                }
        return tree

    def save(self, directory: Path) -> None:
        """Write `comparison.json`, `comparison.md` and `comparison.svg`.

        Raises:
            CheckpointError: if they cannot be written.
        """
        content = json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n"
        write_atomically(directory / JSON, content.encode())
        write_atomically(directory / MARKDOWN, self.to_markdown().encode())
        write_atomically(directory / PICTURE, draw(self))

    def to_markdown(self) -> str:
        """The tables, and how to read them."""
        first, several = self.variants[0], len(self.seeds) > 1
        best = "higher is better" if self.higher_is_better else "lower is better"
        mean = ": the mean over the seeds ± their sample standard deviation" if several else ""
        sets, fitted = list(first.scores), "model.feed_forward" if self.equal else None
        digits = 4 if self.metric == "bits_per_byte" else 2
        speeds, decoding = self._decoding()
        scores = [[each.scores[name].show(digits) for name in sets] for each in self.variants]
        budget = ", ".join(f"{value:,g} {name}" for name, value in self.budget.items())
        budget = f", {budget} a run" if budget else ""
        seeds = f"{_count(len(self.seeds), 'seed')} each (`training.seed` {', '.join(map(str, self.seeds))})"
        lines = [
            f"# Variants of {' and '.join(key for key in first_keys(self.variants) if key != fitted)}",
            "",
            f"{len(self.variants)} variants, {seeds}{budget}. Scores are `{self.metric}` ({best}).",
            "",
            f"![Score over updates and over minutes]({PICTURE})",
            "",
            "## Settings that differ",
            "",
            *_table(
                ["variant", *first_keys(self.variants)],
                [
                    [each.name, *(str(each.settings.get(key, "")) for key in first_keys(self.variants))]
                    for each in self.variants
                ],
            ),
            "",
            *(
                [
                    f"`model.feed_forward` was fitted, so that all have about the {first.parameters:,} parameters of "
                    f"{first.name}.",
                    "",
                ]
                if self.equal
                else []
            ),
            "## Results",
            "",
            *_table(
                ["variant", "parameters", *(f"{self.metric}, {name}" for name in sets), *(f"loss, {n}" for n in sets)],
                [
                    [each.name, f"{each.parameters:,}", *row, *(f"{each.losses[name].mean:.4f}" for name in sets)]
                    for each, row in zip(self.variants, scores, strict=True)
                ],
            ),
            "",
            f"A score is that of the weights that a run kept{mean}. The loss is in nats a target token.",
            "",
            f"## Differences from {first.name}",
            "",
            *_table(
                ["variant", f"{self.metric}, {self.compared_on}", f"{LEVEL:.0%} interval"],
                [
                    [
                        each.name,
                        f"{each.score.value:+.{digits}f}",
                        f"{each.score.low:+.{digits}f} … {each.score.high:+.{digits}f}",
                    ]
                    for each in self.differences
                ],
            ),
            "",
            f"Paired bootstrap (Koehn 2004) over the {self.compared_lines:,} {self.unit} of the "
            f"{self.compared_on} set, {RESAMPLES:,} resamples, of the mean over the seeds. An interval without 0 says "
            f"that other {self.unit} of this kind would hardly turn the difference around; it does not say what "
            f"other seeds would do{', for which see the deviations above' if several else ': give more --seeds'}.",
            "",
            "## Cost",
            "",
            *_table(
                ["variant", "training, tokens/s", "memory, MB", *speeds],
                [
                    [
                        each.name,
                        f"{each.tokens_per_second:,.0f}",
                        f"{each.memory / 1e6:,.0f}" if each.memory is not None else "unknown",
                        *_speeds(each.decoding),
                    ]
                    for each in self.variants
                ],
            ),
            "",
            "Training: source and target tokens a second, the median over the records of all seeds. Memory: the most "
            "that a process of training used, Python and its libraries included (on a GPU, what was allocated there). "
            f"{decoding}All with {_count(self.threads, 'CPU thread')}.",
            "",
            "## How far one layer reaches",
            "",
            *_table(
                [
                    "variant",
                    "stack",
                    "mixer",
                    "positions",
                    f"layers for {DISTANCE} positions",
                    f"path over {DISTANCE} positions",
                ],
                [
                    [
                        each.name,
                        stack,
                        reach.mixer,
                        f"all ({reach.measured} and more)"
                        if reach.positions == reach.measured
                        else str(reach.positions),
                        str(reach.layers),
                        str(reach.steps),
                    ]
                    for each in self.variants
                    for stack, reach in each.reach.items()
                ],
            ),
            "",
            "Positions: the largest distance between an output and an input that it depends on, in one layer of the "
            "trained model, by gradient. Path: the operations one after another between them (Vaswani et al. 2017, "
            "table 1).",
            "",
            "## How it was measured",
            "",
            *(f"- {name}: {value}" for name, value in self.machine.items() if value is not None),
            *(
                "- scores" + f" of {', '.join(names)}" * (len(self.signatures) > 1) + f": `{signature}`"
                for signature, names in self.signatures.items()
            ),
            "",
        ]
        return "\n".join(lines)

    def _decoding(self) -> tuple[list[str], str]:
        """The columns of `_speeds`, and what they mean."""
        speed = self.variants[0].decoding
        engine = f"all by {self.engine} (the native engine does not compute every variant). "
        if speed is None:
            return [], ""
        if speed.at_once is None:
            return ["writing, tokens/s"], f"Writing: up to {CONTINUED} tokens after one another, {engine}"
        means = f"Decoding: up to {AT_ONCE} dev lines in batches, and {ONE_BY_ONE} one by one, {engine}"
        return ["decoding, lines/s", "one by one"], means


def first_keys(variants: Sequence[VariantReport]) -> list[str]:
    """The keys of the settings of all variants, in order."""
    return list(dict.fromkeys(key for each in variants for key in each.settings))


def draw(comparison: Comparison) -> bytes:
    """Two panels as SVG: score over updates and over minutes. A line is the mean of the seeds, a band their range."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # and not pyplot, whose state is the user's

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for number, variant in enumerate(comparison.variants):
        colour = COLOURS[number % len(COLOURS)]
        style = ("-", "--", ":")[number // len(COLOURS) % 3]
        for axis, across in ((left, "updates"), (right, "minutes")):
            x, scores = _together([(getattr(curve, across), curve.scores) for curve in variant.curves])
            axis.plot(x, scores.mean(axis=0), style, color=colour, linewidth=1.8, label=variant.name)
            axis.fill_between(x, scores.min(axis=0), scores.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    for axis, across in ((left, "updates"), (right, "minutes")):
        axis.set_xlabel(across if across == "updates" else "minutes of training")
        axis.set_xlim(0, None)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    left.set_ylabel(f"{comparison.metric} (dev)")
    columns = max(1, LEGEND_CHARACTERS // (6 + max(len(each.name) for each in comparison.variants)))
    if len(comparison.seeds) > 1:
        left.set_title(f"mean of {len(comparison.seeds)} seeds; band: lowest to highest", loc="left", fontsize="small")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "zhuyi"}):  # the same figures give the same file
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _together(curves: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[Any, Any]:
    """Curves of several seeds at common points: x, and `seeds points` scores, linear between validations."""
    begin, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    points = np.linspace(begin, max(begin, end), POINTS)
    return points, np.array([np.interp(points, x, y) for x, y in curves])


def _speeds(decoding: Speed | None) -> list[str]:
    speeds = () if decoding is None else (decoding.at_once, decoding.one_by_one)
    return [f"{speed:,.1f}" for speed in speeds if speed is not None]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
