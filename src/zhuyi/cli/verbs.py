"""The verbs: each calls one public function and prints what it gives."""

import os
import shlex
import sys
import webbrowser
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast
from urllib.parse import urlencode

import typer

import zhuyi
from zhuyi.cli.app import LOOK, START, TRAIN, USE, verb
from zhuyi.cli.messages import Cut, Unfinished, met_the_limit, show, warn, warn_blank, warn_unknown
from zhuyi.cli.options import (
    AsJson,
    Beam,
    ConfigFile,
    DecodingSettings,
    Device,
    DevSource,
    DevTarget,
    Engine,
    LengthPenalty,
    MaxRatio,
    ModelDirectory,
    NBest,
    Precision,
    Preset,
    Settings,
    Source,
    Target,
    Workers,
    as_text,
    configuration,
    of_decoding,
    of_model,
    resolve,
    taken_away,
    translator_of,
)
from zhuyi.cli.streams import (
    json_line,
    labels_line,
    output,
    read_aligned,
    read_chunks,
    standard_input,
    text_lines,
    to_json,
    write_stdout,
)
from zhuyi.errors import ConfigError

if TYPE_CHECKING:
    from zhuyi.config import Metric
    from zhuyi.evaluation import Evaluation
    from zhuyi.translator import Translator


@verb(
    START,
    "zhuyi demo",
    "[dim]# Half the time, and somewhere else; then ask it something.[/]\n"
    "zhuyi demo --minutes 1 --out my-dates\n"
    'echo "3 July 1998" | zhuyi translate my-dates',
)
def demo(
    minutes: Annotated[float, typer.Option(min=0.01, metavar="MINUTES", help="How long to train.")] = 2.0,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the model goes.")] = Path("zhuyi-demo"),
) -> None:
    """Train a small model now, and see what it has learnt.

    It reads dates as people write them in many languages and writes them as ISO 8601: "3. Juli 1998" → 1998-07-03.
    Nothing is downloaded. What it leaves behind is a model directory like any other.
    """
    from rich.console import Console

    from zhuyi.demo import demo as run
    from zhuyi.display import ProgressDisplay, show_demo
    from zhuyi.training.precision import keep_memory

    keep_memory()
    console = Console()
    with ProgressDisplay(console) as display:
        made = run(minutes=minutes, out=out, listeners=[display])
    if made.result.interrupted:
        budget = f"training.minutes={minutes}"
        _stopped(["train", str(out / "dates.toml"), "--set", budget, "--out", str(out), "--resume"])
    show_demo(made, console)


@verb(
    TRAIN,
    "zhuyi check --source train.en --target train.de",
    "[dim]# Two columns of one table, and what would leak from training into validation.[/]\n"
    "zhuyi check --source pairs.tsv#1 --target pairs.tsv#2 \\\n"
    "    --dev-source dev.tsv#1 --dev-target dev.tsv#2",
    "zhuyi check en-de.toml",
)
def check(
    config: ConfigFile = None,
    source: Source = None,
    target: Target = None,
    dev_source: DevSource = None,
    dev_target: DevTarget = None,
    settings: Settings = None,
    preset: Preset = None,
) -> None:
    """Look at a corpus without training on it.

    Counts pairs, empty lines, duplicates, unknown tokens, pairs that also stand in dev or test, and lines over the
    length limit, and draws how long the lines are; of running text (data.text), characters, bytes, repeated lines, and
    dev lines that also stand in training. [bold]train[/] shows the same table before it starts.
    """
    from rich.console import Console

    from zhuyi.display import ProgressDisplay, show_report

    console = Console()
    resolved = configuration(config, source, target, dev_source, dev_target, settings, preset)
    with ProgressDisplay(console) as display:
        report = zhuyi.check(resolved, [display])
    show_report(report, console)


