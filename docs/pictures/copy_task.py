"""Draw how far mixers carry symbols when they copy and reverse lines: `copy-task.svg`.

python benchmarks/copy_task.py --work DIR
python docs/pictures/copy_task.py
"""

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("svg")
from matplotlib import pyplot

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "copy-task.json"
GREY = "#9aa5b1"
COLOURS = {"attention": "#1f5fa8", "convolution": "#c2571a", "recurrence": "#6a8f3c"}
TITLES = {"encoder-decoder": "with cross attention (encoder–decoder)", "decoder": "without it (decoder)"}
TASKS = {"copy": "copy", "reverse": "reversal"}


def draw(result: dict[str, Any], path: Path) -> None:
    """A row for each shape and a column for each task; a line is the mean of the seeds, a band their range."""
    figure, axes = pyplot.subplots(
        len(TITLES), len(TASKS), figsize=(8.6, 5.9), sharex=True, sharey=True, facecolor="white"
    )
    for row, shape in zip(axes, TITLES, strict=True):
        for axis, (task, title) in zip(row, TASKS.items(), strict=True):
            for mixer, found in result["tasks"][f"{shape}/{task}"]["mixers"].items():
                lengths = [each["length"] for each in found["seeds"][0]]
                for key, style in (("symbols", "-"), ("exact", ":")):
                    seeds = np.array([[each[key] for each in seed] for seed in found["seeds"]])
                    label = mixer if key == "symbols" else None
                    axis.plot(lengths, seeds.mean(axis=0), style, color=COLOURS[mixer], linewidth=1.8, label=label)
                    axis.fill_between(
                        lengths, seeds.min(axis=0), seeds.max(axis=0), color=COLOURS[mixer], alpha=0.18, linewidth=0
                    )
            axis.axhline(100 / result["symbols"], color=GREY, linewidth=0.8, linestyle="--")
            axis.set_title(f"{title}, {TITLES[shape]}", fontsize=10, loc="left")
            axis.set_ylim(-3, 103)
            axis.grid(color="#e4e8ec", linewidth=0.6)
            axis.set_axisbelow(True)
            axis.spines[:].set_color(GREY)
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(length=0)
        row[0].set_ylabel("right, %")
    for axis in axes[-1]:
        axis.set_xlabel("symbols in a line")
    handles, labels = axes[0][0].get_legend_handles_labels()
    for style, label in (("-", "symbols, after right ones"), (":", "whole lines, greedy"), ("--", "guessing")):
        colour = GREY if style == "--" else "#1f2933"
        handles.append(pyplot.Line2D([], [], color=colour, linestyle=style, linewidth=1.2))
        labels.append(label)
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "zhuyi"  # the same figures give the same file
    matplotlib.rcParams["figure.constrained_layout.use"] = True
    draw(json.loads(RESULT.read_text(encoding="utf-8")), Path(__file__).with_name("copy-task.svg"))
