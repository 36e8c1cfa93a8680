"""The command line. Verbs only: each calls one public function and prints what it gives.

Exit codes: 0 done · 1 the reader of our pipe went away · 2 a mistake that the user can mend, told in one line ·
130 stopped by Ctrl-C.
"""

import codecs
import inspect
import io
import json
import math
import os
import shlex
import sys
import webbrowser
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO, TypeVar, cast
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

import zhuyi
from zhuyi.encoding import decoded
from zhuyi.errors import ConfigError, DataError, ZhuyiError

if TYPE_CHECKING:
    from zhuyi.config import Config, Metric
    from zhuyi.evaluation import Evaluation
    from zhuyi.translator import Translation, Translator


MOST_LINES = 512
"""Translated together: more would go into batches of more equal length, and keep the reader waiting."""

UNKNOWN = 0.3
"""Share of unknown tokens from which on the source is probably not what the model was trained on."""
SHOWN = 10
"""Line numbers that a warning names."""

Verb = TypeVar("Verb", bound=Callable[..., None])


def _examples(*examples: str) -> str:
    """The last part of a help page: what people really type."""
    return "\n\n".join(["[bold]Examples[/]", *examples])


def _prose(docstring: str | None) -> str:
    """A docstring's paragraphs, free to be wrapped anew."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


def _verb(*examples: str) -> Callable[[Verb], Verb]:
    """A verb of the command line: its docstring is the help page, with examples below."""
    return lambda verb: app.command(help=_prose(verb.__doc__), epilog=_examples(*examples))(verb)


app = typer.Typer(
    help=_prose(
        """注意, "attention": train an encoder–decoder Transformer on your own pairs of lines, use it, look inside it.

        Begin with [bold]demo[/]. Then give [bold]train[/] two text files of your own; it makes a model directory, which
        [bold]translate[/], [bold]evaluate[/] and [bold]look[/] take. Each verb explains itself: zhuyi train --help
        """
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples(
        "[dim]# See it work: two minutes, nothing to download.[/]\nzhuyi demo",
        "[dim]# Train on your own text: line n of one file answers line n of the other.[/]\n"
        "zhuyi check --source train.en --target train.de\n"
        "zhuyi train --source train.en --target train.de \\\n"
        "    --dev-source dev.en --dev-target dev.de --out en-de",
        "[dim]# Use it.[/]\n"
        'echo "A dog runs." | zhuyi translate en-de\n'
        "zhuyi evaluate en-de --source test.en --target test.de",
        '[dim]# Look inside it.[/]\nzhuyi look en-de "A dog runs."',
    ),
)

ConfigFile = Annotated[
    Path | None,
    typer.Argument(metavar="CONFIG.toml", show_default=False, help="The settings; data paths are relative to it."),
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", show_default=False, help="A model directory, as train and demo write it.")
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
NBest = Annotated[int | None, typer.Option(metavar="N", help="Translations of each line; at most as many as --beam.")]
DecodingSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="decoding.KEY=VALUE", help="Any other setting of the search; see zhuyi config."),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where to compute: auto, cpu or cuda.")]


def _as_text(argument: str) -> str:
    """An argument that is text and no name. Where the locale has no such characters it is the bytes of UTF-8."""
    try:
        return os.fsencode(argument).decode() if any("\udc80" <= each <= "\udcff" for each in argument) else argument
    except UnicodeDecodeError as error:
        raise typer.BadParameter("not UTF-8") from error


def _version(asked: bool) -> None:
    if asked:
        print(f"zhuyi {zhuyi.__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)]


@app.callback()
def _before_any_verb(version: Version = False) -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:  # torch's own libraries end the process where there is none
        raise ConfigError("the current directory has been removed: change to another one") from error


@_verb(
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


@_verb(
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
    length limit, and draws how long the lines are. [bold]train[/] shows the same table before it starts.
    """
    from zhuyi.display import ProgressDisplay, show_report

    console = Console()
    resolved = _configuration(config, source, target, dev_source, dev_target, settings, preset)
    with ProgressDisplay(console) as display:
        report = zhuyi.check(resolved, display)
    show_report(report, console)


