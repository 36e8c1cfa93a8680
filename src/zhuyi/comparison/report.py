"""The result of a comparison: one record, of which JSON, Markdown (`markdown`) and a picture (`picture`) are made."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from zhuyi.comparison.bootstrap import Interval
from zhuyi.comparison.measures import Curve, Reach, Speed
from zhuyi.config import Metric


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
