"""The command line does what it says, whatever stands on standard input."""

import io
import json
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
import torch
import typer.main
from command_line import TINY, tiny_model, write_pairs
from command_line import zhuyi as run
from rich.console import Console

import zhuyi
from zhuyi import cli
from zhuyi.config import Config, DecodingConfig, build_config, load_config
from zhuyi.directory import load_config_of
from zhuyi.text.lines import MAX_LINES, as_they_come
from zhuyi.training.int8 import Int8Comparison
from zhuyi.translator import Translation

GROUP: Any = typer.main.get_command(cli.app)
COMMANDS = (
    *("demo", "import", "check", "train", "config", "compare"),
    *("translate", "generate", "evaluate", "serve", "export", "look"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


# Help


def test_the_commands_are_these() -> None:
    assert tuple(GROUP.commands) == COMMANDS


def test_the_help_page_groups_the_commands() -> None:
    groups = re.split(r"─ (Start|Train|Use|Look) ─", run("--help").out.partition("Examples")[0])[1:]
    found = {
        name: re.findall(r"^│ (\w+) ", rows, re.MULTILINE) for name, rows in zip(groups[::2], groups[1::2], strict=True)
    }
    assert found == {
        "Start": ["demo", "import"],
        "Train": ["check", "train", "config", "compare"],
        "Use": ["translate", "generate", "evaluate", "serve", "export"],
        "Look": ["look"],
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command: str) -> None:
    outcome = run(command, "--help")
    assert outcome.code == 0
    assert "Examples" in outcome.out
    assert f"zhuyi {command}" in outcome.out.partition("Examples")[2]
    assert len(GROUP.commands[command].help) > 60


def examples() -> list[str]:
    """Every command that a help page shows: from `zhuyi` to the end of the line, or to where the shell takes over."""
    pages = [GROUP.epilog, *(command.epilog for command in GROUP.commands.values())]
    lines = "\n".join(pages).replace("\\\n", " ").splitlines()
    return [line[line.index("zhuyi ") :] for line in lines if "zhuyi " in line and "[dim]" not in line]


@pytest.mark.parametrize("example", examples())
def test_every_example_is_a_command_that_exists(example: str) -> None:
    _, command, *arguments = shlex.split(example.partition("<")[0].partition(">")[0])
    with GROUP.commands[command].make_context(command, arguments):  # parses, and does not run
        pass


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_examples_can_be_pasted_from_a_narrow_page(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = run(*command.split(), "--help").out
    for line in (
        (GROUP.commands[command] if command else GROUP).epilog.replace("[dim]", "").replace("[/]", "").splitlines()
    ):
        assert line.replace("[bold]", "").rstrip() in page


def test_every_command_has_several_examples() -> None:
    assert len(examples()) > 2 * len(COMMANDS)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["config", "--preset", "tiny"]])
def test_help_and_config_answer_without_torch(arguments: list[str]) -> None:
    code = f"""if True:
        import sys
        from zhuyi.cli import main
        sys.argv = ["zhuyi", *{arguments}]
        try:
            main()
        except SystemExit as end:
            assert end.code == 0, end.code
        assert "torch" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


# config


def test_config_prints_toml_that_means_the_same(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text('preset = "tiny"\n[data]\nsource = "a.txt"\ntarget = "b \\" ü.txt"\n[training]\nsteps = 7\n')
    outcome = run("config", file, "--set", "model.width=64", "--set", "text.kind=character")
    wanted = load_config(file, ["model.width=64", "text.kind=character"])
    assert outcome.code == 0
    assert build_config(tomllib.loads(outcome.out)) == wanted
    assert wanted.model.width == 64


def test_what_config_prints_is_a_file_to_start_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(run("config", "--preset", "tiny").out, encoding="utf-8")
    outcome = run("config", file, "--set", "model.mixer=convolution", "--set", "training.steps=9")
    assert outcome.code == 0
    file.write_text(outcome.out, encoding="utf-8")
    config = load_config(file)
    assert (config.model.encoder_mixer, config.model.decoder_mixer) == ("convolution", "convolution")
    assert (config.training.steps, config.training.minutes) == (9, None)


def test_config_says_what_each_key_means() -> None:
    lines = run("config").lines
    keys = [number for number, line in enumerate(lines) if line and line[0] not in "#["]
    assert len(keys) > 30
    for number in keys:
        assert lines[number - 1].startswith("# ")


# translate


AWKWARD = [
    "a dog runs",
    "",
    "   ",
    "two\u2028cats\x85in\x0cone line",
    "👩‍👩‍👧 \x01\x1b[31m \ufeff",
    "tab\tand\rreturn",
    "<s> </s> <pad> <0x0A>",
    "a" * 2000,
]


def test_as_many_lines_out_as_in_whatever_they_hold(model: Path) -> None:
    outcome = run("translate", model, "--beam", 1, stdin="\n".join(AWKWARD).encode() + b"\n")
    assert outcome.code == 0
    assert len(outcome.lines) == len(AWKWARD)
    assert [line == "" for line in outcome.lines][1:3] == [True, True]
    assert "line 8 has" in outcome.err


@pytest.mark.slow
def test_lines_are_in_order_and_do_not_depend_on_their_neighbours(model: Path) -> None:
    sources = ["a dog runs", "", "two cats", "a", "dog runs two cats a dog", "zzz"]
    together = run("translate", model, stdin="\n".join(sources).encode() + b"\n").lines
    alone = [run("translate", model, stdin=source.encode() + b"\n").lines for source in sources]
    assert [[line] for line in together] == alone


@pytest.mark.parametrize(
    ("stdin", "count"), [(b"", 0), (b"\n", 1), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"a\r\nb\r\n", 2), (b"\n\n\n", 3)]
)
def test_a_last_line_needs_no_end_and_nothing_gives_nothing(model: Path, stdin: bytes, count: int) -> None:
    outcome = run("translate", model, "--beam", 1, stdin=stdin)
    assert (outcome.code, len(outcome.lines)) == (0, count)


def test_line_ends_and_a_byte_order_mark_are_not_text(model: Path) -> None:
    unix = run("translate", model, "--json", stdin=b"a dog\ncats\n")
    windows = run("translate", model, "--json", stdin=b"\xef\xbb\xbfa dog\r\ncats\r\n")
    assert [json.loads(line)["source"] for line in windows.lines] == ["a dog", "cats"]
    assert unix.out == windows.out


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_lines_are_the_same_however_the_stream_is_cut(size: int) -> None:
    class Dripping(io.BytesIO):
        def read1(self, most: int | None = -1) -> bytes:
            return super().read1(size)

    content = "one\r\n\nthr\ree ü 中文\n".encode() + b"x" * 100 + b"\n\n\r\n" + b"y\n" * 1500 + b"end"
    chunks = list(as_they_come(Dripping(content), "a stream"))
    assert all(1 <= len(chunk) <= MAX_LINES for chunk in chunks)
    lines = [line for chunk in chunks for line in chunk]
    assert lines == ["one", "", "thr\ree ü 中文", "x" * 100, "", "", *["y"] * 1500, "end"]


@pytest.mark.slow
def test_n_best_gives_n_entries_for_each_line(model: Path) -> None:
    plain = run("translate", model, "--beam", 4, stdin=b"a dog\n\ntwo cats\n").lines
    rows = [
        line.split("\t")
        for line in run("translate", model, "--beam", 4, "--n-best", 3, stdin=b"a dog\n\ntwo cats\n").lines
    ]
    assert [(row[0], row[1]) for row in rows] == [(line, rank) for line in "123" for rank in "123"]
    assert all(len(row) == 4 for row in rows)
    scores = [float(row[2]) for row in rows]
    assert all(scores[i] >= scores[i + 1] for i in (0, 1, 3, 4, 6, 7))
    assert [row[3] for row in rows[::3]] == plain
    assert rows[3][2:] == ["0.000000", ""]  # the empty line has one translation,
    assert rows[4][2:] == rows[5][2:] == ["-inf", ""]  # and two that were not found


def test_scores_and_json_tell_the_same(model: Path) -> None:
    stdin = b"a dog\ntwo cats\n"
    scored = [line.split("\t") for line in run("translate", model, "--scores", stdin=stdin).lines]
    objects = [json.loads(line) for line in run("translate", model, "--json", "--n-best", 2, stdin=stdin).lines]
    assert [each["source"] for each in objects] == ["a dog", "two cats"]
    for (score, _), each in zip(scored, objects, strict=True):
        assert 1 <= len(each["translations"]) <= 2
        first = each["translations"][0]
        assert set(first) == {"text", "score", "finished", "pieces", "token_logprobs"}
        assert float(score) == pytest.approx(first["score"], abs=1e-5)
        assert len(first["token_logprobs"]) == len(first["pieces"]) + first["finished"]


class Fixed:
    """A translator that always finds the same."""

    longest, labels = 10, None
    config = build_config({})

    def __init__(self, *found: Translation) -> None:
        self.found = list(found)

    def decoding(self, **settings: Any) -> DecodingConfig:
        return DecodingConfig(**settings)

    def with_decoding(self, decoding: DecodingConfig) -> "Fixed":
        self.config = self.config.model_copy(update={"decoding": decoding})
        return self

    def with_languages(self, *_: None) -> "Fixed":
        return self

    def hypotheses(self, lines: list[str], on_cut: object, first: int) -> list[list[Translation]]:
        return [self.found for _ in lines]


def test_json_has_no_infinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zhuyi, "load", lambda *_, **__: Fixed(Translation("", -torch.inf, [], [], False)))

    def refuse(name: str) -> None:
        raise AssertionError(name)

    (line,) = run("translate", "anything", "--json", stdin=b"x\n").lines
    assert json.loads(line, parse_constant=refuse)["translations"][0]["score"] is None


@pytest.mark.slow
def test_answers_come_while_the_pipe_is_open_and_a_closed_pipe_ends_quietly(model: Path) -> None:
    command = [sys.executable, "-m", "zhuyi", "translate", model, "--beam", "1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(2):
            process.stdin.write(b"a dog\n")
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\n")  # would wait for ever if it waited for more input
        process.stdout.close()
        process.stdin.write(b"two cats\n")
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() != 0


# evaluate


@pytest.mark.slow
def test_evaluate_gives_a_table_or_json(model: Path, tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path, 5)
    common = ("evaluate", model, "--source", source, "--target", target)
    result = json.loads(run(*common, "--json").out)
    assert list(result["scores"]) == ["bleu", "chrf"]
    assert result["lines"] == 5
    assert result["loss"] > 0
    table = run(*common).out
    for shown in ("bleu", "chrf", "loss", f"{result['scores']['chrf']['value']:.2f}", f"{result['loss']:.4f}"):
        assert shown in table


@pytest.mark.slow
def test_evaluate_takes_metrics_columns_and_further_references(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "test.tsv"
    table.write_text("two dogs run\tA\nrun two cats a dog\tB\n", encoding="utf-8")
    answers = run("translate", model, stdin=b"two dogs run\nrun two cats a dog\n").lines
    assert all(answers)  # a blank line would be no reference
    (tmp_path / "second").write_text("\n".join(answers) + "\n", encoding="utf-8")
    common = (
        "evaluate",
        model,
        "--source",
        f"{table}#1",
        "--target",
        f"{table}#2",
        "--metric",
        "exact, wer,",
        "--json",
    )
    one = json.loads(run(*common).out)["scores"]
    two = json.loads(run(*common, "--target", tmp_path / "second").out)["scores"]
    assert list(one) == ["exact", "wer"]
    assert (one["exact"]["value"], two["exact"]["value"]) == (0.0, 100.0)


@pytest.mark.slow
def test_evaluate_folds_the_references_of_a_lower_cased_model(tmp_path: Path) -> None:
    lower = tiny_model(
        tmp_path / "lower",
        lambda config: config.model_copy(update={"text": config.text.model_copy(update={"lowercase": True})}),
    )
    answers = run("translate", lower, stdin=b"A dog\ntwo cats\n").lines
    (tmp_path / "source").write_text("A dog\ntwo cats\n", encoding="utf-8")
    (tmp_path / "target").write_text("".join(f"{line.upper()}\n" for line in answers), encoding="utf-8")
    common = ("evaluate", lower, "--source", tmp_path / "source", "--target", tmp_path / "target", "--json")
    scores = json.loads(run(*common, "--metric", "exact,wer,per,chrf").out)["scores"]
    assert {name: score["value"] for name, score in scores.items()} == {"exact": 100, "wer": 0, "per": 0, "chrf": 100}
    assert all("case:lc" in score["signature"] for score in scores.values())


@pytest.mark.slow
def test_evaluate_warns_of_segmented_references(model: Path, tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path, 5)
    common = ("evaluate", model, "--source", source, "--json", "--target", target)
    assert "segmented" not in run(*common).err
    target.write_text("".join(f"{line}@@ x\n" for line in "ABCDE"), encoding="utf-8")
    done = run(*common)
    assert json.loads(done.out)["lines"] == 5
    assert (
        "zhuyi: warning: the references look segmented (@@ in 5 of 5 lines): BLEU on pieces is not BLEU on words; "
        "undo it first: sed -r 's/(@@ )|(@@ ?$)//g'\n"
    ) in done.err


def test_evaluate_says_where_bleu_means_nothing(model: Path, tmp_path: Path) -> None:
    """Sums, inflections, labels: BLEU is 0, however good the model is."""
    short, long = tmp_path / "short", tmp_path / "long"
    short.write_text("46\n7\n", encoding="utf-8")
    long.write_text("a b c d\n7\n", encoding="utf-8")
    assert "warning: no reference has the four tokens" in run("evaluate", "--answers", short, "--target", short).err
    assert "warning: no reference has" in run("evaluate", model, "--source", short, "--target", short, "--json").err
    for options in (("--answers", long, "--target", long), ("--answers", short, "--target", short, "--target", long)):
        assert run("evaluate", *options).err == ""
    assert run("evaluate", "--answers", short, "--target", short, "--metric", "chrf,exact").err == ""


# train and check


class Recorder:
    """Stands where `zhuyi.train` stands."""

    def __init__(self, interrupted: bool = False) -> None:
        self.interrupted = interrupted
        self.int8: Int8Comparison | None = None

    def __call__(self, config: Any, out: Path, *, resume: bool, listeners: Any) -> SimpleNamespace:
        self.config, self.out, self.resume = config, out, resume
        return SimpleNamespace(
            interrupted=self.interrupted,
            steps=1,
            seconds=1.0,
            chosen="a step",
            evaluations={},
            int8=self.int8,
            before={},
        )


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(zhuyi, "train", recorder)
    return recorder


def test_train_takes_two_files_and_nothing_else(recorder: Recorder) -> None:
    assert run("train", "--source", "a b.txt#1", "--target", 'x"\\y').code == 0
    assert recorder.config == build_config({"data": {"source": "a b.txt#1", "target": 'x"\\y'}})
    assert (recorder.out, recorder.resume) == (Path("zhuyi-model"), False)


def test_train_lays_the_command_line_over_the_file(recorder: Recorder, tmp_path: Path) -> None:
    file = tmp_path / "en-de.toml"
    file.write_text('[data]\nsource = "a"\ntarget = "b"\n[model]\nwidth = 64\nheads = 2\n')
    outcome = run(
        *("train", file, "--source", "c", "--dev-source", "d", "--dev-target", "e", "--resume"),
        *("--preset", "tiny", "--set", "model.heads=8", "--set", "training.steps=3"),
    )
    assert outcome.code == 0
    data, model = recorder.config.data, recorder.config.model
    assert (data.source, data.target, data.dev_source, data.dev_target) == ("c", str(tmp_path / "b"), "d", "e")
    assert (recorder.config.preset, model.width, model.heads) == ("tiny", 64, 8)
    assert (recorder.out, recorder.resume) == (Path("runs/en-de"), True)
    run("train", file, "--out", "elsewhere")
    assert recorder.out == Path("elsewhere")


def test_train_ends_with_the_command_that_sets_int8_if_that_changes_little(recorder: Recorder, tmp_path: Path) -> None:
    out = tiny_model(tmp_path / "my model")
    recorder.int8 = Int8Comparison("bleu", 34.1, 34.2, 0.93)
    *_, figures, _, faster = run("train", "--source", "a", "--target", "b", "--out", out).lines
    assert figures == "int8: bleu 34.10 against 34.20 in float32, 93 % of outputs the same."
    _, *command = shlex.split(faster.removeprefix("Faster on CPUs:"))
    assert run(*command).code == 0
    assert load_config_of(out).decoding.precision == "int8"


def test_train_says_where_int8_changes_too_much(recorder: Recorder) -> None:
    recorder.int8 = Int8Comparison("bleu", 30.1, 34.2, 0.93)
    *_, figures, use = run("train", "--source", "a", "--target", "b").lines
    assert figures.endswith("93 % of outputs the same: that changes too much, so stay with float32.")
    assert use.startswith("Use it:")


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_an_interrupted_run_prints_the_line_that_resumes_it(recorder: Recorder, more: list[str]) -> None:
    recorder.interrupted = True
    arguments = ["train", "--source", "my file's.txt", "--target", "b", "--set", "model.width=8", *more]
    outcome = run(*arguments)
    assert outcome.code == 130
    command = outcome.err.rstrip("\n").partition("continue with: ")[2]
    assert shlex.split(command) == ["zhuyi", *arguments[:7], "--resume"]


def test_an_interrupted_demo_can_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import zhuyi.demo

    monkeypatch.setattr(zhuyi.demo, "demo", lambda **_: SimpleNamespace(result=SimpleNamespace(interrupted=True)))
    outcome = run("demo", "--minutes", 3, "--out", tmp_path / "my dates")
    assert outcome.code == 130
    _, command, *arguments = shlex.split(outcome.err.partition("continue with: ")[2])
    with GROUP.commands[command].make_context(command, arguments) as context:
        assert context.params["resume"]
        assert context.params["settings"] == ["training.minutes=3.0"]
        assert context.params["config"] == tmp_path / "my dates" / "dates.toml"
        assert context.params["out"] == tmp_path / "my dates"


@pytest.mark.slow
def test_the_demo_asks_its_model_and_writes_its_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import zhuyi.demo

    def untrained(_: Config, out: Path, **__: object) -> SimpleNamespace:
        tiny_model(out, lambda _: build_config({**TINY, "model": {**TINY["model"], "max_length": 99}}))
        return SimpleNamespace(interrupted=False)

    monkeypatch.setattr(zhuyi.demo, "train", untrained)
    made = zhuyi.demo.demo(out=tmp_path / "dates")
    assert len(made.answers) == zhuyi.demo.SHOWN_ANSWERS
    assert all(len(iso) == len("1998-07-03") for _, iso, _ in made.answers)
    shown = [line.split("\t") for line in (tmp_path / "dates/examples.tsv").read_text(encoding="utf-8").splitlines()]
    assert tuple(shown[0]) in zhuyi.demo.OF_NO_LOCALE
    assert tuple(shown[-1]) in zhuyi.demo.OF_NO_LOCALE  # an untrained model is wrong
    assert [written for written, _ in shown[1:-1]] == list(zhuyi.demo.OF_TEST)
    assert dict(shown)["mardi 25 mars 1986"] == "1986-03-25"
    page = made.page.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert f'data-opening="{urlencode({"text": shown[0][0], "target": shown[0][1]}).replace("&", "&amp;")}"' in page
    assert 'id="weights"' in page


def test_the_demo_ends_with_commands_that_can_be_pasted(tmp_path: Path) -> None:
    from zhuyi.demo import Demo
    from zhuyi.display import show_demo
    from zhuyi.evaluation import Evaluation, Score
    from zhuyi.training.recipe import Result

    shown, out = io.StringIO(), tmp_path / "my [bold] dates"
    scores = {"exact": Score("exact", 50.0, "", higher_is_better=True)}
    result = Result(out, 1, 1.0, False, "the best of 5", {"test": Evaluation(scores, None, 100, 1.0, [], 0)})
    show_demo(Demo(result, 100, [("3 July", "07-03", "07-03")], out / "look.html"), Console(file=shown, width=40))
    assert "the best of 5" in " ".join(shown.getvalue().split())
    ending = shown.getvalue().partition("Next:")[2]
    commands = [line for line in ending.splitlines() if line]
    words = [shlex.split(command.rpartition("| ")[2]) for command in commands]
    assert [command[:2] for command in words] == [
        ["zhuyi", command] for command in ("translate", "look", "evaluate", "train")
    ]
    for _, command, *arguments in words:
        with GROUP.commands[command].make_context(command, arguments) as context:
            models = context.params.get("models") or [context.params.get("model")]
            assert command == "train" or models == [out]


@pytest.mark.slow
def test_ctrl_c_saves_and_the_printed_line_goes_on(tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    out, log = tmp_path / "my model", tmp_path / "my model" / "metrics.jsonl"
    settings = [f"model.{key}={value}" for key, value in TINY["model"].items()]
    settings += ["text.vocabulary=300", "training.steps=1000000", "training.save_every=1000000", "training.log_every=1"]
    options = [word for setting in settings for word in ("--set", setting)]
    files = ["--source", str(source), "--target", str(target), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "zhuyi", "train", *files, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    _, *again = shlex.split(err.decode().partition("continue with: ")[2])
    outcome = run(*again, "--set", "training.steps=1")  # enough, it says, and makes the model of what there is
    assert (outcome.code, outcome.err) == (0, "")
    assert len(run("translate", out, stdin=b"a b c\n").lines) == 1


def test_check_prints_the_table_of_the_corpus(tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    outcome = run("check", "--source", source, "--target", target, "--set", "text.vocabulary=300")
    assert (outcome.code, outcome.err) == (0, "")
    assert "60" in outcome.out


# How it ends


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(zhuyi, "load", interrupted)
    outcome = run("translate", "anything")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 9 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_no_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(zhuyi, "load", load)
    outcome = run("translate", "anything")
    assert outcome.code == 2
    assert outcome.err.startswith("zhuyi: error: out of memory")
    assert outcome.err.count("\n") == 1


def test_our_own_mistakes_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(zhuyi, "load", load)
    with pytest.raises(RuntimeError, match="a bug"):
        run("translate", "anything")


def test_a_message_of_several_lines_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise zhuyi.DataError("one\ntwo\r\nthree")

    monkeypatch.setattr(zhuyi, "load", load)
    assert run("translate", "anything").err == "zhuyi: error: one two three\n"


def test_the_tiny_settings_are_settings() -> None:
    assert build_config(TINY).model.max_length == 32
