"""Score a trained model on a test set and save the results.

    zhuyi train examples/g2p.toml --out runs/g2p
    python benchmarks/quality.py runs/g2p --name g2p-hungarian --metric wer,per

The test set is that of the model's configuration. Writes results/quality-NAME.json: scores with signatures, the time
and the machine of the run, and the first answers.
"""

import argparse
from pathlib import Path

from commands import training_of
from machine import describe
from stored import save, spread

import zhuyi
from zhuyi.data.corpus import Corpus
from zhuyi.directory import read_metrics

SAMPLES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--metric", default="bleu,chrf")
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()

    translator = zhuyi.load(arguments.model)
    data = translator.config.data
    if data.test_source is None or data.test_target is None:
        parser.error(f"{arguments.model}: its configuration names no test set (data.test_source, data.test_target)")
    pairs = list(Corpus(data.test_source, data.test_target))
    sources, targets = [pair.source for pair in pairs], [pair.target for pair in pairs]
    evaluation = zhuyi.evaluate(translator, sources, targets, arguments.metric.split(","))
    trained, records = training_of(arguments.model), read_metrics(arguments.model / "metrics.jsonl")
    speeds = [record["tokens_per_second"] for record in records if "tokens_per_second" in record]
    every = max(1, len(pairs) // SAMPLES)
    result = {
        "name": arguments.name,
        "note": arguments.note,
        "machine": describe(trained["threads"]),
        "parameters": trained["parameters"],
        "training": {**{key: trained[key] for key in ("steps", "minutes")}, "tokens_per_second": spread(speeds)},
        "test": {"source": Path(data.test_source).name, "target": Path(data.test_target).name, **evaluation.to_dict()},
        "config": translator.config.model_dump(exclude={"data"}),
        "samples": [
            {"source": sources[i], "reference": targets[i], "answer": evaluation.hypotheses[i]}
            for i in range(0, len(pairs), every)
        ][:SAMPLES],
    }
    for score in evaluation.scores.values():
        print(f"{score.name} {score.value:.2f}   {score.signature}")
    print(save(f"quality-{arguments.name}", result))


if __name__ == "__main__":
    main()