@_verb(
    "[dim]# Thirty minutes on two files, into zhuyi-model.[/]\nzhuyi train --source train.en --target train.de",
    "[dim]# With validation, a smaller model, and a budget in minutes.[/]\n"
    "zhuyi train --source train.en --target train.de \\\n"
    "    --dev-source dev.en --dev-target dev.de \\\n"
    "    --preset tiny --set training.minutes=10 --out en-de",
    "[dim]# From a file of settings, into runs/en-de; and on, after it was stopped.[/]\n"
    "zhuyi train en-de.toml\n"
    "zhuyi train en-de.toml --resume",
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped run in DIR was.")] = False,
) -> None:
    """Train a model on pairs of lines.

    All it needs is two files whose lines belong together; a third and a fourth, for validation, let it keep its best
    state instead of its last. The options win over CONFIG.toml; [bold]zhuyi config[/] lists all settings. Ctrl-C saves
    and says how to go on.
    """
    from zhuyi.display import ProgressDisplay
    from zhuyi.training.distributed import is_main_process
    from zhuyi.training.precision import keep_memory

    keep_memory()
    resolved = _configuration(config, source, target, dev_source, dev_target, settings, preset)
    directory = out or (Path("zhuyi-model") if config is None else Path("runs") / config.stem)
    with ProgressDisplay(Console(quiet=not is_main_process())) as display:
        result = zhuyi.train(resolved, directory, resume=resume, listeners=[display])
    if not is_main_process():
        raise typer.Exit(130 if result.interrupted else 0)
    if result.interrupted:
        _stopped(sys.argv[1:] if resume else [*sys.argv[1:], "--resume"])
    print(f"\n{result.steps:,} steps in {result.seconds / 60:.1f} minutes; {directory} holds {result.chosen}.")
    for name, evaluation in result.evaluations.items():
        _show(evaluation, name)
    print(f"Use it:  zhuyi translate {shlex.quote(str(directory))} < in > out")


