"""Better answers from the same training, and their price: length penalty, minimum Bayes risk, ensembles.

    python benchmarks/better_answers.py NAME MODEL [MODEL ...] --metric wer --dev SOURCE TARGET --test SOURCE TARGET

The MODELs were trained on the same data with different seeds. The length penalty is chosen on the dev set, and
everything is scored on the test set, which may be another part of a dev set. What needs one model only is done with
each of them, and the table has the mean score. The price is the time for the test set, as a ratio to a plain beam
search: all take turns, in `--rounds` rounds, so nothing else may run meanwhile. Writes results/better-answers-
NAME.json.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from machine import describe
from stored import save, spread

import zhuyi
from zhuyi.cli.streams import read_aligned
from zhuyi.config import METRICS_OF, Metric
from zhuyi.evaluation import MinimumBayesRisk, references_of, tune_length_penalty
from zhuyi.translator import Translator

BEAM = 5
PLAIN = f"beam of {BEAM}"
CANDIDATES = 16

Way = Callable[[Translator], Any]
"""From a translator to one that answers in another way."""


def minimum_bayes_risk(metric: Metric, **search: Any) -> Way:
    return lambda translator: MinimumBayesRisk(
        translator.with_decoding(translator.decoding(n_best=CANDIDATES, **search)),
        metric,
    )


def ways(metric: Metric, dev: tuple[list[str], list[list[str]]]) -> dict[str, Way]:
    """Those that need one model, by name."""

    def tuned(translator: Translator) -> Translator:
        penalty, _ = tune_length_penalty(translator, *dev, metric)
        print(f"  length penalty {penalty:g}", flush=True)
        return translator.with_decoding(translator.decoding(length_penalty=penalty))

    by: Metric = "per" if metric in ("wer", "per") else metric
    return {
        PLAIN: lambda translator: translator,
        "greedy": lambda translator: translator.with_decoding(translator.decoding(beam=1)),
        "length penalty chosen on dev": tuned,
        f"minimum Bayes risk by {by}, beam of {CANDIDATES}": minimum_bayes_risk(by, beam=CANDIDATES),
        f"minimum Bayes risk by {by}, {CANDIDATES} samples": minimum_bayes_risk(by, strategy="sampling"),
    }


def measured(answering: Sequence[Any], sources: list[str], references: list[list[str]], metric: Metric) -> float:
    """The mean score of translators."""
    scores = [zhuyi.evaluate(each, sources, references, [metric]).scores[metric].value for each in answering]
    return round(statistics.mean(scores), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--metric", required=True, choices=METRICS_OF["pairs"])
    parser.add_argument("--dev", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--test", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()

    def read(files: Sequence[str]) -> tuple[list[str], list[list[str]]]:
        sources, targets = read_aligned(*files)
        return sources, references_of([targets])

    dev, (sources, references) = read(options.dev), read(options.test)
    load = {"device": "cpu", "engine": "native", "workers": options.workers}

    def loaded(*directories: Path) -> Translator:
        translator = zhuyi.load(*directories, **load)
        return translator.with_decoding(translator.decoding(beam=BEAM))

    models = [loaded(each) for each in options.models]
    found: dict[str, Sequence[Any]] = {}
    for name, way in ways(options.metric, dev).items():
        print(name, flush=True)
        found[name] = [way(model) for model in models]
    for count in range(2, len(models) + 1):
        found[f"ensemble of {count}"] = [loaded(*options.models[:count])]

    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(options.rounds):
        for name, answering in found.items():
            begin = time.perf_counter()
            answering[0].answers(sources, 1)
            seconds[name].append(time.perf_counter() - begin)
    rows = {}
    for name, answering in found.items():
        ratios = [one / other for one, other in zip(seconds[name], seconds[PLAIN], strict=True)]
        rows[name] = {
            "score": measured(answering, sources, references, options.metric),
            "models": len(answering),
            "time": {key: round(value, 2) for key, value in spread(ratios).items()},
        }
        print(name, rows[name], flush=True)
    result = {
        "machine": describe(options.workers),
        "metric": options.metric,
        "lines": len(sources),
        "models": [each.name for each in models],
        "signature": models[0].search_signature,
        "ways": rows,
    }
    save(f"better-answers-{options.name}", result)


if __name__ == "__main__":
    main()
