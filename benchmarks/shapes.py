"""An encoder–decoder and a decoder of as many parameters, on pairs: Multi30k, English → German.

    python benchmarks/shapes.py DATA --work DIR [--jobs 2] [--runs 3] [--set training.steps=3000]

DATA has the folder `multi30k/`, as for mixers.py, whose sizes these are. One `zhuyi compare`, which continues where it
was stopped. The decoder has four layers in the place of eight, so that equal parameters make its feed-forward wider.
It writes results/shapes-multi30k.json (the comparison's own comparison.json).
"""

import argparse
from pathlib import Path

from mixers import TASKS, compare, place

STEPS = 1500
"""About ten minutes a run, on one core."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3, help="of each variant, with the seeds 1, 2, …")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    arguments = parser.parse_args()
    own = [f"training.steps={STEPS}", f"training.save_every={STEPS // 10}"]
    compare(
        place("multi30k", arguments.data, arguments.work),
        ["model.shape=encoder-decoder,decoder"],
        [*TASKS["multi30k"].settings, *own, *arguments.settings],
        arguments.work / "shapes-multi30k",
        runs=arguments.runs,
        jobs=arguments.jobs,
    )


if __name__ == "__main__":
    main()
