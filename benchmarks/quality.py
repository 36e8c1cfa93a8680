"""Score a trained model on a test set and save the results.

    zhuyi train examples/g2p.toml --out runs/g2p
    python benchmarks/quality.py runs/g2p --name g2p-hungarian --metric wer,per

The test set is that of the model's configuration. Writes results/quality-NAME.json: scores with signatures, the time
and the machine of the run, and the first answers.
"""

import argparse
import json
from pathlib import Path

import torch
from machine import describe

import zhuyi
from zhuyi.data.corpus import Corpus
from zhuyi.directory import read_metrics, read_model

RESULTS = Path(__file__).parent / "results"
SAMPLES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--metric", default="bleu,chrf")
    parser.add_argument("--training-threads", type=int, default=torch.get_num_threads(), help="of the training run")
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()

    translator = zhuyi.load(arguments.model)
    data = translator.config.data
    assert data.test_source is not None, "the model's configuration names no test set"
    assert data.test_target is not None
    pairs = list(Corpus(data.test_source, data.test_target))
    sources, targets = [pair.source for pair in pairs], [pair.target for pair in pairs]
    evaluation = zhuyi.evaluate(translator, sources, targets, arguments.metric.split(","))
    records = read_metrics(arguments.model / "metrics.jsonl")
    speeds = sorted(record["tokens_per_second"] for record in records if "tokens_per_second" in record)
    every = max(1, len(pairs) // SAMPLES)
    result = {
        "name": arguments.name,
        "note": arguments.note,
        "machine": describe(arguments.training_threads),
        "parameters": sum(weight.size for weight in read_model(arguments.model).weights.values()),
        "training": {
            "steps": max(record["step"] for record in records),
            "minutes": round(max(record["seconds"] for record in records) / 60, 1),
            "tokens_per_second": {"min": speeds[0], "median": speeds[len(speeds) // 2], "max": speeds[-1]},
        },
        "test": {"source": Path(data.test_source).name, "target": Path(data.test_target).name, **evaluation.to_dict()},
        "config": translator.config.model_dump(exclude={"data"}),
        "samples": [
            {"source": sources[i], "reference": targets[i], "answer": evaluation.hypotheses[i]}
            for i in range(0, len(pairs), every)
        ][:SAMPLES],
    }
    path = RESULTS / f"quality-{arguments.name}.json"
    path.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for score in evaluation.scores.values():
        print(f"{score.name} {score.value:.2f}   {score.signature}")
    print(path)


if __name__ == "__main__":
    main()