@verb(
    TRAIN,
    "[dim]# Thirty minutes on two files, into zhuyi-model.[/]\nzhuyi train --source train.en --target train.de",
    "[dim]# With validation, a smaller model, and a budget in minutes.[/]\n"
    "zhuyi train --source train.en --target train.de \\\n"
    "    --dev-source dev.en --dev-target dev.de \\\n"
    "    --preset tiny --set training.minutes=10 --out en-de",
    "[dim]# From a file of settings, into runs/en-de; and on, after it was stopped.[/]\n"
    "zhuyi train en-de.toml\n"
    "zhuyi train en-de.toml --resume",
    "[dim]# On with a model that you have, on other data.[/]\nzhuyi train other.toml --from en-de",
    "[dim]# Without a part, to see what it is for.[/]\nzhuyi train en-de.toml --without mask --out no-mask",
)
def train(
    config: ConfigFile = None,
    source: Source = None,
    target: Target = None,
    dev_source: DevSource = None,
    dev_target: DevTarget = None,
    settings: Settings = None,
    preset: Preset = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="The model directory. Default: runs/CONFIG, or zhuyi-model without a CONFIG.",
        ),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="MODEL", show_default=False, help="Begin with the weights and vocabulary of this model."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="Break the model on purpose, to see what a part is for: mask, positions, residual, norm, scaling, "
            "cross, begin, end, shift or warmup; as often as you like.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped run in DIR was.")] = False,
) -> None:
    """Train a model on pairs of lines.

    All it needs is two files whose lines belong together; a third and a fourth, for validation, let it keep its best
    state instead of its last. The options win over CONFIG.toml; [bold]zhuyi config[/] lists all settings. Ctrl-C saves
    and says how to continue.
    """
    from rich.console import Console

    from zhuyi.display import ProgressDisplay
    from zhuyi.training.distributed import is_main_process
    from zhuyi.training.precision import keep_memory

    keep_memory()
    start = [f"training.start_from={to_json(str(start_from))}"] if start_from is not None else []
    settings = [*start, *taken_away(without or []), *(settings or [])]
    resolved = configuration(config, source, target, dev_source, dev_target, settings, preset)
    directory = out or (Path("zhuyi-model") if config is None else Path("runs") / config.stem)
    with ProgressDisplay(Console(quiet=not is_main_process())) as display:
        result = zhuyi.train(resolved, directory, resume=resume, listeners=[display])
    if not is_main_process():
        raise typer.Exit(130 if result.interrupted else 0)
    if result.interrupted:
        _stopped(sys.argv[1:] if resume else [*sys.argv[1:], "--resume"])
    print(f"\n{result.steps:,} steps in {result.seconds / 60:.1f} minutes; {directory} holds {result.chosen}.")
    if resolved.model.without:
        from zhuyi.model.broken import symptoms

        print(f"It was {symptoms(resolved.model.without)}.")
    for name, evaluation in result.evaluations.items():
        show(evaluation, name)
    place, int8 = shlex.quote(str(directory)), result.int8
    if int8 is not None:
        print(f"{int8}." if int8.recommended else f"{int8}: that changes too much, so stay with float32.")
    if resolved.data.text is None:
        print(f"Use it:  zhuyi translate {place} < in > out")
    elif resolved.model.shape == "decoder":
        print(f'Use it:  zhuyi generate {place} "PROMPT"')
    else:
        print(f"Go on with it on labels:  zhuyi train LABELS.toml --from {place}")
    if int8 is not None and int8.recommended:
        print(f"Faster on CPUs:  zhuyi config {place} --set decoding.precision=int8 --save")


@verb(
    USE,
    'echo "A dog runs." | zhuyi translate en-de',
    "zhuyi translate en-de test.en --out test.out --beam 1",
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
        *(model, device, beam, length_penalty, max_ratio, n_best, settings, engine, precision, workers)
    )
    if translator.config.data.text is not None:
        how = "zhuyi generate continues it" if translator.config.model.shape == "decoder" else "it gives no labels yet"
        raise ConfigError(f"{model} learnt from running text: {how}; --from {model} trains it further, on pairs")
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


