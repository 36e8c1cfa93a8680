"""Draw fine-tuning on 1,000 captions of sports beside training on them from scratch: `finetune.svg`.

python benchmarks/finetune.py MULTI30K --demo DEMO --work DIR
python docs/pictures/finetune.py
"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "finetune.json"
GREY = "#9aa5b1"
RUNS = {
    "fine-tuned": ("fine-tuned", "#1f5fa8", "-"),
    "replay": ("fine-tuned, as many old captions mixed in", "#1f5fa8", ":"),
    "scratch": ("from scratch", "#c2571a", "-"),
}


def draw(result: dict[str, Any], path: Path) -> None:
    """BLEU on captions of sports over the updates of each run."""
    figure, axis = pyplot.subplots(figsize=(7.2, 3.6), facecolor="white")
    for name, (label, colour, style) in RUNS.items():
        found = result["runs"][name]
        steps, scores = zip(*((each["step"], each["dev"]) for each in found["validations"]), strict=True)
        axis.plot(
            *(steps, scores, style),
            color=colour,
            linewidth=1.8,
            label=f"{label}; old captions {found['old']['value']:.1f}",
        )
    minutes = max(result["runs"][name]["processor_minutes"] for name in RUNS)
    axis.set_xlabel(f"updates on {result['pairs']['sports']:,} captions ({minutes:.0f} minutes of one core at the end)")
    axis.set_ylabel("BLEU, captions of sports")
    axis.set_ylim(bottom=0)
    axis.grid(color="#e4e8ec", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[:].set_color(GREY)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(length=0)
    figure.legend(loc="outside lower center", ncols=1, frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "zhuyi"  # the same figures give the same file
    matplotlib.rcParams["figure.constrained_layout.use"] = True
    draw(json.loads(RESULT.read_text(encoding="utf-8"))["sports"], Path(__file__).with_name("finetune.svg"))
