"""Small random models in Marian's own format, and what Marian itself makes of them.

The same settings make the same model on any machine. Run as a program, with pymarian 1.12.42 installed (600 MB), this
file writes Marian's answers to tests/fixtures/marian.json.
"""

import json
import math
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

WIDTH, INNER, HEADS, LAYERS, WORDS = 32, 48, 4, 2, 60
"""WORDS counts </s> and <unk>."""

OPTIONS: Mapping[str, Any] = {
    "type": "transformer",
    "dim-vocabs": [WORDS, WORDS],
    "dim-emb": WIDTH,
    "enc-depth": LAYERS,
    "dec-depth": LAYERS,
    "input-types": [],
    "right-left": False,
    "tied-embeddings": False,
    "tied-embeddings-src": False,
    "tied-embeddings-all": True,
    "transformer-heads": HEADS,
    "transformer-no-projection": False,
    "transformer-dim-ffn": INNER,
    "transformer-ffn-depth": 2,
    "transformer-ffn-activation": "swish",
    "transformer-preprocess": "",
    "transformer-postprocess": "dan",
    "transformer-postprocess-emb": "d",
    "transformer-postprocess-top": "",
    "transformer-decoder-autoreg": "self-attention",
    "transformer-tied-layers": [],
    "transformer-train-position-embeddings": False,
    "bert-train-type-embeddings": True,
    "layer-normalization": False,
    "lemma-dim-emb": 0,
    "ulr": False,
    "skip": False,
    "version": "v1.12.0 0000000 2023-01-01 00:00:00 +0000",
}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "all-tied": {},
    "output-tied": {"tied-embeddings-all": False, "tied-embeddings": True, "transformer-ffn-activation": "relu"},
    "sources-tied": {"tied-embeddings-all": False, "tied-embeddings-src": True, "transformer-postprocess-top": "n"},
    "embedding-norm": {"tied-embeddings-all": False, "transformer-postprocess-emb": "nd"},
    "rms": {"transformer-postprocess": "dar", "transformer-postprocess-emb": ""},
    "no-positions": {
        "transformer-disable-position-embeddings": True,
        "transformer-postprocess-emb": "nd",
        "tied-embeddings-all": False,
        "output-omit-bias": True,
    },
}
SEARCHES = ((1, 0.0), (4, 0.6), (6, 0.6))
"""`beam-size` and `normalize`."""
LINES = {name: 150 if name == "all-tied" else 20 for name in VARIANTS}

Arrays = dict[str, npt.NDArray[np.float32]]