@verb(
    USE,
    "zhuyi evaluate en-de --source test.en --target test.de",
    "[dim]# Pronunciations: a word that stands on several lines has several right ones.[/]\n"
    "zhuyi evaluate g2p --source test.tsv#1 --target test.tsv#2 --metric wer,per",
    "[dim]# Two references for each line, as JSON.[/]\n"
    "zhuyi evaluate en-de --source test.en \\\n"
    "    --target test.de1 --target test.de2 --json",
    "[dim]# Answers that were made elsewhere.[/]\nzhuyi evaluate --answers other.de --target test.de",
    "[dim]# Running text, with a language model: loss a token, and bits a byte.[/]\n"
    "zhuyi evaluate shakespeare --target test.txt",
)
def evaluate(
    target: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="The right answers; give it again for further references, where a blank line means none.",
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Argument(metavar="MODEL", show_default=False, help="A model directory, as train and demo write it."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="FILE", help="What to translate; text or FILE.tsv#COLUMN, ...")
    ] = None,
    answers: Annotated[
        str | None, typer.Option(metavar="FILE", help="Score these answers, in the place of a MODEL's.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            show_default=False,
            help="Of bleu, chrf, wer (share of wrong words, one a line), per (share of wrong symbols, which stand "
            "between spaces), exact; of labels accuracy, macro_f1, span_f1 (of IOB labels); commas between them. "
            "Default: the one the model was trained by.",
        ),
    ] = None,
    bleu_tokenizer: Annotated[
        str, typer.Option(metavar="NAME", help="sacreBLEU's tokenizer; auto goes by the script of the target.")
    ] = "auto",
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    max_ratio: MaxRatio = None,
    n_best: NBest = None,
    settings: DecodingSettings = None,
    device: Device = "auto",
    engine: Engine = None,
    precision: Precision = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Translate a test set and score the answers.

    BLEU and chrF are sacreBLEU's, on raw text, each with the signature that makes it comparable. WER, PER and exact
    match are those of pronunciations: a line is a word, and lines with the same source are one word with several right
    answers. So WER is the share of lines that are wrong, not a speech recogniser's. With --n-best N they count the best
    of N answers. The loss is in nats per target token.

    Labels have accuracy (of lines, or of tokens), macro F1, and the F1 of the spans that IOB labels mark, as in CoNLL.
    """
    from zhuyi.evaluation import Evaluation, references_of, score, too_short_for_bleu
    from zhuyi.text.segmentation import count_marks, segmentation_warning

    if (model is None) == (answers is None):
        raise ConfigError("give either a MODEL, whose answers are scored, or --answers FILE, and not both")
    belonging = (beam, length_penalty, max_ratio, n_best, engine, precision, workers)
    if answers is not None and (settings or device != "auto" or any(each is not None for each in belonging)):
        raise ConfigError("--answers are scored as they are: options of the search belong to a MODEL")
    if model is not None and source is None:
        evaluation = _evaluated_text(model, device, target, metric)
        if as_json:
            write_stdout(to_json({"model": str(model), **evaluation.to_dict()}) + "\n")
        else:
            show(evaluation)
        return
    first = source or answers
    assert first is not None
    aligned = [read_aligned(first, file) for file in target]
    sources = aligned[0][0]
    references = references_of([targets for _, targets in aligned])
    warn_blank(sources, references)
    right = [reference for line in references for reference in line]
    if warning := segmentation_warning("the references", count_marks(right), len(right)):
        warn(warning)
    if model is None:
        assert answers is not None
        found = read_aligned(answers, target[0])[0]
        scores = score(_metrics(metric, "bleu"), found, references, sources if source else None, bleu_tokenizer)
        evaluation = Evaluation(scores, None, len(found), 0.0, found, 0)
    else:
        translator = translator_of(
            *(model, device, beam, length_penalty, max_ratio, n_best, settings, engine, precision, workers)
        )
        cut = Cut(translator.longest)
        encoded = translator.tokenizers.source.encode(sources)
        for index, tokens in enumerate(encoded):
            if len(tokens) > translator.longest:
                cut.add(1, index, len(tokens))
        cut.warn()
        metrics = _metrics(metric, translator.config.training.metric)
        best = n_best or of_decoding(settings).get("n_best", 1)
        evaluation = zhuyi.evaluate(
            translator, sources, references, metrics, bleu_tokenizer=bleu_tokenizer, n_best=best
        )
        warn_unknown(encoded, translator.tokenizers.source.fallback)
    if evaluation.unfinished:
        warn(met_the_limit(evaluation.unfinished, evaluation.lines))
    if "bleu" in evaluation.scores and too_short_for_bleu([*chain.from_iterable(references)], bleu_tokenizer):
        warn("no reference has the four tokens that BLEU wants: --metric chrf or exact suits short answers")
    if as_json:
        write_stdout(to_json({"model": str(model or answers), **evaluation.to_dict()}) + "\n")
    else:
        show(evaluation)


@verb(
    USE,
    "zhuyi export en-de --to ctranslate2 --out en-de-ct2",
    "[dim]# A quarter of the size; compared on lines of your own.[/]\n"
    "zhuyi export en-de --to ctranslate2 --out en-de-int8 \\\n"
    "    --precision int8 --source test.en",
)
def export(
    model: ModelDirectory,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="Whose format: ctranslate2.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where it goes; an earlier export in it is replaced.")],
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="Of the weights: float32, or int8, whose answers may differ.")
    ] = "float32",
    source: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Compare the answers on the first 20 lines of this; text or FILE.tsv#COLUMN, ... Default: lines made "
            "of the vocabulary.",
        ),
    ] = None,
) -> None:
    """Write a model for another program, and check that it gives the same answers there.

    With --to ctranslate2, DIR is what ctranslate2.Translator opens, together with the tokenizers and a README.md whose
    lines of Python translate without zhuyi and without torch. It needs the extra "ctranslate2".

    At the end, 20 lines are translated by both programs, with greedy search, and compared. Beams agree at
    --length-penalty 0 only: other programs have other length penalties. What the other program cannot compute, such as
    model.positions = "alibi", is refused, and nothing is written.
    """
    from zhuyi.data.corpus import read_lines

    lines = read_lines(source) if source is not None else None
    exported = zhuyi.export_model(model, out, to, precision=precision, lines=lines)
    print(
        f"{out}: {exported.same} of {exported.lines} the same as zhuyi, by greedy search; log-probabilities of tokens "
        f"differ by {exported.difference:.1g} at most"
    )
    print(f"Beams agree with zhuyi's at length penalty 0 only. Use it: see {out / 'README.md'}")


@verb(
    LOOK,
    'zhuyi look zhuyi-demo "3. Juli 1998"',
    "[dim]# With the right answer beside it, and as one file that needs no network.[/]\n"
    'zhuyi look en-de "A dog runs." --target "Ein Hund rennt." --html dog.html',
)
def look(
    model: ModelDirectory,
    sentence: Annotated[
        str | None,
        typer.Argument(
            parser=as_text, metavar="SENTENCE", show_default=False, help="What to look at; or type it there."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(parser=as_text, metavar="TEXT", help="The right answer, to compare.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one file, and serve nothing.")] = None,
    full: Annotated[bool, typer.Option("--full", help="With --html: leave nothing out, whatever the size.")] = False,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    max_ratio: MaxRatio = None,
    n_best: NBest = None,
    settings: DecodingSettings = None,
    device: Device = "auto",
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page.")] = True,
) -> None:
    """See every step of your own model in the browser: tokens, queries, scores, heads, steps and beams.

    The page is served to this machine alone, until Ctrl-C. With --html it becomes one file that opens anywhere.
    """
    if (target is not None or html is not None) and sentence is None:
        raise ConfigError("--target and --html want a SENTENCE to look at")
    if full and html is None:
        raise ConfigError("--full is of the file that --html writes")
    from zhuyi.directory import checkpoints
    from zhuyi.microscope.server import Microscope
    from zhuyi.translator import OF_ENGINE

    if named := OF_ENGINE & of_decoding(settings).keys():
        keys = ", ".join(f"decoding.{key}" for key in sorted(named))
        raise ConfigError(f"torch computes what is looked at, in float32: leave out --set {keys}")

    def load(path: Path) -> "Translator":
        return translator_of(path, device, beam, length_penalty, max_ratio, n_best, settings, "torch", "float32")

    translator = load(model)
    if html is not None:
        assert sentence is not None
        size = zhuyi.look(translator, sentence, target=target).save(html, full)
        print(f"{html}: {size / 1e6:.1f} MB; open it in any browser")
        return
    kept = {path.name: partial(load, path) for path in checkpoints(model)}
    with Microscope(translator, host, port, kept) as server:
        words = {"text": sentence, "target": target} if sentence is not None else {}
        url = server.url + ("#" + urlencode({key: value for key, value in words.items() if value}) if words else "")
        print(f"{url}\nCtrl-C ends it.", flush=True)
        if browser:
            webbrowser.open(url)
        server.serve_forever()


@verb(
    TRAIN,
    "zhuyi config en-de.toml",
    "zhuyi config en-de.toml --preset tiny --set training.minutes=10",
    "[dim]# All settings of the 2017 model, to start a file of your own.[/]\nzhuyi config --preset paper > en-de.toml",
    "[dim]# From now on, this model searches with a beam of 8.[/]\nzhuyi config en-de --set decoding.beam=8 --save",
)
def config(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG.toml|MODEL", show_default=False, help="The settings of a run to be, or of a trained model."
        ),
    ] = None,
    settings: Settings = None,
    preset: Preset = None,
    save: Annotated[bool, typer.Option("--save", help="Keep decoding.KEY=VALUE in the MODEL.")] = False,
) -> None:
    """Show every setting of a run, its value, and what it means.

    What is shown is the resolved configuration: defaults, under the preset, under CONFIG.toml, under --set. It is
    TOML itself. Without a CONFIG.toml, the defaults are shown. Of a trained model, only how it searches can be changed.
    """
    from zhuyi.config import to_toml

    if config is not None and config.is_dir():
        resolved = of_model(config, settings, preset, save)
    elif save:
        raise ConfigError(
            "--save writes into a MODEL directory; a configuration is kept with: zhuyi config > FILE.toml"
        )
    else:
        resolved = resolve(config, settings or [], preset)
    text = to_toml(resolved)
    if sys.stdout is not None and sys.stdout.isatty():
        from rich.console import Console
        from rich.syntax import Syntax

        Console().print(Syntax(text, "toml", background_color="default", word_wrap=True))
    else:
        write_stdout(text)


def _stopped(again: list[str]) -> NoReturn:
    """Ctrl-C in a training: `again` continues it."""
    command = ["zhuyi"] if "TORCHELASTIC_RUN_ID" not in os.environ else ["torchrun", "...", "-m", "zhuyi"]
    print(f"zhuyi: stopped and saved; go on with: {shlex.join([*command, *again])}", file=sys.stderr)
    raise typer.Exit(130)


def _evaluated_text(model: Path, device: str, files: list[str], metric: str | None) -> "Evaluation":
    """The scores of a model of running text on a text, which is what --target names where there is no --source."""
    from zhuyi.training.held_out import RunningText

    translator = zhuyi.load(model, device=device, engine="torch", precision="float32")
    if translator.config.data.text is None:
        raise ConfigError("--source is missing: what the MODEL is to translate")
    if len(files) > 1 or metric is not None:
        raise ConfigError("a model of running text has one --target, and no --metric: bits a byte, and the loss")
    text = RunningText.read(files[0], translator.config, translator.tokenizers)
    return text.evaluate(translator, translator.config.training.metric)


def _metrics(names: str | None, usual: "Metric") -> list["Metric"]:
    from zhuyi.evaluation import shown_with

    if names is not None:
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        return cast("list[Metric]", wanted)  # evaluate knows which there are
    return shown_with(usual)
