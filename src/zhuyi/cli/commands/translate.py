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
    "[dim]# A model of several languages: into French.[/]\nzhuyi translate en-fr-de test.en --to fra",
    "[dim]# As fast as this machine can.[/]\nzhuyi translate en-de test.en --out test.out --beam 1 --precision int8",
    "[dim]# The three best translations of each line: line, rank, score, text.[/]\n"
    "zhuyi translate en-de --n-best 3 < test.en > test.tsv",
    "[dim]# Everything that is known about them.[/]\nzhuyi translate en-de --json < test.en > test.jsonl",
    "[dim]# Eight random samples of each line; the same seed gives the same ones.[/]\n"
    "zhuyi translate en-de --n-best 8 --set decoding.strategy=sampling \\\n"
    "    --set decoding.temperature=0.8 --set decoding.seed=7 < test.en > test.tsv",
    "[dim]# Many files, part 2 of 8; after a kill, give the same command again.[/]\n"
    "zhuyi translate en-de --in 'shards/*.zst' --out translated --shard 2/8",
    "[dim]# Of 16 hypotheses, the one that is most like all of them.[/]\n"
    "zhuyi translate en-de test.en --beam 16 --mbr chrf --out test.out",
    "[dim]# Three models that were trained with other seeds, as an ensemble.[/]\n"
    "zhuyi translate en-de-1 en-de-2 en-de-3 test.en --out test.out",
)
def translate(
    model: ModelDirectory,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="What to translate, one after the other: text, FILE.tsv#COLUMN, ... A directory is a further MODEL.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the translations go, if not to standard output; with --in, a directory."
        ),
    ] = None,
    shards: Annotated[
        str | None,
        typer.Option("--in", metavar="PATTERN", help="Translate many files, each to a file of its name in --out."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="With --in, only part I of N, so that N machines share the files."),
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
        typer.Option("--scores", help="Print the score, a tab and the translation; in --n-best and --json anyway."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    device: Device = "auto",
    engine: Engine = None,
    precision: Precision = None,
    workers: Workers = None,
) -> None:
    """Translate files, or standard input, line by line, to standard output.

    There are as many lines out as in, in the same order, always: an empty line gives an empty line, and one too long
    for the model is cut, with a warning. The input is UTF-8 text: a line that is not ends it with an error, after the
    answers to the lines before (with --out, all answers are written or none). Lines are answered as they come, so it
    can stand in a pipe. What is not given here is as the model's own configuration says.

    A score is the log-probability of a translation over its length penalty. With --n-best N there are N lines for each
    line of the input: its number, the rank, the score and the text, with tabs between them; where the search found
    fewer, the rest has the score -inf and no text. With --json there is one object for each line of the input:
    source, and translations with text, score, finished, pieces and token_logprobs. A translation that did not end by
    itself, but met the length limit, is not finished; a warning counts them.

    With --in, each file that the pattern matches is translated to a file of the same name in --out, compressed as its
    name says, which is there when it is complete. What is there is not translated again, so a command that was killed
    goes on when it is given again. Several processes may be given it at once, also on machines that share a disk: each
    takes the next file on which no other works; --shard is for a disk without locks. The directory holds the
    translations of one model with one set of settings; others are refused.

    Several models are an ensemble: each step takes the mean of their probabilities. They have one tokenizer, as models
    trained on the same data with other seeds (training.seed) have; the first one says how to search.

    A model of the shape "encoder" prints the label of each line, or those of its tokens with spaces between them; a
    score is then their probability, and there is no search, so its options are refused. --json has source and labels.
    """
    others = [Path(file) for file in files or [] if is_model(file)]
    files = [file for file in files or [] if not is_model(file)]
    if shards is not None and (files or out is None):
        raise ConfigError(f"--in {shards}: give --out DIR with it, and no FILE")
    if shards is None and part is not None:
        raise ConfigError(f"--shard {part}: takes a part of the files that --in names: give it too")
    taken = _part(part)
    translator = translator_of(
        *([model, *others], device, beam, length_penalty, max_ratio, n_best, settings, engine, precision, workers),
        to=to,
        from_language=from_language,
    )
    if translator.config.data.text is not None:
        how = "zhuyi generate continues it; --from {} trains it further, on pairs"
        if not translator.config.continues:
            how = "it gives no labels yet; --from {} trains it further, on labels"
        raise ConfigError(f"{model} learnt from running text: {how.format(model)}")
    answers = Answers(translator, mbr, scores, as_json)
    if shards is not None and out is not None:
        _translate_shards(answers, shards, out, taken)
        return
    for file in files:
        if out is not None and out.exists() and Path(file).exists() and out.samefile(file):
            raise ConfigError(f"--out {out} is also what is to be translated: choose another place")
    with output(out) as write:
        for text in answers.to(read_chunks(files) if files else standard_input()):
            write(text)


def is_model(argument: str) -> bool:
    """Whether an argument names a model, and not a text: a data set of the hub is one, and names its column."""
    return Path(argument).is_dir() or (argument.startswith("hub:") and "#" not in argument)


class Answers:
    """What is printed for lines: text, scores or JSON."""

    def __init__(self, translator: "Translator", mbr: str | None, scores: bool, as_json: bool) -> None:
        self.translator, self.mbr, self._scores, self._as_json = translator, mbr, scores, as_json
        self._answering = translator if mbr is None else by_minimum_bayes_risk(translator, mbr)
        self._alternatives = translator.config.decoding.n_best if mbr is None else 1

    @property
    def ending(self) -> str:
        """Of the name of a file that they are written to; none for plain text."""
        if self._as_json:
            return ".jsonl"
        return ".tsv" if self._scores or self._alternatives > 1 else ""

    def to(self, chunks: Iterable[list[str]], place: str = "") -> Iterator[str]:
        """Those to the lines of a text in chunks, for each chunk; then warnings, in which the text's `place` is."""
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