@_verb(
    'echo "A dog runs." | zhuyi translate en-de',
    "zhuyi translate en-de test.en --out test.out --beam 1",
    "[dim]# The three best translations of each line: line, rank, score, text.[/]\n"
    "zhuyi translate en-de --n-best 3 < test.en > test.tsv",
    "[dim]# Everything that is known about them.[/]\nzhuyi translate en-de --json < test.en > test.jsonl",
)
def translate(
    model: Model,
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
    """
    translator = _translator(model, device, beam, length_penalty, max_ratio, n_best, settings)
    for file in files or []:
        if out is not None and out.exists() and Path(file).exists() and out.samefile(file):
            raise ConfigError(f"--out {out} is also what is to be translated: choose another place")
    alternatives = translator.config.decoding.n_best
    first, cut, unfinished = 1, _Cut(translator.longest), _Unfinished()
    with _output(out) as write:
        for sources in _chunks_of(files) if files else _standard_input():
            found = translator.hypotheses(sources, on_cut=partial(cut.add, first))
            if as_json:
                answers = [_json(source, each) for source, each in zip(sources, found, strict=True)]
            else:
                answers = [_text(number, each, alternatives, scores) for number, each in enumerate(found, start=first)]
            write("".join(answers))
            unfinished.add(first, found)
            first += len(sources)
    cut.warn()
    unfinished.warn()


@_verb(
    "zhuyi evaluate en-de --source test.en --target test.de",
    "[dim]# Pronunciations: a word that stands on several lines has several right ones.[/]\n"
    "zhuyi evaluate g2p --source test.tsv#1 --target test.tsv#2 --metric wer,per",
    "[dim]# Two references for each line, as JSON.[/]\n"
    "zhuyi evaluate en-de --source test.en \\\n"
    "    --target test.de1 --target test.de2 --json",
    "[dim]# Answers that were made elsewhere.[/]\nzhuyi evaluate --answers other.de --target test.de",
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
            "between spaces), exact; commas between them. Default: the one the model was trained by.",
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
    as_json: AsJson = False,
) -> None:
    """Translate a test set and score the answers.

    BLEU and chrF are sacreBLEU's, on raw text, each with the signature that makes it comparable. WER, PER and exact
    match are those of pronunciations: a line is a word, and lines with the same source are one word with several right
    answers. So WER is the share of lines that are wrong, not a speech recogniser's. With --n-best N they count the best
    of N answers. The loss is in nats per target token.
    """
    from zhuyi.evaluation import Evaluation, references_of, score, too_short_for_bleu
    from zhuyi.text.segmentation import count_marks, segmentation_warning

    if (model is None) == (answers is None):
        raise ConfigError("give either a MODEL, whose answers are scored, or --answers FILE, and not both")
    if answers is not None and (
        settings or device != "auto" or any(each is not None for each in (beam, length_penalty, max_ratio, n_best))
    ):
        raise ConfigError("--answers are scored as they are: options of the search belong to a MODEL")
    if model is not None and source is None:
        raise ConfigError("--source is missing: what the MODEL is to translate")
    first = source or answers
    assert first is not None
    aligned = [_aligned(first, file) for file in target]
    sources = aligned[0][0]
    references = references_of([targets for _, targets in aligned])
    _warn_blank(sources, references)
    right = [reference for line in references for reference in line]
    if warning := segmentation_warning("the references", count_marks(right), len(right)):
        _warn(warning)
    if model is None:
        assert answers is not None
        found = _aligned(answers, target[0])[0]
        scores = score(_metrics(metric, "bleu"), found, references, sources if source else None, bleu_tokenizer)
        evaluation = Evaluation(scores, None, len(found), 0.0, found, 0)
    else:
        translator = _translator(model, device, beam, length_penalty, max_ratio, n_best, settings)
        cut = _Cut(translator.longest)
        encoded = translator.tokenizers.source.encode(sources)
        for index, tokens in enumerate(encoded):
            if len(tokens) > translator.longest:
                cut.add(1, index, len(tokens))
        cut.warn()
        metrics = _metrics(metric, translator.config.training.metric)
        best = n_best or _of_decoding(settings).get("n_best", 1)
        evaluation = zhuyi.evaluate(
            translator, sources, references, metrics, bleu_tokenizer=bleu_tokenizer, n_best=best
        )
        _warn_unknown(encoded, translator.tokenizers.source.fallback)
    if evaluation.unfinished:
        _warn(_met_the_limit(evaluation.unfinished, evaluation.lines))
    if "bleu" in evaluation.scores and too_short_for_bleu([*chain.from_iterable(references)], bleu_tokenizer):
        _warn("no reference has the four tokens that BLEU wants: --metric chrf or exact suits short answers")
    if as_json:
        _write(_dump({"model": str(model or answers), **evaluation.to_dict()}) + "\n")
    else:
        _show(evaluation)


@_verb(
    'zhuyi look zhuyi-demo "3. Juli 1998"',
    "[dim]# With the right answer beside it, and as one file that needs no network.[/]\n"
    'zhuyi look en-de "A dog runs." --target "Ein Hund rennt." --html dog.html',
)
def look(
    model: Model,
    sentence: Annotated[
        str | None,
        typer.Argument(
            parser=_as_text, metavar="SENTENCE", show_default=False, help="What to look at; or type it there."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(parser=_as_text, metavar="TEXT", help="The right answer, to compare.")
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
    from zhuyi.checkpoint import checkpoints
    from zhuyi.microscope.server import Microscope

    translator = _translator(model, device, beam, length_penalty, max_ratio, n_best, settings)
    if html is not None:
        assert sentence is not None
        size = zhuyi.look(translator, sentence, target=target).save(html, full)
        print(f"{html}: {size / 1e6:.1f} MB; open it in any browser")
        return
    kept = {
        path.name: partial(_translator, path, device, beam, length_penalty, max_ratio, n_best, settings)
        for path in checkpoints(model)
    }
    with Microscope(translator, host, port, kept) as server:
        words = {"text": sentence, "target": target} if sentence is not None else {}
        url = server.url + ("#" + urlencode({key: value for key, value in words.items() if value}) if words else "")
        print(f"{url}\nCtrl-C ends it.", flush=True)
        if browser:
            webbrowser.open(url)
        server.serve_forever()


@_verb(
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
        resolved = _of_model(config, settings, preset, save)
    elif save:
        raise ConfigError(
            "--save writes into a MODEL directory; a configuration is kept with: zhuyi config > FILE.toml"
        )
    else:
        resolved = _resolve(config, settings or [], preset)
    text = to_toml(resolved)
    if sys.stdout is not None and sys.stdout.isatty():
        Console().print(Syntax(text, "toml", background_color="default", word_wrap=True))
    else:
        _write(text)


def main() -> NoReturn:
    """The command `zhuyi`."""
    _secure_streams()
    try:
        code = app(prog_name="zhuyi", standalone_mode=False) or 0
        _flush(sys.stdout)
        sys.exit(code)
    except _UsageError as error:
        if not (told := error.format_message()):  # no arguments at all: the help has been shown
            sys.exit(2)
        message = f"{told.rstrip('.')}: see {error.ctx.command_path if error.ctx else 'zhuyi'} --help"
    except typer.Abort:
        print("zhuyi: stopped", file=sys.stderr)
        sys.exit(130)
    except ZhuyiError as error:
        message = str(error)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        message = "out of memory: try a smaller --beam, or train with a smaller training.tokens_per_batch or model"
    with suppress(OSError):
        _flush(sys.stdout)
    with suppress(OSError):
        print("zhuyi: error:", " ".join(message.splitlines()), file=sys.stderr)
    with suppress(OSError):
        _flush(sys.stderr)
    sys.exit(2)


def _secure_streams() -> None:
    """Nothing that is said can fail for its characters, whatever the stream can encode. Data goes through `_write`."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # a closed one: else the next file would have its number
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 – and `print(file=None)` is to standard output
    codecs.register_error("zhuyi", _as_bytes_or_question_mark)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="zhuyi")


