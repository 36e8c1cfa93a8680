"""Measure the scores and the time of several beams, and how often each is worse than greedy search.

    python benchmarks/beams.py MODEL --source FILE --target FILE --metric wer --name georgian

A beam is worse on a line if greedy search has finished the line and the answer of the beam has a lower score. The beams
are measured in turn, so that drift of the machine affects all of them. Writes results/beams-NAME.json.
"""

import argparse
import time
from pathlib import Path

import torch
from machine import describe
from stored import save, spread

import zhuyi
from zhuyi.data.corpus import Corpus
from zhuyi.evaluation import score

BEAMS = (1, 2, 3, 5, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--metric", default="bleu,chrf")
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", required=True)
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    translator = zhuyi.load(arguments.model, device="cpu", engine="torch")
    pairs = list(Corpus(arguments.source, arguments.target))[: arguments.lines]
    sources, targets = [pair.source for pair in pairs], [pair.target for pair in pairs]
    answers, seconds = {}, {beam: [] for beam in BEAMS}
    for _ in range(arguments.rounds):
        for beam in BEAMS:
            start = time.perf_counter()
            found = translator.hypotheses(sources, translator.decoding(beam=beam))
            seconds[beam].append(time.perf_counter() - start)
            answers[beam] = [each[0] for each in found]
    greedy, rows = answers[1], []
    for beam in BEAMS:
        scores = score(arguments.metric.split(","), [each.text for each in answers[beam]], targets, sources)
        worse = sum(
            one.finished and other.score < one.score - 1e-4 for one, other in zip(greedy, answers[beam], strict=True)
        )
        rows.append(
            {
                "beam": beam,
                "scores": {name: each.value for name, each in scores.items()},
                "worse_than_greedy": worse,
                "unfinished": sum(not each.finished for each in answers[beam]),
                "seconds": spread(seconds[beam]),
            }
        )
        print(rows[-1], flush=True)
    result = {
        "name": arguments.name,
        "note": arguments.note,
        "machine": describe(threads=1),
        "lines": len(pairs),
        "test": {"source": Path(arguments.source).name, "target": Path(arguments.target).name},
        "decoding": translator.config.decoding.model_dump(),
        "beams": rows,
    }
    save(f"beams-{arguments.name}", result)


if __name__ == "__main__":
    main()
