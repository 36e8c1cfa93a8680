"""Draw the cross-attention of a model on one line: `alignment.svg`, the picture in README.md.

    zhuyi demo --out zhuyi-demo
    python docs/pictures/draw.py zhuyi-demo

Translate fast and untapped, then replay the answer once with a recording tap: every weight of every head is in it.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch

import zhuyi
from zhuyi.data.batches import pad_sources
from zhuyi.model.tap import Recording
from zhuyi.text.tokenizer import BOS

matplotlib.use("svg")
from matplotlib import pyplot

GREY = "#9aa5b1"
LINE = "mardi 25 mars 1986"
"""From the demo's test set, so no model of the demo was trained on this date in any form."""


def cross_attention(translator: zhuyi.Translator, line: str) -> tuple[list[str], list[str], np.ndarray]:
    """Pieces read, pieces written (each with the end at last), and weights `layers heads written read`."""
    source, target = translator.tokenizers.source, translator.tokenizers.target
    (answer,) = translator.translate([line])
    (read,), (written,) = source.encode([line]), target.encode([answer])
    ids, mask = pad_sources([read])
    recording = Recording()
    with torch.inference_mode():
        translator.engine.transformer(ids, mask, torch.tensor([[BOS, *written]]), recording)
    layers = range(translator.config.model.decoder_layers)
    weights = torch.stack([recording.values[f"decoder.{layer}.cross.weights"][0] for layer in layers])
    return [*source.pieces(read), "end"], [*target.pieces(written), "end"], weights.numpy()


def sharpest(weights: np.ndarray) -> tuple[int, int]:
    """The layer and head whose rows have the lowest entropy: the one that points, rather than looks around."""
    entropy = -(weights * np.log(np.maximum(weights, 1e-12))).sum(axis=-1).mean(axis=-1)
    return divmod(int(entropy.argmin()), weights.shape[1])


def draw(read: list[str], written: list[str], weights: np.ndarray, path: Path) -> None:
    """The sharpest head, large, and every head beside it, small: a column for each layer."""
    layers, heads, rows, columns = weights.shape
    best = sharpest(weights)
    figure = pyplot.figure(figsize=(8.6, 5.0), facecolor="white", layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, layers / heads])

    axis = left.subplots()
    axis.imshow(weights[best], cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(columns), [piece.removeprefix("▁") or "␣" for piece in read])
    axis.set_yticks(range(rows), written)
    axis.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axis.set_xlabel(f"where decoder layer {best[0]}, head {best[1]} looks", labelpad=8)
    axis.xaxis.set_label_position("top")
    axis.set_ylabel("what is written")
    for row, column in enumerate(weights[best].argmax(axis=-1)):
        share = weights[best][row, column]
        colour = "white" if share > 0.5 else "black"
        axis.text(column, row, f"{share:.0%}", ha="center", va="center", fontsize=7, color=colour)
    axis.set_xticks([column - 0.5 for column in range(1, columns)], minor=True)
    axis.set_yticks([row - 0.5 for row in range(1, rows)], minor=True)
    axis.grid(which="minor", color="#e4e8ec", linewidth=0.6)
    axis.tick_params(which="minor", length=0)
    axis.spines[:].set_color(GREY)

    for head, row in enumerate(right.subplots(heads, layers, squeeze=False)):
        for layer, small in enumerate(row):
            chosen = (layer, head) == best
            small.imshow(weights[layer, head], cmap="Blues", vmin=0, vmax=1)
            small.set(xticks=[], yticks=[])
            small.set_title(f"{layer}.{head}", fontsize=8, pad=2, fontweight="bold" if chosen else "normal")
            small.spines[:].set(color="black" if chosen else GREY, linewidth=1.4 if chosen else 0.8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the cross-attention of a model on one line.")
    parser.add_argument("model", help="a model directory, such as `zhuyi demo` leaves")
    parser.add_argument("--line", default=LINE)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("alignment.svg"))
    arguments = parser.parse_args()
    matplotlib.rcParams["svg.hashsalt"] = "zhuyi"  # the same model gives the same file
    draw(*cross_attention(zhuyi.load(arguments.model, engine="torch", device="cpu"), arguments.line), arguments.out)
