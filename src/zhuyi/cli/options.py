"""Options that several commands share, and what is made of them: a configuration, or a translator."""

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
    typer.Argument(metavar="CONFIG.toml", show_default=False, help="The settings; data paths are relative to it."),
]
ModelDirectory = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", show_default=False, help="A model directory, as train and demo write it, or hub:USER/NAME."
    ),
]
ModelDirectories = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="A model directory, as train and demo write it; several are an ensemble, in which the first says how to "
        "search.",
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Training source, one sentence a line: text, or FILE.tsv#COLUMN, FILE.jsonl#FIELD, ..."
    ),
]
Target = Annotated[str | None, typer.Option(metavar="FILE", help="Training target, aligned with the source.")]
DevSource = Annotated[str | None, typer.Option(metavar="FILE", help="Validation source: chooses the best checkpoint.")]
DevTarget = Annotated[str | None, typer.Option(metavar="FILE", help="Validation target.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; as often as you like."),
]
Preset = Annotated[
    str | None, typer.Option(metavar="NAME", help="The settings below yours: modern (default), paper, tiny.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Beam = Annotated[
    int | None, typer.Option(metavar="N", help="Hypotheses kept at each step; 1 is greedy search, the fastest.")
]
LengthPenalty = Annotated[
    float | None, typer.Option(metavar="X", help="Higher gives longer translations; 0 compares bare probabilities.")
]
MaxRatio = Annotated[
    float | None,
    typer.Option(
        metavar="X", help="Longest output, in tokens for each token of the source; decoding.max_extra are added."
    ),
]
NBest = Annotated[
    int | None,
    typer.Option(metavar="N", help="Translations of each line; at most as many as --beam, or samples in any number."),
]
MinimumBayesRiskBy = Annotated[
    str | None,
    typer.Option(
        "--mbr",
        metavar="METRIC",
        help="Of the --n-best candidates for a line (unset: all of the beam), give the one that METRIC finds most like "
        "the others, the probable ones above all (minimum Bayes risk): bleu, chrf, wer, per, exact.",
    ),
]
To = Annotated[
    str | None,
    typer.Option(metavar="LANG", help="The language of the output, of a model of several: fra is >>fra<<, fra_Latn."),
]
FromLanguage = Annotated[
    str | None, typer.Option(metavar="LANG", help="The language of the input, for a model that reads its name.")
]
DecodingSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="decoding.KEY=VALUE", help="Any other setting of the search; see zhuyi config."),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where to compute: auto, cpu or cuda.")]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What computes: native (zhuyi's own loop, the fastest on CPUs), torch (any model, GPUs too), or auto.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="float32, or, in the native engine, bf16 or int8: faster and smaller, but some translations change. "
        "evaluate says what that costs.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", help="Threads of the native engine, one a core if unset; they change no translation."),
]


def as_text(argument: str) -> str:
    """An argument that is text and no name. Where the locale has no such characters it is the bytes of UTF-8."""
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
    """What train and check work on: the file, with the command line over it."""
    files = {"source": source, "target": target, "dev_source": dev_source, "dev_target": dev_target}
    overrides = [f"data.{key}={to_json(file)}" for key, file in files.items() if file is not None]
    return resolve(config, [*overrides, *(settings or [])], preset)


def resolve(config: Path | None, overrides: list[str], preset: str | None) -> "Config":
    """The configuration of a run: a file, or none, with the command line over it."""
    if config is None:
        return zhuyi.build_config({}, overrides, preset, where="command line")
    return zhuyi.load_config(config, overrides, preset)


def taken_away(parts: list[str]) -> list[str]:
    """What --without says, as --set takes it."""
    from zhuyi.config import Part

    for part in parts:
        if part not in get_args(Part):
            raise ConfigError(f"--without {part}: no such part; there are {', '.join(get_args(Part))}")
    return [f"model.without={to_json(parts)}"] if parts else []


def of_model(model: Path, settings: list[str] | None, preset: str | None, save: bool) -> "Config":
    """The configuration of a trained model, with other settings of its search, which are kept in it on demand."""
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
            raise ConfigError("--save keeps what --set decoding.KEY=VALUE says: there is none")
        save_decoding(model, decoding)
        print(f"zhuyi: kept in {model / DECODING}: {', '.join(settings)}", file=sys.stderr)
    return config.model_copy(update={"decoding": decoding})


def of_decoding(settings: list[str] | None) -> dict[str, Any]:
    """What --set says of a trained model's search."""
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
    """The model in a directory, or an ensemble, with what the command line says of its engine, search and languages."""
    from zhuyi.translator import OF_ENGINE

    named = {
        **{"beam": beam, "length_penalty": length_penalty, "max_ratio": max_ratio, "n_best": n_best},
        **{"engine": engine, "precision": precision, "workers": workers},
    }
    given = {**of_decoding(settings), **{key: value for key, value in named.items() if value is not None}}
    translator = zhuyi.load(*models, device=device, **{key: given.pop(key) for key in OF_ENGINE & given.keys()})
    return translator.with_decoding(translator.decoding(**given)).with_languages(to, from_language)


def by_minimum_bayes_risk(translator: "Translator", metric: str) -> "MinimumBayesRisk":
    """The translator that --mbr METRIC asks for: where no --n-best is said, all of the beam are candidates."""
    from zhuyi.evaluation import MinimumBayesRisk

    decoding = translator.config.decoding
    if translator.labels is None and decoding.strategy == "beam" and decoding.n_best == 1:
        translator = translator.with_decoding(translator.decoding(n_best=decoding.beam))
    return MinimumBayesRisk(translator, cast("Metric", metric))  # which says which metrics there are
