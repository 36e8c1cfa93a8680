"""The plot of a comparison: score over updates and over minutes."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from zhuyi.comparison.report import Comparison

PICTURE = "comparison.svg"
COLOURS = ("#1f5fa8", "#c2571a", "#6a8f3c", "#8a5aa8", "#b23a48", "#2a8c82", "#8c6d1f", "#5a6570", "#d17fb0")
LEGEND_CHARACTERS = 100
"""Width of a row of the legend."""
POINTS = 60
"""Points on the horizontal axis at which the curves of the seeds are interpolated."""


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
    """The curves of several seeds at common points, interpolated linearly: x, and scores `seeds points`."""
    begin, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    points = np.linspace(begin, max(begin, end), POINTS)
    return points, np.array([np.interp(points, x, y) for x, y in curves])
