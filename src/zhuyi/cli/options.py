"""Options that several commands share, and the configuration or the translator that they describe."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

import zhuyi
from zhuyi.cli.streams import to_json
from zhuyi.errors import ConfigError

if TYPE_CHECKING:
    from zhuyi.config import Config, Metric
    from zhuyi.evaluation import MinimumBayesRisk
    from zhuyi.translator import Translator

ConfigFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG.toml",
        show_default=False,
        help="File of settings. Relative paths in it start from its directory.",
    ),
]
ModelDirectory = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", show_default=False, help="Model directory, as train and demo write it, or hub:USER/NAME."
    ),
]
ModelDirectories = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="Model directory, as train and demo write it. Several models form an ensemble, which searches with the "
        "settings of the first.",
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Training source, one sentence per line: text, or FILE.tsv#COLUMN, FILE.jsonl#FIELD, ..."
    ),
]
Target = Annotated[str | None, typer.Option(metavar="FILE", help="Training target, aligned with the source.")]
DevSource = Annotated[
    str | None, typer.Option(metavar="FILE", help="Validation source, by which the best checkpoint is chosen.")
]
DevTarget = Annotated[str | None, typer.Option(metavar="FILE", help="Validation target.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting. Can be repeated."),
]
Preset = Annotated[
    str | None, typer.Option(metavar="NAME", help="Settings that yours override: modern (default), paper or tiny.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Beam = Annotated[
    int | None, typer.Option(metavar="N", help="Hypotheses kept at each step; 1 is greedy search, which is fastest.")
]
LengthPenalty = Annotated[
    float | None,
    typer.Option(metavar="X", help="Higher values favour longer translations; 0 compares log-probabilities alone."),
]
MaxRatio = Annotated[
    float | None,
    typer.Option(
        metavar="X", help="Maximum length of an output in tokens per source token; decoding.max_extra is added."
    ),
]
NBest = Annotated[
    int | None,
    typer.Option(metavar="N", help="Translations of each line: at most --beam of them, or any number of samples."),
]
MinimumBayesRiskBy = Annotated[
    str | None,
    typer.Option(
        "--mbr",
        metavar="METRIC",
        help="Minimum Bayes risk: of the --n-best candidates for a line (default: the whole beam), choose the one with "
        "the best expected METRIC, where the others are the references: bleu, chrf, wer, per or exact.",
    ),
]
To = Annotated[
    str | None,
    typer.Option(metavar="LANG", help="Target language, for a multilingual model: fra means >>fra<< or fra_Latn."),
]
FromLanguage = Annotated[
    str | None, typer.Option(metavar="LANG", help="Source language, for a model whose input has a tag for it.")
]
DecodingSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="decoding.KEY=VALUE", help="Change any other setting of the search; zhuyi config lists them."
    ),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="Device to compute on: auto, cpu or cuda.")]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Inference engine: native (in C++, fastest on CPUs), torch (any model, also on GPUs) or auto.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Precision of the weights: float32, or in the native engine bf16 or int8, which are faster and smaller "
        "but change some translations. Measure their scores with evaluate.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Threads of the native engine (default: one per core). No translation depends on it."
    ),
]


def as_text(argument: str) -> str:
    """An argument that is text, not a file name: decoded as UTF-8, whatever the encoding of the locale."""
    try:
        return os.fsencode(argument).decode() if any("\udc80" <= each <= "\udcff" for each in argument) else argument
    except UnicodeDecodeError as error:
        raise typer.BadParameter("not UTF-8") from error


def configuration(
    config: Path | None,
    source: str | None,
    target: str | None,
    dev_source: str | None,
    dev_target: str | None,
    settings: list[str] | None,
    preset: str | None,
) -> "Config":
    """The configuration of train and check: the file, overridden by the command line."""
    files = {"source": source, "target": target, "dev_source": dev_source, "dev_target": dev_target}
    overrides = [f"data.{key}={to_json(file)}" for key, file in files.items() if file is not None]
    return resolve(config, [*overrides, *(settings or [])], preset)


def resolve(config: Path | None, overrides: list[str], preset: str | None) -> "Config":
    """The configuration of a run: the file, if there is one, overridden by the command line."""
    if config is None:
        return zhuyi.build_config({}, overrides, preset, where="command line")
    return zhuyi.load_config(config, overrides, preset)


def taken_away(parts: list[str]) -> list[str]:
    """The parts of --without, as an override for --set."""
    from zhuyi.config import Part

    for part in parts:
        if part not in get_args(Part):
            raise ConfigError(f"--without {part}: no such part; there are {', '.join(get_args(Part))}")
    return [f"model.without={to_json(parts)}"] if parts else []


def of_model(model: Path, settings: list[str] | None, preset: str | None, save: bool) -> "Config":
    """The configuration of a trained model with other settings of its search, which `save` writes into the model."""
    from zhuyi.config import changed
    from zhuyi.directory import DECODING, load_config_of, save_decoding

    if preset is not None:
        raise ConfigError(
            f"--preset {preset}: {model} is a trained model, whose settings are fixed: leave out --preset"
        )
    config = load_config_of(model)
    decoding = changed(config.decoding, of_decoding(settings))
    if save:
        if not settings:
            raise ConfigError("--save keeps the settings of --set decoding.KEY=VALUE: give at least one")
        save_decoding(model, decoding)
        print(f"zhuyi: kept in {model / DECODING}: {', '.join(settings)}", file=sys.stderr)
    return config.model_copy(update={"decoding": decoding})


def of_decoding(settings: list[str] | None) -> dict[str, Any]:
    """The settings of the search among the --set options for a trained model.

    Raises:
        ConfigError: if one of them is not a setting of [decoding].
    """
    from zhuyi.config import parse_override

    given: dict[str, Any] = {}
    for text in settings or []:
        key, value = parse_override(text)
        if not key.startswith("decoding."):
            raise ConfigError(f"--set {text}: of a trained model only the search can be changed: decoding.KEY=VALUE")
        given[key.removeprefix("decoding.")] = value
    return given


def translator_of(
    models: Sequence[Path],
    device: str,
    beam: int | None,
    length_penalty: float | None,
    max_ratio: float | None,
    n_best: int | None,
    settings: list[str] | None,
    engine: str | None = None,
    precision: str | None = None,
    workers: int | None = None,
    *,
    to: str | None,
    from_language: str | None,
) -> "Translator":
    """The translator of a model or of an ensemble, with the engine, search and languages of the command line."""
    from zhuyi.translator import OF_ENGINE

    named = {
        **{"beam": beam, "length_penalty": length_penalty, "max_ratio": max_ratio, "n_best": n_best},
        **{"engine": engine, "precision": precision, "workers": workers},
    }
    given = {**of_decoding(settings), **{key: value for key, value in named.items() if value is not None}}
    translator = zhuyi.load(*models, device=device, **{key: given.pop(key) for key in OF_ENGINE & given.keys()})
    return translator.with_decoding(translator.decoding(**given)).with_languages(to, from_language)


def by_minimum_bayes_risk(translator: "Translator", metric: str) -> "MinimumBayesRisk":
    """The translator for --mbr METRIC; without --n-best, the whole beam are candidates."""
    from zhuyi.evaluation import MinimumBayesRisk

    decoding = translator.config.decoding
    if translator.labels is None and decoding.strategy == "beam" and decoding.n_best == 1:
        translator = translator.with_decoding(translator.decoding(n_best=decoding.beam))
    return MinimumBayesRisk(translator, cast("Metric", metric))  # it refuses unknown metrics
