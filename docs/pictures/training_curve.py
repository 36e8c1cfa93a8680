"""Draw dev BLEU over minutes of training, ours and the peers': `training-curve.svg`.

python benchmarks/training/curve.py CONFIG.toml --name cpu2
python docs/pictures/training_curve.py benchmarks/results/curve-cpu2.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

GREY = "#9aa5b1"
COLOURS = ["#1f5fa8", "#c2571a", "#6a8f3c", "#8a5aa8"]


def draw(result: dict[str, Any], path: Path) -> None:
    """A line for each system, named at its end."""
    figure, axis = pyplot.subplots(figsize=(8.6, 4.6), facecolor="white", layout="constrained")
    curves = [curve for curve in result["curves"].values() if curve.get("points")]
    for colour, curve in zip(COLOURS, curves, strict=False):
        minutes = [point["minutes"] for point in curve["points"]]
        scores = [point["bleu"] for point in curve["points"]]
        axis.plot(minutes, scores, color=colour, marker="o", markersize=3, linewidth=1.8)
        label = f"{curve['title']}  {scores[-1]:.1f}"
        axis.annotate(
            label, (minutes[-1], scores[-1]), xytext=(6, 0), textcoords="offset points", color=colour, va="center"
        )
    threads = result["machine"]["threads"]
    axis.set_xlabel(f"minutes of training, {result['size']}, on {threads} thread{'s' * (threads > 1)}")
    axis.set_ylabel("BLEU on the dev set, cased, greedy")
    axis.set_xlim(0, None)
    axis.set_ylim(0, None)
    axis.grid(color="#e4e8ec", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[:].set_color(GREY)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(length=0)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw dev BLEU over minutes of training.")
    parser.add_argument("result", type=Path, help="a file that benchmarks/training/curve.py wrote")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("training-curve.svg"))
    arguments = parser.parse_args()
    matplotlib.rcParams["svg.hashsalt"] = "zhuyi"  # the same figures give the same file
    draw(json.loads(arguments.result.read_text(encoding="utf-8")), arguments.out)
