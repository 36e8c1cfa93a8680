"""The command `translate`: translate files, or standard input."""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zhuyi.cli.app import USE, command
from zhuyi.cli.messages import Cut, Unfinished
from zhuyi.cli.options import (
    Beam,
    DecodingSettings,
    Device,
    Engine,
    FromLanguage,
    LengthPenalty,
    MaxRatio,
    MinimumBayesRiskBy,
    ModelDirectory,
    NBest,
    Precision,
    To,
    Workers,
    by_minimum_bayes_risk,
    translator_of,
)
from zhuyi.cli.streams import json_line, labels_line, output, read_chunks, standard_input, text_lines
from zhuyi.errors import ConfigError

if TYPE_CHECKING:
    from zhuyi.translator import Translation, Translator


@command(
    USE,
    'echo "A dog runs." | zhuyi translate en-de',
    "zhuyi translate en-de test.en --out test.out --beam 1",
    "[dim]# A multilingual model, into French.[/]\nzhuyi translate en-fr-de test.en --to fra",
    "[dim]# As fast as possible.[/]\nzhuyi translate en-de test.en --out test.out --beam 1 --precision int8",
    "[dim]# The three best translations of each line: line, rank, score, text.[/]\n"
    "zhuyi translate en-de --n-best 3 < test.en > test.tsv",
    "[dim]# With scores, pieces and their log-probabilities.[/]\nzhuyi translate en-de --json < test.en > test.jsonl",
    "[dim]# Eight random samples of each line, reproducible by their seed.[/]\n"
    "zhuyi translate en-de --n-best 8 --set decoding.strategy=sampling \\\n"
    "    --set decoding.temperature=0.8 --set decoding.seed=7 < test.en > test.tsv",
    "[dim]# Many files, part 2 of 8. If killed, run the same command again.[/]\n"
    "zhuyi translate en-de --in 'shards/*.zst' --out translated --shard 2/8",
    "[dim]# Of 16 hypotheses, the one that is most like the others.[/]\n"
    "zhuyi translate en-de test.en --beam 16 --mbr chrf --out test.out",
    "[dim]# An ensemble of three models that were trained with different seeds.[/]\n"
    "zhuyi translate en-de-1 en-de-2 en-de-3 test.en --out test.out",
)
def translate(
    model: ModelDirectory,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="Files to translate: text, FILE.tsv#COLUMN, ... Default: standard input. A directory is a MODEL.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File for the translations; with --in, a directory. Default: standard output."
        ),
    ] = None,
    shards: Annotated[
        str | None,
        typer.Option("--in", metavar="PATTERN", help="Translate many files, each to one of the same name in --out."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="With --in: translate only part I of N, for N machines."),
    ] = None,
    to: To = None,
    from_language: FromLanguage = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    max_ratio: MaxRatio = None,
    n_best: NBest = None,
    mbr: MinimumBayesRiskBy = None,
    settings: DecodingSettings = None,
    scores: Annotated[
        bool,
        typer.Option("--scores", help="Print the score before each translation, as --n-best and --json always do."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    device: Device = "auto",
    engine: Engine = None,
    precision: Precision = None,
    workers: Workers = None,
) -> None:
    """Translate files, or standard input, line by line, to standard output.

    Every input line gives one output line, in the same order: an empty line gives an empty line, and a line that is too
    long for the model is cut off, with a warning. The input is UTF-8; a line that is not ends the command with an
    error, after the lines before it have been printed (with --out, either all translations are written or none). Lines
    are translated as they arrive, so the command works in a pipe. Options that are not given are those of the model's
    own configuration.

    A score is the log-probability of a translation, divided by its length penalty. With --n-best N, every input line
    gives N output lines of four columns with tabs between them: line number, rank, score and text. If the search finds
    fewer translations, the rest have the score -inf and no text. With --json, every input line gives one object, with
    source and translations, which have text, score, finished, pieces and token_logprobs. A translation that the length
    limit cut off is not finished; a warning counts them.

    With --in, each file that the pattern matches is translated to a file of the same name, with the same compression,
    in the directory --out. A file appears there when it is complete, and is not translated again, so a command that was
    killed continues when it is run again. Several processes can run it at once, also on machines that share a disk:
    each takes the next file that no other is working on. Where the disk has no file locks, use --shard. The directory
    holds translations by one model with one set of settings; others are refused.

    Several models form an ensemble: each step uses the mean of their probabilities. They need the same tokenizer, as
    models have that were trained on the same data with different seeds (training.seed). The search uses the settings
    of the first one.

    A model of the shape "encoder" prints the label of each line, or the labels of its tokens, separated by spaces.
    Their scores are probabilities. Options of the search are refused, as there is none. With --json, an object has
    source and labels.
    """
    others = [Path(file) for file in files or [] if is_model(file)]
    files = [file for file in files or [] if not is_model(file)]
    if shards is not None and (files or out is None):
        raise ConfigError(f"--in {shards}: give --out DIR with it, and no FILE")
    if shards is None and part is not None:
        raise ConfigError(f"--shard {part}: takes a part of the files that --in names: give --in too")
    taken = _part(part)
    translator = translator_of(
        *([model, *others], device, beam, length_penalty, max_ratio, n_best, settings, engine, precision, workers),
        to=to,
        from_language=from_language,
    )
    if translator.config.data.text is not None:
        how = "continue a text with zhuyi generate, or train it further on pairs with --from {}"
        if not translator.config.continues:
            how = "train it further on labels first, with --from {}"
        raise ConfigError(f"{model} was trained on running text: {how.format(model)}")
    answers = Answers(translator, mbr, scores, as_json)
    if shards is not None and out is not None:
        _translate_shards(answers, shards, out, taken)
        return
    for file in files:
        if out is not None and out.exists() and Path(file).exists() and out.samefile(file):
            raise ConfigError(f"--out {out} is also a file to translate: choose another file")
    with output(out) as write:
        for text in answers.to(read_chunks(files) if files else standard_input()):
            write(text)


def is_model(argument: str) -> bool:
    """Whether an argument names a model, not a text. A data set of the hub is a text: it has a #COLUMN."""
    return Path(argument).is_dir() or (argument.startswith("hub:") and "#" not in argument)


class Answers:
    """Translates lines, and formats what is printed for them: text, scores or JSON."""

    def __init__(self, translator: "Translator", mbr: str | None, scores: bool, as_json: bool) -> None:
        self.translator, self.mbr, self._scores, self._as_json = translator, mbr, scores, as_json
        self._answering = translator if mbr is None else by_minimum_bayes_risk(translator, mbr)
        self._alternatives = translator.config.decoding.n_best if mbr is None else 1

    @property
    def ending(self) -> str:
        """The suffix of a file of translations; empty for plain text."""
        if self._as_json:
            return ".jsonl"
        return ".tsv" if self._scores or self._alternatives > 1 else ""

    def to(self, chunks: Iterable[list[str]], place: str = "") -> Iterator[str]:
        """Yield the output for each chunk of the lines of a text; at its end, warn of what was cut off.

        Args:
            chunks: lines.
            place: of the text, for warnings, with a comma after it.
        """
        first, cut, unfinished = 1, Cut(self.translator.longest, place), Unfinished(place)
        for sources in chunks:
            found = self._answering.hypotheses(sources, on_cut=partial(cut.add, first), first=first - 1)
            yield "".join(map(self._printed, count(first), sources, found))
            unfinished.add(first, found)
            first += len(sources)
        cut.warn()
        unfinished.warn()

    def _printed(self, number: int, source: str, found: list["Translation"]) -> str:
        labels = self.translator.labels
        if not self._as_json:
            return text_lines(number, found, self._alternatives, self._scores, labels is not None)
        return json_line(source, found) if labels is None else labels_line(source, found, labels == "token")


def _translate_shards(answers: Answers, spec: str, out: Path, part: slice) -> None:
    """Translate a part of the files that --in names."""
    from rich.console import Console

    from zhuyi import shards
    from zhuyi.display.shards import ShardsDisplay

    jobs = shards.jobs(spec, out, answers.ending)
    shards.claim(out, jobs, shards.settings_of(answers.translator, answers.mbr, jobs, answers.ending))
    with ShardsDisplay(Console(stderr=True)) as display:
        shards.translate_shards(jobs[part], lambda shard, chunks: answers.to(chunks, f"{shard}, "), display)


def _part(text: str | None) -> slice:
    """The files that --shard I/N takes: every Nth, from the Ith on."""
    if text is None:
        return slice(None)
    numbers = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    first, step = map(int, numbers.groups()) if numbers else (0, 0)
    if not 1 <= first <= step:
        raise ConfigError(f"--shard {text}: write it as I/N, part I of N: 1/4, 2/4, 3/4 and 4/4")
    return slice(first - 1, None, step)
