"""The command `evaluate`: score a model, or translations by another program."""

import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

import zhuyi
from zhuyi.cli.app import USE, command
from zhuyi.cli.messages import Cut, met_the_limit, show, warn, warn_blank, warn_unknown
from zhuyi.cli.options import (
    AsJson,
    Beam,
    DecodingSettings,
    Device,
    Engine,
    FromLanguage,
    LengthPenalty,
    MaxRatio,
    MinimumBayesRiskBy,
    ModelDirectories,
    NBest,
    Precision,
    To,
    Workers,
    by_minimum_bayes_risk,
    of_decoding,
    translator_of,
)
from zhuyi.cli.streams import read_aligned, to_json, write_stdout
from zhuyi.errors import ConfigError, DataError

if TYPE_CHECKING:
    from zhuyi.config import Metric
    from zhuyi.evaluation import Evaluation, Score
    from zhuyi.translator import Translator


@command(
    USE,
    "zhuyi evaluate en-de --source test.en --target test.de",
    "[dim]# Pronunciations: a word on several lines has several right answers.[/]\n"
    "zhuyi evaluate g2p --source test.tsv#1 --target test.tsv#2 --metric wer,per",
    "[dim]# Two references for each line, as JSON.[/]\n"
    "zhuyi evaluate en-de --source test.en \\\n"
    "    --target test.de1 --target test.de2 --json",
    "[dim]# An ensemble: the mean of the models' probabilities.[/]\n"
    "zhuyi evaluate en-de-1 en-de-2 en-de-3 --source test.en --target test.de",
    "[dim]# Translations by another program.[/]\nzhuyi evaluate --answers other.de --target test.de",
    "[dim]# Choose the length penalty on a dev set, and keep it in the model.[/]\n"
    "zhuyi evaluate en-de --source dev.en --target dev.de --tune-length-penalty",
    "[dim]# A language model on running text: loss per token, and bits per byte.[/]\n"
    "zhuyi evaluate shakespeare --target test.txt",
)
def evaluate(
    target: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="References. Repeat it for further references of each line, where a blank line means none.",
        ),
    ],
    models: ModelDirectories = None,
    source: Annotated[
        str | None, typer.Option(metavar="FILE", help="File to translate: text or FILE.tsv#COLUMN, ...")
    ] = None,
    answers: Annotated[
        str | None, typer.Option(metavar="FILE", help="Translations to score, instead of those of a MODEL.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            show_default=False,
            help="Metrics, separated by commas: bleu, chrf, wer (share of wrong words, where each line is one), per "
            "(share of wrong symbols, separated by spaces), exact; for labels accuracy, macro_f1, span_f1 (of IOB "
            "labels). Default: the metric of the model's training.",
        ),
    ] = None,
    bleu_tokenizer: Annotated[
        str, typer.Option(metavar="NAME", help="sacreBLEU's tokenizer; auto chooses by the script of the target.")
    ] = "auto",
    to: To = None,
    from_language: FromLanguage = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    max_ratio: MaxRatio = None,
    n_best: NBest = None,
    mbr: MinimumBayesRiskBy = None,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune-length-penalty",
            help="First try length penalties from 0 to 2 on this dev set, and keep the best in the MODEL.",
        ),
    ] = False,
    settings: DecodingSettings = None,
    device: Device = "auto",
    engine: Engine = None,
    precision: Precision = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Translate a test set and score the translations.

    BLEU and chrF are sacreBLEU's, on raw text, each with the signature that makes it comparable. WER, PER and exact
    match are those of pronunciations: each line is a word, and lines with the same source are one word with several
    right answers. So WER is the share of wrong lines, not the WER of speech recognition. With --n-best N, the best of N
    translations counts. The loss is in nats per target token.

    Labels have accuracy (of lines, or of tokens), macro F1, and the F1 of the spans that IOB labels mark, as in CoNLL.

    --tune-length-penalty chooses by the first metric. Use a dev set for it: scores on the set that the penalty was
    chosen on are too good. Other options of the search apply, but only the length penalty is kept in the MODEL.
    """
    from zhuyi.evaluation import Evaluation, score

    name = " + ".join(map(str, models or [])) or answers
    if (not models) == (answers is None):
        raise ConfigError("give either a MODEL to translate with, or --answers FILE, and not both")
    of_search = (to, from_language, beam, length_penalty, max_ratio, n_best, mbr, engine, precision, workers)
    searches = bool(settings) or tune or any(each is not None for each in of_search)
    if answers is not None and (searches or device != "auto"):
        raise ConfigError("--answers are scored as they are: options of the search need a MODEL")
    if models and source is None:
        if searches or bleu_tokenizer != "auto":
            raise ConfigError("--source is missing; a language model needs none, but takes no options of a search")
        _print(name, _evaluated_text(models, device, target, metric), as_json)
        return
    first = source or answers
    assert first is not None
    sources, references = _read(first, target)
    if not models:
        assert answers is not None
        found = read_aligned(answers, target[0])[0]
        scores = score(_metrics(metric, "bleu"), found, references, sources if source else None, bleu_tokenizer)
        evaluation = Evaluation(scores, None, len(found), 0.0, found, 0)
    else:
        translator = translator_of(
            *(models, device, beam, length_penalty, max_ratio, n_best, settings, engine, precision, workers),
            to=to,
            from_language=from_language,
        )
        metrics = _metrics(metric, translator.config.training.metric)
        encoded = translator.tokenizers.source.encode(sources)
        _check_lines(translator, encoded, references, metrics)
        if tune:
            translator = _tuned(translator, models[0], sources, references, metrics[0])
        chosen = translator if mbr is None else by_minimum_bayes_risk(translator, mbr)
        best = 1 if mbr is not None else n_best or of_decoding(settings).get("n_best", 1)
        evaluation = zhuyi.evaluate(chosen, sources, references, metrics, bleu_tokenizer=bleu_tokenizer, n_best=best)
        warn_unknown(encoded, translator.tokenizers.source.fallback)
    _warn(evaluation, references, bleu_tokenizer)
    _print(name, evaluation, as_json)


def _read(source: str, target: list[str]) -> tuple[list[str], list[list[str]]]:
    """The lines of the source, or of the answers, and the references of each."""
    from zhuyi.evaluation import references_of
    from zhuyi.text.segmentation import count_marks, segmentation_warning

    aligned = [read_aligned(source, file) for file in target]
    sources = aligned[0][0]
    references = references_of([targets for _, targets in aligned])
    warn_blank(sources, references)
    right = [reference for line in references for reference in line]
    if warning := segmentation_warning("the references", count_marks(right), len(right)):
        warn(warning)
    return sources, references


def _check_lines(
    translator: "Translator", encoded: list[list[int]], references: list[list[str]], metrics: list["Metric"]
) -> None:
    """Check that the model can be scored on these lines, and warn of those that it cuts off."""
    if translator.config.data.text is not None:
        raise ConfigError("the MODEL was trained on running text: give the text as --target, and leave out --source")
    cut = Cut(translator.longest)
    for index, tokens in enumerate(encoded):
        if len(tokens) > translator.longest:
            cut.add(1, index, len(tokens))
    cut.warn()
    if translator.labels is not None:
        _check_labels(translator, encoded, references, metrics)


def _warn(evaluation: "Evaluation", references: list[list[str]], bleu_tokenizer: str) -> None:
    """Warn of translations that were cut off, and of a meaningless BLEU."""
    from zhuyi.evaluation import too_short_for_bleu

    if evaluation.unfinished:
        warn(met_the_limit(evaluation.unfinished, evaluation.lines))
    if "bleu" in evaluation.scores and too_short_for_bleu([*chain.from_iterable(references)], bleu_tokenizer):
        warn("no reference has the four tokens that BLEU needs: use --metric chrf or exact for short references")


def _print(name: str | None, evaluation: "Evaluation", as_json: bool) -> None:
    if as_json:
        write_stdout(to_json({"model": name, **evaluation.to_dict()}) + "\n")
    else:
        show(evaluation)


def _tuned(
    translator: "Translator", model: Path, sources: list[str], references: list[list[str]], metric: "Metric"
) -> "Translator":
    """The translator with the length penalty that scores best, which is also written to its model directory."""
    from zhuyi.directory import DECODING, ensure_changeable, load_config_of, save_decoding
    from zhuyi.evaluation import tune_length_penalty

    def say(penalty: float, score: "Score") -> None:
        print(f"zhuyi: length penalty {penalty:g}: {metric} {score.value:.2f}", file=sys.stderr)

    ensure_changeable(model)
    penalty, _ = tune_length_penalty(translator, sources, references, metric, say)
    chosen = {"length_penalty": penalty}
    save_decoding(model, load_config_of(model).decoding.model_copy(update=chosen))
    print(f"zhuyi: kept in {model / DECODING}: decoding.length_penalty={penalty:g}", file=sys.stderr)
    return translator.with_decoding(translator.config.decoding.model_copy(update=chosen))


def _check_labels(
    translator: "Translator", encoded: list[list[int]], references: list[list[str]], metrics: list["Metric"]
) -> None:
    """Check that the metrics are those of labels, and that each line has as many labels as the model predicts."""
    from zhuyi.config import METRICS_OF
    from zhuyi.text.tokenizer import UNK

    for name in metrics:
        if name not in METRICS_OF["labels"]:
            raise ConfigError(f"--metric {name}: for labels, choose {' or '.join(METRICS_OF['labels'])}")
    unknown: set[str] = set()
    for line, (tokens, right) in enumerate(zip(encoded, references, strict=True), start=1):
        labels, wanted = right[0].split(), len(tokens) if translator.labels == "token" else 1
        if len(labels) != wanted:
            raise DataError(f"line {line} of the references has {len(labels)} labels; the model predicts {wanted}")
        numbers = translator.tokenizers.target.encode([" ".join(labels)])[0]
        unknown |= {label for label, number in zip(labels, numbers, strict=True) if number == UNK}
    if unknown:
        warn(f"the model does not know these labels, and never predicts them: {', '.join(sorted(unknown)[:10])}")


def _evaluated_text(models: list[Path], device: str, files: list[str], metric: str | None) -> "Evaluation":
    """The scores of a language model on running text, which --target names if there is no --source."""
    from zhuyi.evaluation.held_out import RunningText

    if len(models) > 1:
        raise ConfigError("--source is missing: give the file to translate")
    translator = zhuyi.load(models[0], device=device, engine="torch", precision="float32")
    if translator.config.data.text is None:
        raise ConfigError("--source is missing: give the file to translate")
    if len(files) > 1 or metric is not None:
        raise ConfigError("a language model has one --target and no --metric: it is scored by bits per byte and loss")
    text = RunningText.read(files[0], translator.config, translator.tokenizers)
    fallback = translator.tokenizers.target.fallback
    if len(fallback) == 1 and (unknown := text.count(fallback.start)):  # bytes stand for themselves, <unk> for anything
        warn(
            f"{unknown:,} tokens are not in the model's vocabulary, which makes them easy to predict: bits per byte "
            "are too low, and not comparable"
        )
    return text.evaluate(translator, translator.config.training.metric)


def _metrics(names: str | None, usual: "Metric") -> list["Metric"]:
    from zhuyi.evaluation import shown_with

    if names is not None:
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        return cast("list[Metric]", wanted)  # evaluate knows which there are
    return shown_with(usual)
