"""Comparison of the outputs of a model in int8 and in float32, and the differences that are acceptable."""

import math
from dataclasses import dataclass

from zhuyi.config import Metric

MAX_DIFFERENCE = 0.3
"""Points of the metric by which int8 may differ from float32."""
MIN_SAME = 0.9
"""Share of the lines whose output must be the same."""


@dataclass(frozen=True)
class Int8Comparison:
    """The outputs of a model on the dev set, in int8 and in float32."""

    metric: Metric
    """Of the run."""
    int8: float
    """Value of the metric, in per cent."""
    float32: float
    """Value of the metric, in per cent."""
    same: float
    """Share of the lines whose output is the same, in [0, 1]."""

    @property
    def recommended(self) -> bool:
        """Whether the differences are small enough to use int8 instead of float32."""
        return abs(self.int8 - self.float32) <= MAX_DIFFERENCE and self.same >= MIN_SAME

    def __str__(self) -> str:
        """The values on one line."""
        values = f"{self.metric} {self.int8:.2f} against {self.float32:.2f} in float32"
        return f"int8: {values}, {math.floor(100 * self.same)} % of outputs the same"
