"""The verb `translate`: translate files, or standard input."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from zhuyi.cli.app import USE, verb
from zhuyi.cli.messages import Cut, Unfinished
from zhuyi.cli.options import (
    Beam,
    DecodingSettings,
    Device,
    Engine,
    FromLanguage,
    LengthPenalty,
    MaxRatio,
    ModelDirectory,
    NBest,
    Precision,
    To,
    Workers,
    translator_of,
)
from zhuyi.cli.streams import json_line, labels_line, output, read_chunks, standard_input, text_lines
from zhuyi.errors import ConfigError


@verb(
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
)
def translate(
    model: ModelDirectory,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="What to translate, one after the other: text, FILE.tsv#COLUMN, ...",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the translations go, if not to standard output.")
    ] = None,
    to: To = None,
    from_language: FromLanguage = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    max_ratio: MaxRatio = None,
    n_best: NBest = None,
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

    A model of the shape "encoder" prints the label of each line, or those of its tokens with spaces between them; a
    score is then their probability, and there is no search, so its options are refused. --json has source and labels.
    """
    translator = translator_of(
        *(model, device, beam, length_penalty, max_ratio, n_best, settings, engine, precision, workers),
        to=to,
        from_language=from_language,
    )
    if translator.config.data.text is not None:
        how = "zhuyi generate continues it; --from {} trains it further, on pairs"
        if not translator.config.continues:
            how = "it gives no labels yet; --from {} trains it further, on labels"
        raise ConfigError(f"{model} learnt from running text: {how.format(model)}")
    for file in files or []:
        if out is not None and out.exists() and Path(file).exists() and out.samefile(file):
            raise ConfigError(f"--out {out} is also what is to be translated: choose another place")
    alternatives, labels = translator.config.decoding.n_best, translator.labels
    first, cut, unfinished = 1, Cut(translator.longest), Unfinished()
    with output(out) as write:
        for sources in read_chunks(files) if files else standard_input():
            found = translator.hypotheses(sources, on_cut=partial(cut.add, first), first=first - 1)
            if as_json and labels is not None:
                answers = [
                    labels_line(source, each, labels == "token") for source, each in zip(sources, found, strict=True)
                ]
            elif as_json:
                answers = [json_line(source, each) for source, each in zip(sources, found, strict=True)]
            else:
                answers = [
                    text_lines(number, each, alternatives, scores, labels is not None)
                    for number, each in enumerate(found, start=first)
                ]
            write("".join(answers))
            unfinished.add(first, found)
            first += len(sources)
    cut.warn()
    unfinished.warn()
