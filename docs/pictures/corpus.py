"""Draw what a corpus costs over its size: `corpus.svg`, the picture in docs/large-corpora.md.

python benchmarks/corpus.py --work DIR
python docs/pictures/corpus.py
"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "corpus.json"
GREY = "#9aa5b1"
PANELS = {
    "CPU time a token (ns)": (("build_cost", "read, tokenise, store", "#1f5fa8"), ("epoch_cost", "batches", "#c2571a")),
    "largest memory (GB)": (
        ("trainer", "training", "#1f5fa8"),
        ("builder", "building", "#c2571a"),
        ("reader", "an epoch of batches", "#6a8f3c"),
    ),
}


def draw(corpora: list[dict[str, Any]], path: Path) -> None:
    """A panel for time and one for memory; a flat line is what one wants to see."""
    figure, axes = pyplot.subplots(1, 2, figsize=(8.6, 3.4), facecolor="white", layout="constrained")
    pairs = [corpus["pairs"] for corpus in corpora]
    for axis, (title, lines) in zip(axes, PANELS.items(), strict=True):
        for key, label, colour in lines:
            values = [corpus["rates"][key] for corpus in corpora]
            axis.plot(pairs, values, color=colour, marker="o", markersize=4, linewidth=1.8, label=label)
        axis.set_xscale("log")
        axis.set_ylim(0, None)
        axis.set_xlabel("pairs in the corpus")
        axis.set_title(title, fontsize=10, loc="left")
        axis.legend(frameon=False, fontsize=8)
        axis.grid(color="#e4e8ec", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[:].set_color(GREY)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(length=0, which="both")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "zhuyi"  # the same figures give the same file
    draw(json.loads(RESULT.read_text(encoding="utf-8"))["corpora"], Path(__file__).with_name("corpus.svg"))