def _as_bytes_or_question_mark(error: UnicodeError) -> tuple[str | bytes, int]:
    """A byte of a name that could not be decoded is that byte again; a character that cannot be encoded is a `?`."""
    with suppress(UnicodeError):
        return codecs.lookup_error("surrogateescape")(error)
    return codecs.lookup_error("replace")(error)


def _flush(stream: TextIO | None) -> None:
    """Find out now whether a stream has taken everything: the interpreter would at its end, with a code of its own."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())  # for what is left
        raise


_UsageError: Any = typer.BadParameter.__base__
"""Which typer has under no name that all its versions share."""


def _stopped(again: list[str]) -> NoReturn:
    """Ctrl-C in a training: `again` goes on with it."""
    command = ["zhuyi"] if "TORCHELASTIC_RUN_ID" not in os.environ else ["torchrun", "...", "-m", "zhuyi"]
    print(f"zhuyi: stopped and saved; go on with: {shlex.join([*command, *again])}", file=sys.stderr)
    raise typer.Exit(130)


def _configuration(
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
    overrides = [f"data.{key}={_dump(file)}" for key, file in files.items() if file is not None]
    return _resolve(config, [*overrides, *(settings or [])], preset)


def _resolve(config: Path | None, overrides: list[str], preset: str | None) -> "Config":
    if config is None:
        return zhuyi.build_config({}, overrides, preset, where="command line")
    return zhuyi.load_config(config, overrides, preset)


def _of_model(model: Path, settings: list[str] | None, preset: str | None, save: bool) -> "Config":
    """The configuration of a trained model, with other settings of its search, which are kept in it on demand."""
    from zhuyi.checkpoint import DECODING, load_config_of, save_decoding
    from zhuyi.config import changed

    if preset is not None:
        raise ConfigError(f"--preset {preset}: {model} is a trained model, whose settings are made")
    config = load_config_of(model)
    decoding = changed(config.decoding, _of_decoding(settings))
    if save:
        if not settings:
            raise ConfigError("--save keeps what --set decoding.KEY=VALUE says: there is none")
        save_decoding(model, decoding)
        print(f"zhuyi: kept in {model / DECODING}: {', '.join(settings)}", file=sys.stderr)
    return config.model_copy(update={"decoding": decoding})


def _of_decoding(settings: list[str] | None) -> dict[str, Any]:
    """What --set says of a trained model's search."""
    from zhuyi.config import parse_override

    given: dict[str, Any] = {}
    for text in settings or []:
        key, value = parse_override(text)
        if not key.startswith("decoding."):
            raise ConfigError(f"--set {text}: of a trained model only the search can be changed: decoding.KEY=VALUE")
        given[key.removeprefix("decoding.")] = value
    return given


def _translator(
    model: Path,
    device: str,
    beam: int | None,
    length_penalty: float | None,
    max_ratio: float | None,
    n_best: int | None,
    settings: list[str] | None,
) -> "Translator":
    """The model in a directory, with what the command line says of its search."""
    translator = zhuyi.load(model, device=device)
    named = {"beam": beam, "length_penalty": length_penalty, "max_ratio": max_ratio, "n_best": n_best}
    given = {**_of_decoding(settings), **{key: value for key, value in named.items() if value is not None}}
    width = translator.decoding(**{key: value for key, value in given.items() if key != "n_best"}).beam
    if n_best is not None and n_best > width:
        raise ConfigError(f"--n-best {n_best} is more than --beam, which is {width}: use --beam {n_best}")
    return translator.with_decoding(translator.decoding(**given))


