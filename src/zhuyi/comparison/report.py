"""The result of a comparison, from which JSON, Markdown (`markdown`) and a plot (`picture`) are made."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from zhuyi.comparison.bootstrap import Interval
from zhuyi.comparison.measures import Curve, Reach, Speed
from zhuyi.config import Metric


@dataclass(frozen=True)
class Spread:
    """The values of a measure for each seed."""

    values: list[float]
    """In the order of the seeds."""

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation over the seeds; None if there is one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    def show(self, digits: int) -> str:
        """Mean ± deviation, with the given number of decimal places."""
        return f"{self.mean:.{digits}f}" + (f" ± {self.deviation:.{digits}f}" if self.deviation is not None else "")


@dataclass(frozen=True)
class VariantReport:
    """The results of one variant."""

    name: str
    settings: dict[str, Any]
    """The settings that differ between variants, by key."""
    parameters: int
    """Number of learned parameters."""
    scores: dict[str, Spread]
    """The scores of the weights that are kept, by the name of the set ("dev", "test")."""
    losses: dict[str, Spread]
    """The losses of the same weights, in nats per target token, by the name of the set."""
    tokens_per_second: float
    """The speed of training: the median over the records of all seeds."""
    memory: int | None
    """The peak memory of a training process in bytes, including Python and its libraries; on a GPU, the memory that was
    allocated there. None if the system does not report it."""
    decoding: Speed | None
    """The speed of decoding with the first seed; None for masked pre-training, where nothing is decoded."""
    reach: dict[str, Reach]
    """The reach of a layer, by stack."""
    curves: list[Curve]
    """The validation curves, in the order of the seeds."""


@dataclass(frozen=True)
class Difference:
    """The difference between another variant and the first one."""

    name: str
    """Of the other variant."""
    score: Interval
    """Its mean score over the seeds minus that of the first variant, in points."""


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`."""

    metric: Metric
    higher_is_better: bool
    signatures: dict[str, list[str]]
    """The signatures of the scores, each with the names of its variants. They differ if decoding settings do."""
    seeds: list[int]
    """`training.seed` of the runs of each variant."""
    budget: dict[str, float]
    """Those of `training.steps`, `epochs` and `minutes` that all variants share."""
    equal: str | None
    """What is equal for all variants by choice of the feed-forward width: "parameters", or None."""
    variants: list[VariantReport]
    compared_on: str
    """The set on which differences are computed: "test", or "dev" if there is no test set."""
    compared_lines: int
    """The number of its lines, or of its windows of running text."""
    unit: Literal["lines", "windows"]
    """What `compared_lines` counts, and what is resampled for the differences."""
    differences: list[Difference]
    """Of all variants except the first."""
    engine: str
    """The engine that decoded in all variants."""
    threads: int
    """CPU threads of each run."""
    machine: dict[str, Any]
    """Processor, cores, GPU and versions."""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; a `Spread` has its mean and deviation besides its values."""
        tree = asdict(self)
        for variant, record in zip(self.variants, tree["variants"], strict=True):
            for kind, spreads in (("scores", variant.scores), ("losses", variant.losses)):
                record[kind] = {
                    name: {"mean": each.mean, "deviation": each.deviation, "values": each.values}
                    for name, each in spreads.items()
                }
        return tree
