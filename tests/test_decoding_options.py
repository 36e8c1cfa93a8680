"""How a search is asked for: the same options of every command that decodes, and a model's own settings."""

import json
import os
import shutil
from pathlib import Path

import pytest
from command_line import tiny_model
from command_line import zhuyi as run

import zhuyi
from zhuyi import files
from zhuyi.checkpoint import load_model
from zhuyi.config import Config, DecodingConfig, changed
from zhuyi.directory import load_config_of, save_decoding
from zhuyi.errors import CheckpointError

LINES = ["a dog runs", "two cats", "a cat", "", "dog"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It writes to the length limit: it has learnt nothing."""
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    return path


def changed_model(config: Config, **settings: object) -> Config:
    return config.model_copy(update={"model": changed(config.model, settings)})


def answers(model: Path, *options: str) -> list[dict]:
    outcome = run("translate", model, "--json", *options, stdin="".join(f"{line}\n" for line in LINES).encode())
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.lines]


@pytest.mark.parametrize("option", [["--max-ratio", "0.5"], ["--set", "decoding.max_ratio=0.5"]])
def test_an_output_is_as_long_as_asked_for(model: Path, option: list[str]) -> None:
    tokenizer = zhuyi.load(model).tokenizers.source
    for found in answers(model, *option, "--set", "decoding.max_extra=2", "--beam", "3", "--n-best", "3"):
        tokens = len(tokenizer.encode([found["source"]])[0])
        assert 1 <= len(found["translations"]) <= 3
        for each in found["translations"]:
            assert len(each["pieces"]) + each["finished"] <= (int(0.5 * (tokens + 1) + 2) if tokens else 1)


@pytest.mark.slow
def test_answers_that_met_the_limit_are_counted(model: Path) -> None:
    outcome = run(
        "translate", model, "--beam", "1", "--max-ratio", "1", stdin="".join(f"{x}\n" for x in LINES).encode()
    )
    cut = [
        number
        for number, found in enumerate(answers(model, "--beam", "1", "--max-ratio", "1"), start=1)
        if not found["translations"][0]["finished"]
    ]
    assert cut
    assert 4 not in cut, "an empty line has an empty answer"
    assert f"{len(cut)} of {len(LINES)} outputs reached the length limit" in outcome.err
    assert ", ".join(map(str, cut)) in outcome.err


def test_no_warning_where_every_answer_ends(model: Path) -> None:
    assert run("translate", model, stdin=b"\n\n").err == ""


@pytest.mark.parametrize("command", ["translate", "evaluate", "look"])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--beam", "0"], "beam"),
        (["--set", "decoding.beam=abc"], "beam"),
        (["--set", "decoding.beam=abc", "--n-best", "3"], "beam"),
        (["--length-penalty", "-1"], "length_penalty"),
        (["--max-ratio", "-1"], "max_ratio"),
        (["--beam", "2", "--n-best", "3"], "decoding.n_best = 3 is more than decoding.beam = 2"),
        (
            ["--set", "decoding.strategy=sampling", "--beam", "2"],
            "decoding.beam = 2 is of no use with decoding.strategy",
        ),
        (["--set", "decoding.temperature=0.7"], 'needs decoding.strategy = "sampling"'),
        (["--set", "decoding.beem=3"], "decoding.beam"),
        (["--set", "model.width=3"], "decoding.KEY=VALUE"),
        (["--device", "abacus"], "abacus"),
        (["--set", "decoding.engine=abacus"], "decoding.engine"),
        (["--set", "decoding.engine=torch", "--set", "decoding.precision=int8"], "decoding.precision"),
    ],
)
def test_every_command_that_decodes_refuses_in_one_line(
    model: Path, text: Path, command: str, options: list[str], named: str
) -> None:
    more = {"translate": [], "evaluate": ["--source", text, "--target", text], "look": ["a dog", "--html", "x.html"]}
    outcome = run(command, model, *more[command], *options)
    assert outcome.code == 2
    assert outcome.out == ""
    assert named in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["translate", "evaluate"])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--engine", "abacus"], "decoding.engine should be 'auto', 'native' or 'torch'"),
        (["--precision", "int4"], "decoding.precision should be 'float32', 'bf16' or 'int8'"),
        (["--workers", "0"], "decoding.workers"),
        (["--engine", "torch", "--precision", "bf16"], 'decoding.precision = "bf16" needs the native engine'),
        (["--engine", "native", "--device", "cuda"], "the native engine computes on the CPU"),
    ],
)
def test_an_engine_that_cannot_be_is_refused_in_one_line(
    model: Path, text: Path, command: str, options: list[str], named: str
) -> None:
    more = {"translate": [text], "evaluate": ["--source", text, "--target", text]}
    outcome = run(command, model, *more[command], *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert named in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_what_native_cannot_run_goes_to_torch_and_it_is_said(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, lambda config: changed_model(config, encoder_mixer="convolution"))
    by_torch = run("translate", model, "--device", "cpu", "--engine", "torch", stdin=b"a dog\n")
    assert (by_torch.code, by_torch.err.count("native")) == (0, 0)
    for precision, lost in (("float32", "slower than the native engine"), ("int8", "in float32 and not in int8")):
        options = ("--device", "cpu", "--precision", precision)
        auto = run("translate", model, *options, stdin=b"a dog\n")
        assert (auto.code, auto.out) == (0, by_torch.out)
        (line,) = [line for line in auto.err.splitlines() if "torch computes" in line]
        assert lost in line
        assert 'model.encoder_mixer = "convolution"' in line
        native = run("translate", model, *options, "--engine", "native", stdin=b"a dog\n")
        assert (native.code, native.out) == (2, "")
        assert 'model.encoder_mixer = "convolution"' in native.err


def test_what_is_scored_is_what_is_used(tmp_path: Path, text: Path) -> None:
    model = tiny_model(tmp_path / "model", lambda config: changed_model(config, encoder_mixer="convolution"))
    arguments = ("--source", text, "--target", text, "--device", "cpu", "--metric", "bleu", "--json")
    assert run("config", model, "--set", "decoding.precision=int8", "--save").code == 0
    outcome = run("evaluate", model, *arguments)
    assert "in float32 and not in int8" in outcome.err
    assert "precision" not in json.loads(outcome.out)["scores"]["bleu"]["signature"]


def test_what_is_looked_at_is_torchs(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    save_decoding(tmp_path / "model", DecodingConfig(engine="native", precision="int8"))
    html = tmp_path / "look.html"
    assert run("look", tmp_path / "model", "a dog", "--html", html, "--max-ratio", "1").code == 0
    assert html.exists()
    outcome = run("look", model, "a dog", "--html", html, "--set", "decoding.precision=int8")
    assert outcome.code == 2
    assert "leave out --set decoding.precision" in outcome.err


@pytest.mark.slow
def test_files_are_what_a_pipe_is(model: Path, text: Path, tmp_path: Path) -> None:
    piped = run("translate", model, "--beam", "2", stdin=text.read_bytes() * 2)
    from_files = run("translate", model, text, text, "--beam", "2")
    assert from_files.out == piped.out
    out = tmp_path / "new" / "out.txt"
    written = run("translate", model, text, text, "--beam", "2", "--out", out)
    assert (written.out, out.read_text(encoding="utf-8")) == ("", piped.out)
    assert os.listdir(out.parent) == ["out.txt"]


@pytest.mark.slow
def test_samples_of_a_text_do_not_depend_on_how_it_comes(model: Path, tmp_path: Path, monkeypatch) -> None:
    lines, sampled = b"a dog\ntwo cats\n\n" * 4, ("--n-best", "7", "--set", "decoding.strategy=sampling")
    whole = run("translate", model, *sampled, stdin=lines)
    assert len(whole.lines) == 7 * 12
    assert {line.split("\t")[3] for line in whole.lines[:7]} != {line.split("\t")[3] for line in whole.lines[21:28]}
    (tmp_path / "part").write_bytes(lines[: len(lines) // 4])
    assert run("translate", model, *[tmp_path / "part"] * 4, *sampled).out == whole.out
    monkeypatch.setattr("zhuyi.text.lines.MAX_LINES", 5)
    assert run("translate", model, *sampled, stdin=lines).out == whole.out
    assert run("translate", model, *sampled, "--set", "decoding.seed=2", stdin=lines).out != whole.out


@pytest.mark.slow
def test_files_may_be_columns(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "pairs.tsv"
    table.write_text("id\ttext\n1\ta dog\n2\ttwo cats\n", encoding="utf-8")
    assert run("translate", model, f"{table}#text").out == run("translate", model, stdin=b"a dog\ntwo cats\n").out


def test_a_file_that_fails_half_way_leaves_the_older_answers(model: Path, tmp_path: Path) -> None:
    bad, out = tmp_path / "bad.txt", tmp_path / "out.txt"
    bad.write_bytes(b"a dog\n" * 600 + b"\xff\n")
    out.write_text("older\n")
    outcome = run("translate", model, bad, "--beam", "1", "--max-ratio", "0", "--out", out)
    assert outcome.code == 2
    assert f"{bad}:601" in outcome.err
    assert out.read_text() == "older\n"
    assert sorted(os.listdir(tmp_path)) == ["bad.txt", "out.txt"]


def test_the_input_is_not_overwritten(model: Path, text: Path) -> None:
    before = text.read_bytes()
    outcome = run("translate", model, text, "--out", text)
    assert (outcome.code, text.read_bytes()) == (2, before)
    assert "choose another file" in outcome.err


def test_a_source_that_the_model_has_never_seen_is_named(model: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.txt"
    strange.write_text("ქართული ენა\n" * 3, encoding="utf-8")
    outcome = run("evaluate", model, "--source", strange, "--target", strange, "--max-ratio", "0")
    assert "of the source's tokens are not in the model's vocabulary" in outcome.err
    assert "%" in outcome.err


def test_answers_made_elsewhere_are_not_searched_for(model: Path, text: Path) -> None:
    assert run("evaluate", "--answers", text, "--target", text, "--metric", "exact", "--json").code == 0
    for option in (("--beam", "3"), ("--precision", "int8")):
        assert "MODEL" in run("evaluate", "--answers", text, "--target", text, *option).err
    assert "not both" in run("evaluate", model, "--answers", text, "--target", text).err


# A model's own settings


@pytest.mark.slow
def test_settings_are_kept_in_the_model(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    changes = ["--set", "decoding.beam=2", "--set", "decoding.max_ratio=0.5", "--set", "decoding.n_best=2"]
    shown = run("config", model, *changes)
    assert "beam = 2" in shown.out
    assert load_config_of(model).decoding == DecodingConfig()
    saved = run("config", model, *changes, "--save")
    assert (saved.code, saved.out) == (0, shown.out)
    assert "decoding.json: decoding.beam=2, decoding.max_ratio=0.5" in saved.err
    assert run("config", model, "--save").code == 2
    assert load_model(model).config.decoding == DecodingConfig(beam=2, max_ratio=0.5, n_best=2)
    assert len(run("translate", model, stdin=b"a dog\n").lines) == 2
    assert len(run("translate", model, "--beam", "1", stdin=b"a dog\n").lines) == 1
    assert zhuyi.load(model).translate(["a dog"]) == [
        run("translate", model, "--n-best", "1", stdin=b"a dog\n").lines[0]
    ]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--set", "model.width=2", "--save"], "decoding.KEY=VALUE"),
        (["--set", "decoding.beam=0", "--save"], "beam"),
        (["--preset", "tiny"], "--preset tiny"),
    ],
)
def test_a_trained_model_keeps_all_else(tmp_path: Path, arguments: list[str], named: str) -> None:
    model = tiny_model(tmp_path / "model")
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    outcome = run("config", model, *arguments)
    assert outcome.code == 2
    assert named in outcome.err
    assert before == {path.name: path.read_bytes() for path in model.iterdir()}


def test_only_a_model_can_be_saved_into(tmp_path: Path) -> None:
    assert "MODEL directory" in run("config", "--save").err
    assert "manifest.json is missing" in run("config", tmp_path, "--save").err


def test_a_kill_while_saving_leaves_a_whole_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each of its writes the directory can be read, with the old settings or the new ones."""
    seen = []
    write = files.write_atomically

    def watched(path: Path, content: bytes) -> None:
        write(path, content)
        seen.append(load_config_of(path.parent).decoding.beam)

    model = tiny_model(tmp_path / "model")
    monkeypatch.setattr(files, "write_atomically", watched)
    save_decoding(model, DecodingConfig(beam=7))
    assert seen[0] == 5
    assert seen[-1] == 7
    assert len(seen) == 3


def test_settings_that_were_changed_by_hand_are_damage(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    (model / "decoding.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"decoding\.json"):
        load_model(model)