class _Cut:
    """Names the first lines that are too long for the model, as they come, and counts them all."""

    def __init__(self, longest: int) -> None:
        self._longest, self._count = longest, 0

    def add(self, first: int, index: int, tokens: int) -> None:
        """Line `index` from number `first` on."""
        self._count += 1
        if self._count <= SHOWN:
            _warn(f"line {first + index} has {tokens:,} tokens; the model reads {self._longest:,}, the rest is cut off")

    def warn(self) -> None:
        """Say how many there were, if not all have been named."""
        if self._count > SHOWN:
            _warn(f"{self._count:,} lines were cut off in all: a model with a higher model.max_length reads more")


class _Unfinished:
    """Counts the lines whose best translation met the length limit."""

    def __init__(self) -> None:
        self._count = self._of = 0
        self._first: list[int] = []

    def add(self, first: int, found: Sequence[Sequence["Translation"]]) -> None:
        """Translations of the lines from number `first` on."""
        lines = [number for number, each in enumerate(found, start=first) if not each[0].finished]
        self._count += len(lines)
        self._of += len(found)
        self._first += lines[: SHOWN - len(self._first)]

    def warn(self) -> None:
        """Say so, if there are any."""
        if self._count:
            _warn(f"{_met_the_limit(self._count, self._of)} ({_lines(self._count, self._first)})")


def _chunks_of(files: list[str]) -> Iterator[list[str]]:
    """The lines of some files, one after the other; on a terminal, with a bar and the time left."""
    from rich.progress import track

    from zhuyi.data.corpus import read_lines

    console = Console(stderr=True)
    total = sum(1 for file in files for _ in read_lines(file)) if console.is_terminal else 0
    lines = chain.from_iterable(map(read_lines, files))
    chunks = iter(lambda: list(islice(lines, MOST_LINES)), [])
    parts = math.ceil(total / MOST_LINES)
    yield from track(chunks, "Translating", parts, console=console, transient=True, disable=not console.is_terminal)


def _standard_input() -> Iterator[list[str]]:
    """The lines of standard input, as they come."""
    if sys.stdin is None:
        raise DataError("standard input is closed: zhuyi translate MODEL < FILE")
    if sys.stdin.isatty():
        print("zhuyi: type a line and press Enter; Ctrl-D ends", file=sys.stderr)
    return _decoded(_as_they_come(cast(io.BufferedReader, sys.stdin.buffer)))


def _as_they_come(stream: io.BufferedReader) -> Iterator[list[bytes]]:
    """The lines of a stream, with their ends, in chunks: as many as are there, 1 to `MOST_LINES`.

    A keyboard or a slow pipe is answered line by line, a file in large pieces.
    """
    begun: list[bytes] = []  # parts of a line whose end has not come yet
    while part := _read(stream):
        *lines, rest = part.split(b"\n")
        if lines:
            lines[0] = b"".join([*begun, lines[0]])
            begun = []
        for start in range(0, len(lines), MOST_LINES):
            yield [line + b"\n" for line in lines[start : start + MOST_LINES]]
        begun.append(rest)
    if last := b"".join(begun):
        yield [last]


def _read(stream: io.BufferedReader) -> bytes:
    try:
        return stream.read1(1 << 16)
    except OSError as error:
        raise DataError(f"standard input cannot be read: {error.strerror}") from error


def _decoded(chunks: Iterator[list[bytes]]) -> Iterator[list[str]]:
    """The same as text. Where a line is no text, those before it still come, and then the error."""
    waiting: deque[bytes] = deque()
    texts = decoded(iter(waiting.popleft, None), "standard input, line ")
    for chunk in chunks:
        waiting.extend(chunk)
        lines: list[str] = []
        try:
            for text in islice(texts, len(chunk)):
                lines.append(text)
        except DataError:
            yield lines
            raise
        yield lines