def parameters(seed: int = 0, **settings: Any) -> Arrays:
    """Weights at which answers differ from line to line, and of which none has a special value."""
    of = {**OPTIONS, **settings}
    rng = random.Random(seed)  # whose random() is the same in every version
    found: Arrays = {}

    def draw(name: str, rows: int, columns: int, scale: float, mean: float = 0.0) -> None:
        numbers = [mean + scale * math.sqrt(3) * (2 * rng.random() - 1) for _ in range(rows * columns)]
        found[name] = np.array(numbers, np.float32).reshape(rows, columns)

    def norm(prefix: str, operations: str, suffix: str = "") -> None:
        for letter, kind in (("n", "ln"), ("r", "rms")):
            if letter in operations:
                draw(f"{prefix}_{kind}_scale{suffix}", 1, WIDTH, 0.2, 1.0)
        if "n" in operations:
            draw(f"{prefix}_ln_bias{suffix}", 1, WIDTH, 0.2)

    def linear(prefix: str, name: str, inner: int, outer: int) -> None:
        draw(f"{prefix}_W{name}", inner, outer, 1.4 / math.sqrt(inner))
        draw(f"{prefix}_b{name}", 1, outer, 0.2)

    after, emb, top = (of[f"transformer-{key}"] for key in ("postprocess", "postprocess-emb", "postprocess-top"))
    is_one = of["tied-embeddings-all"] or of["tied-embeddings-src"]
    for name in ["Wemb"] if is_one else ["encoder_Wemb", "decoder_Wemb"]:
        # So small, where they may be, that the norm's epsilon matters.
        small = 0.002 if of.get("transformer-disable-position-embeddings") else 1.0
        draw(name, WORDS, WIDTH, small * 1.4 / math.sqrt(WIDTH))
    for side in ("encoder", "decoder"):
        norm(f"{side}_emb", emb, "_pre")
        norm(f"{side}_top", top)
        for layer in range(1, LAYERS + 1):
            for attention in ["self"] if side == "encoder" else ["self", "context"]:
                prefix = f"{side}_l{layer}_{attention}"
                for name in "qkvo":
                    linear(prefix, name, WIDTH, WIDTH)
                norm(f"{prefix}_Wo", after)
            linear(f"{side}_l{layer}_ffn", "1", WIDTH, INNER)
            linear(f"{side}_l{layer}_ffn", "2", INNER, WIDTH)
            norm(f"{side}_l{layer}_ffn_ffn", after)
    if not (of["tied-embeddings-all"] or of["tied-embeddings"]):
        draw("decoder_ff_logit_out_Wt", WORDS, WIDTH, 1.4 / math.sqrt(WIDTH))
    if not of.get("output-omit-bias"):
        draw("decoder_ff_logit_out_b", 1, WORDS, 0.5)
        found["decoder_ff_logit_out_b"][0, :2] += (0.5, 2)  # outputs end, and would often be <unk>
    return found


def as_yaml(settings: Mapping[str, Any]) -> str:
    lines = []
    for key, value in settings.items():
        if isinstance(value, list) and value:
            lines += [f"{key}:", *(f"  - {item}" for item in value)]
        else:
            written = str(value).lower() if isinstance(value, bool) else '""' if value == "" else value
            lines.append(f"{key}: {written}")
    return "\n".join(lines) + "\n"


def write(directory: Path, arrays: Arrays, **settings: Any) -> Path:
    """A directory with model.npz and vocab.yml."""
    directory.mkdir(exist_ok=True)
    text = as_yaml({**OPTIONS, **settings}).encode() + b"\0"
    np.savez(directory / "model.npz", **arrays, **{"special:model.yml": np.frombuffer(text, np.int8)})
    words = "".join(f"w{i}: {i}\n" for i in range(2, WORDS))
    (directory / "vocab.yml").write_text(f"</s>: 0\n<unk>: 1\n{words}")
    return directory


def make(directory: Path, **settings: Any) -> Path:
    """A directory with a random model."""
    return write(directory, parameters(**settings), **settings)


def lines(count: int) -> list[str]:
    """Random ones, of which the first are the same for any count."""
    rng = random.Random(1)
    return [
        " ".join(f"w{2 + int(rng.random() * (WORDS - 2))}" for _ in range(1 + int(rng.random() * 19)))
        for _ in range(count)
    ]


def marian_answers(directory: Path, text: list[str], beam: int, normalize: float) -> list[str]:
    """What Marian itself answers."""
    from _pymarian import Translator

    vocabulary = directory / "vocab.yml"
    options = (
        f"--models {directory / 'model.npz'} --vocabs {vocabulary} {vocabulary} --beam-size {beam} --cpu-threads 1"
        f" --normalize {normalize} --mini-batch 1 --maxi-batch 1 --max-length 200 --quiet --quiet-translation"
    )
    answer: list[str] = Translator(options).translate(text)
    return answer


def main() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in VARIANTS.items():
            directory = make(Path(folder) / name, **settings)
            found[name] = [marian_answers(directory, lines(LINES[name]), *search) for search in SEARCHES]
    Path("tests/fixtures/marian.json").write_text(json.dumps(found, indent=0) + "\n")


if __name__ == "__main__":
    main()
