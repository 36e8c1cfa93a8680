"""The language model of examples/shakespeare.toml, with several seeds: its loss on the last tenth of the text.

    python benchmarks/shakespeare.py FILE --work DIR [--seeds 1 2 3]

FILE is tinyshakespeare's input.txt. The runs go to DIR; the result to results/shakespeare.json.
"""

import argparse
from pathlib import Path

from machine import describe
from stored import save

import zhuyi
from zhuyi.microscope.trace import transformer_of

HERE = Path(__file__).parent
PUBLISHED = {"nanoGPT on a CPU": 1.88}
"""Validation loss in nats a character: README of github.com/karpathy/nanoGPT, "I only have a macbook"."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    runs = []
    for seed in arguments.seeds:
        overrides = [f'data.text="{arguments.text.resolve()}"', f"training.seed={seed}", "training.threads=1"]
        config = zhuyi.load_config(HERE.parent / "examples/shakespeare.toml", overrides)
        result = zhuyi.train(config, arguments.work / f"seed-{seed}", resume=True)
        evaluation = result.evaluations["dev"]
        bits = evaluation.scores["bits_per_byte"]
        runs.append({"seed": seed, "loss": evaluation.loss, "bits_per_byte": bits.value, "signature": bits.signature})
    model = zhuyi.load(arguments.work / f"seed-{arguments.seeds[0]}", engine="torch", device="cpu")
    sample = "".join(zhuyi.generate(model, "ROMEO:", temperature=0.8, tokens=300))
    found = {
        "machine": describe(threads=1),
        "parameters": transformer_of(model).parameter_count(),
        "settings": config.model_dump(mode="json", include={"text", "model", "training"}),
        "published": PUBLISHED,
        "runs": runs,
        "sample": f"ROMEO:{sample}",
    }
    save("shakespeare", found)


if __name__ == "__main__":
    main()