def _text(number: int, found: Sequence["Translation"], n_best: int, scores: bool) -> str:
    """What is printed for a line of the input: one line, or `n_best` of them."""
    best = _one_line(found[0].text)
    if n_best == 1:
        return f"{found[0].score:.6f}\t{best}\n" if scores else f"{best}\n"
    missing = [(-math.inf, "")] * (n_best - len(found))
    entries = [(each.score, _one_line(each.text)) for each in found] + missing
    return "".join(f"{number}\t{rank}\t{score:.6f}\t{text}\n" for rank, (score, text) in enumerate(entries, start=1))


def _json(source: str, found: Sequence["Translation"]) -> str:
    translations = [
        {
            "text": translation.text,
            "score": translation.score if math.isfinite(translation.score) else None,  # JSON has no infinity
            "finished": translation.finished,
            "pieces": translation.pieces,
            "token_logprobs": translation.token_logprobs,
        }
        for translation in found
    ]
    return f"{_dump({'source': source, 'translations': translations})}\n"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


_BREAKS = str.maketrans(dict.fromkeys("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029", " "))


def _one_line(text: str) -> str:
    """Made of bytes, a translation may hold any character; none may end the line or the column."""
    return text.translate(_BREAKS)


@contextmanager
def _output(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Writes to standard output at once, or to a file, which is whole or not there."""
    if path is None:
        yield _write
        return
    from zhuyi.checkpoint import opened_atomically

    with opened_atomically(path) as file:

        def write(text: str) -> None:
            file.write(text.encode())

        yield write


def _write(text: str) -> None:
    """Data to standard output: UTF-8 and "\\n" wherever we are."""
    if sys.stdout is None:
        raise DataError("standard output is closed")
    sys.stdout.buffer.write(text.encode(errors="backslashreplace"))  # a name may have bytes that are no character
    sys.stdout.buffer.flush()


def _aligned(source: str, target: str) -> tuple[list[str], list[str]]:
    from zhuyi.data.corpus import Corpus

    pairs = list(Corpus(source, target))
    return [pair.source for pair in pairs], [pair.target for pair in pairs]


def _warn_blank(sources: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Blank references are rarely meant, but where the source is blank too."""
    pairs = enumerate(zip(sources, references, strict=True), start=1)
    blank = [number for number, (source, right) in pairs if not any(right) and source.strip()]
    if blank:
        _warn(f"no reference on {_lines(len(blank), blank)}: the empty string counts as right there")


def _warn_unknown(encoded: Sequence[Sequence[int]], fallback: range) -> None:
    """A model can do nothing with symbols that it has not seen."""
    tokens = sum(map(len, encoded))
    unknown = sum(token in fallback for line in encoded for token in line)
    if unknown > UNKNOWN * tokens:
        _warn(
            f"{unknown / tokens:.0%} of the source's tokens are not in the model's vocabulary: is this its language, "
            "and are source and target the right way round?"
        )


def _lines(count: int, first: Sequence[int]) -> str:
    shown = first[:SHOWN]
    return f"{'line' if count == 1 else 'lines'} {', '.join(map(str, shown))}{', ...' if count > len(shown) else ''}"


def _met_the_limit(count: int, of: int) -> str:
    if count > of / 2:  # and a right answer does so only now and then
        return f"{count:,} of {of:,} answers met the length limit: the model repeats itself, and wants longer training"
    return f"{count:,} of {of:,} answers met the length limit and may be cut; a higher --max-ratio allows more"


def _warn(what: str) -> None:
    print(f"zhuyi: warning: {what}", file=sys.stderr)


def _metrics(names: str | None, usual: "Metric") -> list["Metric"]:
    from zhuyi.evaluation import shown_with

    if names is not None:
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        return cast("list[Metric]", wanted)  # evaluate knows which there are
    return shown_with(usual)


def _show(evaluation: "Evaluation", name: str = "") -> None:
    title = f"{evaluation.lines:,} lines"
    if evaluation.seconds:
        title += f", translated in {evaluation.seconds:.1f} s"
    table = Table(title=f"{name}: {title}" if name else title, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("how", overflow="fold", style="dim")
    for name, score in evaluation.scores.items():
        table.add_row(name, f"{score.value:.2f}", score.signature)
    if evaluation.loss is not None:
        table.add_row("loss", f"{evaluation.loss:.4f}", "nats per target token, the end of the line included")
    Console().print(table)


def _out_of_memory(error: Exception) -> bool:
    """On the GPU, of Python, or on the CPU, where torch has no class for it."""
    named = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
    return named or "can't allocate memory" in str(error)
