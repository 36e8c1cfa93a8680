"""`zhuyi compare`: variants → plan → runs → measures → report."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from zhuyi.checkpoint import load_model
from zhuyi.comparison.bootstrap import paired_bootstrap
from zhuyi.comparison.markdown import MARKDOWN, to_markdown
from zhuyi.comparison.measures import Speed, decoding_speed, reaches, read_curve, tokens_per_second
from zhuyi.comparison.picture import PICTURE, draw
from zhuyi.comparison.plan import OUTPUTS, claim, run_directory
from zhuyi.comparison.report import Comparison, Difference, Spread, VariantReport
from zhuyi.comparison.runs import Listener, planned, runs_of, train_all
from zhuyi.comparison.variants import Setting, Variant, make_variants, with_seed
from zhuyi.comparison.worker import MEMORY
from zhuyi.config import Config, DataConfig, Metric
from zhuyi.errors import ConfigError
from zhuyi.evaluation import HIGHER_IS_BETTER, Statistics, statistics, statistics_of_text
from zhuyi.evaluation.held_out import Lines
from zhuyi.files import write_atomically
from zhuyi.loading import load

JSON = "comparison.json"
SPEED = "speed.json"
"""The decoding speed, in the directory of the run with which it was measured."""


def compare(
    config: Config,
    vary: Mapping[str, Sequence[Setting]],
    out: str | Path,
    *,
    seeds: int = 3,
    equal: str | None = None,
    jobs: int = 1,
    listener: Listener = lambda event: None,
) -> Comparison | None:
    """Train variants of a configuration, each with several seeds, and compare them.

    Each run is a `train` in its own process, in `out/runs/NAME-sN`. The runs with the first seed of all variants come
    first, then those with the second. The same call continues a comparison that was stopped or killed; with more
    `seeds`, it adds their runs. All variants have the same number of CPU threads, which is 1 unless `training.threads`
    is set. Torch decodes, unless `decoding.engine` is set, because the native engine does not compute every model.

    Args:
        config: the settings that all variants share.
        vary: the values of each `section.key` that varies; the variants are all combinations.
        out: the directory for `comparison.json`, `comparison.md`, `comparison.svg` and `runs/`.
        seeds: the number of runs of each variant; the seeds are `training.seed` and the next integers.
        equal: "parameters" chooses `model.feed_forward` of each variant so that all have the parameters of the first.
        jobs: runs at the same time; with several GPUs, each run uses one.
        listener: called with the cost before the first run, and then with the progress.

    Returns:
        The result; None if Ctrl-C stopped the comparison.

    Raises:
        ConfigError: if the variants cannot be made, or if `out` holds another comparison.
        DataError: if the data cannot be read.
        CheckpointError: if `out` holds something else, or cannot be written.
        TrainingError: if a run fails.
    """
    if seeds < 1 or jobs < 1:
        raise ConfigError(f"--seeds {seeds} --jobs {jobs}: give at least 1 of each")
    if not _has_dev(config.data):
        keys = "data.dev_source and data.dev_target" if config.data.text is None else "data.dev_text or data.dev_share"
        raise ConfigError(f"a comparison needs a dev set, on which variants are scored: give {keys}")
    directory = Path(out)
    variants = make_variants(config, vary, equal)
    claim(directory, variants)
    runs = runs_of(directory, variants, seeds)
    listener(planned(runs, jobs))
    if not train_all(directory, runs, jobs, listener):
        return None
    found = _found(directory, variants, seeds, equal)
    save(found, directory)
    return found


def save(comparison: Comparison, directory: Path) -> None:
    """Write `comparison.json`, `comparison.md` and `comparison.svg`.

    Raises:
        CheckpointError: if they cannot be written.
    """
    content = json.dumps(comparison.to_dict(), ensure_ascii=False, indent=2) + "\n"
    write_atomically(directory / JSON, content.encode())
    write_atomically(directory / MARKDOWN, to_markdown(comparison).encode())
    write_atomically(directory / PICTURE, draw(comparison))


def _has_dev(data: DataConfig) -> bool:
    if data.text is not None:
        return data.dev_text is not None or data.dev_share > 0
    return data.dev_source is not None


def _found(directory: Path, variants: Sequence[Variant], seeds: int, equal: str | None) -> Comparison:
    """The result of a comparison, from the files of its runs."""
    first = variants[0].config
    data, metric = first.data, first.training.metric
    sets = {"dev": Lines.read(data.dev_source, data.dev_target), "test": Lines.read(data.test_source, data.test_target)}
    outputs = {
        variant.name: [
            json.loads((run_directory(directory, variant.name, seed) / OUTPUTS).read_bytes())
            for seed in range(1, seeds + 1)
        ]
        for variant in variants
    }
    compared_on = list(outputs[variants[0].name][0])[-1]
    rows = {
        variant.name: [
            _statistics(variant.config, sets[compared_on], each[compared_on]) for each in outputs[variant.name]
        ]
        for variant in variants
    }
    base = rows[variants[0].name]
    return Comparison(
        metric=metric,
        higher_is_better=HIGHER_IS_BETTER[metric],
        signatures=_signatures(outputs, compared_on, metric),
        seeds=[with_seed(first, number).training.seed for number in range(1, seeds + 1)],
        budget=_common_budget(variants),
        equal=equal,
        variants=[_report(variant, directory, seeds, outputs[variant.name], sets["dev"]) for variant in variants],
        compared_on=compared_on,
        compared_lines=outputs[variants[0].name][0][compared_on]["lines"],
        unit="windows" if sets[compared_on] is None else "lines",
        differences=[Difference(variant.name, paired_bootstrap(base, rows[variant.name])) for variant in variants[1:]],
        engine=first.decoding.engine,
        threads=first.training.threads or 1,
        machine=_machine(),
    )


def _signatures(
    outputs: Mapping[str, Sequence[dict[str, Any]]], compared_on: str, metric: Metric
) -> dict[str, list[str]]:
    """The signatures of the scores of all runs, each with the names of its variants."""
    found: dict[str, dict[str, None]] = {}
    for name, runs in outputs.items():
        for run in runs:
            found.setdefault(run[compared_on]["scores"][metric]["signature"], {})[name] = None
    return {signature: list(names) for signature, names in found.items()}


def _common_budget(variants: Sequence[Variant]) -> dict[str, float]:
    """The budgets that all variants share."""
    budgets = [
        {key: getattr(variant.config.training, key) for key in ("steps", "epochs", "minutes")} for variant in variants
    ]
    return {
        key: value
        for key, value in budgets[0].items()
        if value is not None and all(budget[key] == value for budget in budgets)
    }


def _report(
    variant: Variant, directory: Path, seeds: int, outputs: Sequence[dict[str, Any]], dev: Lines | None
) -> VariantReport:
    runs = [run_directory(directory, variant.name, seed) for seed in range(1, seeds + 1)]
    metric = variant.config.training.metric
    memory = [json.loads((run / MEMORY).read_bytes()) for run in runs if (run / MEMORY).exists()]
    return VariantReport(
        name=variant.name,
        settings=dict(variant.settings),
        parameters=variant.parameters,
        scores={name: Spread([each[name]["scores"][metric]["value"] for each in outputs]) for name in outputs[0]},
        losses={name: Spread([each[name]["loss"] for each in outputs]) for name in outputs[0]},
        tokens_per_second=tokens_per_second(runs),
        memory=max(memory, default=None),
        decoding=_speed(variant, runs[0], dev),
        reach=reaches(load_model(runs[0]).transformer),
        curves=[read_curve(run, metric) for run in runs],
    )


def _speed(variant: Variant, run: Path, dev: Lines | None) -> Speed | None:
    """The decoding speed, measured once and stored. None for masked pre-training, where nothing is decoded."""
    if dev is None and not variant.config.continues:
        return None
    path = run / SPEED
    if not path.exists():
        translator = load(run, device=variant.config.training.device)
        speed = decoding_speed(translator, dev, variant.config.training.threads or 1)
        write_atomically(path, json.dumps(vars(speed)).encode())
    return Speed(**json.loads(path.read_bytes()))


def _statistics(config: Config, lines: Lines | None, output: dict[str, Any]) -> Statistics:
    """The statistics of an output: of lines, or of windows of running text."""
    metric = config.training.metric
    if lines is None:
        return statistics_of_text(metric, output["windows"], output["scores"][metric]["value"])
    return statistics(metric, output["hypotheses"], lines.targets, lines.sources, text=config.text)


def _machine() -> dict[str, Any]:
    """The machine and the versions of the libraries."""
    versions = {name: metadata.version(name) for name in ("zhuyi", "torch", "sacrebleu")}
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **versions,
    }
