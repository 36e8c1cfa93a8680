"""What people really feed a tool: one clear line, exit code 2, and nothing half-written."""

import errno
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import Outcome, tiny_model, write_pairs
from command_line import zhuyi as run

import zhuyi
from zhuyi import checkpoint, files

SMALL = [
    *("--set", "text.vocabulary=300", "--set", "model.width=16", "--set", "model.heads=2"),
    *("--set", "model.encoder_layers=1", "--set", "model.decoder_layers=1", "--set", "model.feed_forward=16"),
    *("--set", "model.max_length=32", "--set", "training.device=cpu", "--set", "training.steps=3"),
]


def assert_one_clear_line(outcome: Outcome, *parts: object) -> None:
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("zhuyi: error: "), outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert "Traceback" not in outcome.err
    for part in parts:
        assert str(part) in outcome.err


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def model(pristine: Path, tmp_path: Path) -> Path:
    """A model directory that the test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / "model"))


# Data


@pytest.fixture(params=["check", "train"])
def refuse(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give arguments to a command that reads a corpus: it must refuse them and write nothing at all."""
    monkeypatch.chdir(tmp_path)

    def refuse(*arguments: object, says: tuple[object, ...]) -> None:
        before = everything_below(tmp_path)
        out = ["--out", tmp_path / "out"] if request.param == "train" else []
        assert_one_clear_line(run(request.param, *SMALL, *out, *arguments), *says)
        assert everything_below(tmp_path) == before

    return refuse


@pytest.mark.slow
def test_files_of_different_length(refuse: Callable[..., None], tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    target.write_bytes(target.read_bytes() + b"one more\n")
    refuse("--source", source, "--target", target, says=(source, target, "60", "61"))


@pytest.mark.parametrize("side", ["source", "target", "dev-target"])
def test_invalid_utf8(refuse: Callable[..., None], tmp_path: Path, side: str) -> None:
    files = dict(zip(("source", "target"), write_pairs(tmp_path), strict=True))
    (tmp_path / "dev").mkdir()
    files |= dict(zip(("dev-source", "dev-target"), write_pairs(tmp_path / "dev"), strict=True))
    lines = files[side].read_bytes().split(b"\n")
    lines[41] = b"caf\xe9"
    files[side].write_bytes(b"\n".join(lines))
    arguments = [argument for name, file in files.items() for argument in (f"--{name}", file)]
    refuse(*arguments, says=(f"{files[side]}:42", "UTF-8"))


def test_an_empty_file(refuse: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "nothing").touch()
    refuse("--source", tmp_path / "nothing", "--target", tmp_path / "nothing", says=(tmp_path / "nothing", "empty"))


RUNNING = ("--set", "model.shape=decoder", "--set")


def test_running_text_that_is_empty_missing_or_too_short(refuse: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "nothing").touch()
    (tmp_path / "short").write_text("one line\n")
    refuse(*RUNNING, f"data.text={tmp_path / 'nothing'}", says=(tmp_path / "nothing", "is empty"))
    refuse(*RUNNING, f"data.text={tmp_path / 'none'}", says=(tmp_path / "none", "no such file"))
    refuse(*RUNNING, f"data.text={tmp_path / 'short'}", says=(tmp_path / "short", "data.dev_text"))


def test_running_text_of_the_wrong_shape_or_beside_pairs(refuse: Callable[..., None], tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    refuse("--set", f"data.text={source}", says=("data.text", 'model.shape = "decoder"'))
    pairs = ("--source", source, "--target", target)
    refuse(*pairs, *RUNNING, f"data.text={source}", says=("data.text and data.source are both set",))


def test_nothing_but_empty_lines(refuse: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "blank").write_text("\n \n\t\n")
    refuse("--source", tmp_path / "blank", "--target", tmp_path / "blank", says=())


def test_a_file_that_is_not_there(refuse: Callable[..., None], tmp_path: Path) -> None:
    refuse("--source", tmp_path / "a", "--target", tmp_path / "b", says=(tmp_path / "a", "no such file"))


def test_a_directory_for_a_file(refuse: Callable[..., None], tmp_path: Path) -> None:
    refuse("--source", tmp_path, "--target", tmp_path, says=(tmp_path, "directory"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_another_encoding(refuse: Callable[..., None], tmp_path: Path, encoding: str) -> None:
    source, target = write_pairs(tmp_path)
    for path in (source, target):
        path.write_bytes(path.read_text().encode(encoding))
    refuse("--source", source, "--target", target, says=(f"{source}:1", "iconv -f UTF-16"))


def test_line_ends_of_old_macs(refuse: Callable[..., None], tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    for path in (source, target):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    refuse("--source", source, "--target", target, says=(f"{source}:1", "CR alone"))


@pytest.mark.parametrize("ending", ["csv", "CSV", "json"])
def test_tables_without_a_field(refuse: Callable[..., None], tmp_path: Path, ending: str) -> None:
    table = tmp_path / f"table.{ending}"
    table.write_text("en,de\na dog,ein Hund\n")
    refuse("--source", table, "--target", table, says=(table, "#COLUMN" if ending != "json" else "jsonl"))


def test_a_missing_column(refuse: Callable[..., None], tmp_path: Path) -> None:
    table = tmp_path / "table.tsv"
    table.write_text("en\tde\na dog\tein Hund\n")
    refuse("--source", f"{table}#en", "--target", f"{table}#fr", says=(table, "'fr'", "'de'"))
    refuse("--source", f"{table}#1", "--target", f"{table}#3", says=(f"{table}:1",))
    refuse("--source", table, "--target", table, says=(f"{table}#COLUMN", "1 to 2", "'en', 'de'"))


def test_a_compressed_file_cut_short(refuse: Callable[..., None], tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path, 2000)
    whole = gzip.compress(source.read_bytes())
    cut = tmp_path / "train.source.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    refuse("--source", cut, "--target", target, says=(cut,))


def test_one_side_only(refuse: Callable[..., None], tmp_path: Path) -> None:
    source, _ = write_pairs(tmp_path)
    refuse("--source", source, says=("data.target is missing",))


def test_no_data_at_all(refuse: Callable[..., None]) -> None:
    refuse(says=("data.source", "--source"))


# Configuration


def test_an_unknown_key_is_reported_its_nearest_neighbour(refuse: Callable[..., None], tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    files = ("--source", source, "--target", target)
    refuse(*files, "--set", "training.learning_rat=1", says=("training.learning_rat", "training.learning_rate"))
    refuse(*files, "--set", "width=8", says=("unknown key width", "model.width"))
    config = tmp_path / "mine.toml"
    config.write_text("[model]\nlayers = 3\n")
    refuse(config, *files, says=(config, "model.layers", "did you mean"))


def test_a_value_of_the_wrong_type(refuse: Callable[..., None], tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    files = ("--source", source, "--target", target)
    refuse(*files, "--set", "model.width=wide", says=("model.width", "integer", "'wide'"))
    refuse(*files, "--set", "model.norm=between", says=("model.norm", "'between'"))
    refuse(*files, "--set", "model.width=100", "--set", "model.heads=3", says=("model.width", "model.heads"))
    refuse(*files, "--set", "training.steps", says=("section.key=value",))
    config = tmp_path / "mine.toml"
    config.write_text('[training]\nwarmup = "ten"\n')
    refuse(config, *files, says=(config, "training.warmup", "'ten'"))


def test_an_unknown_preset(refuse: Callable[..., None], tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    refuse("--source", source, "--target", target, "--preset", "huge", says=("huge", "modern", "paper", "tiny"))


def test_a_configuration_that_cannot_be_read(refuse: Callable[..., None], tmp_path: Path) -> None:
    refuse(tmp_path / "none.toml", says=(tmp_path / "none.toml", "No such file"))
    config = tmp_path / "mine.toml"
    config.write_text("[model\nwidth = 8\n")
    refuse(config, says=(config, "TOML"))
    config.write_bytes(b"[model]\n# caf\xe9\n")
    refuse(config, says=(f"{config}:2", "UTF-8", "0xE9"))
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        config.write_bytes("[model]\nwidth = 8\n".encode(encoding))
        refuse(config, says=(f"{config}:1", "iconv -f UTF-16"))
    config.write_bytes(b"[model]\rwidth = 8\r")
    refuse(config, says=(f"{config}:1", "CR alone"))


def test_wrong_options_end_with_2_as_well() -> None:
    for arguments in (["train", "--wat"], ["translate"], ["fly"], ["translate", "model", "--beam", "many"]):
        outcome = run(*arguments)
        assert outcome.code == 2
        assert outcome.out == ""
        assert "Traceback" not in outcome.err


# Model directories


def test_a_flipped_byte_in_the_weights(model: Path) -> None:
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    assert_one_clear_line(run("translate", model, stdin=b"a dog\n"), weights, "damaged")


def test_weights_cut_short(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert_one_clear_line(run("translate", model, stdin=b"a dog\n"), weights, "damaged")


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors", "config.json"])
def test_a_missing_file(model: Path, name: str) -> None:
    (model / name).unlink()
    assert_one_clear_line(run("translate", model, stdin=b"a dog\n"), model / name)


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors", "config.json"])
def test_a_file_that_the_manifest_does_not_know(model: Path, name: str) -> None:
    manifest = json.loads((model / "manifest.json").read_text())
    del manifest["files"][name]
    (model / "manifest.json").write_text(json.dumps(manifest))
    (model / name).unlink()
    assert_one_clear_line(run("translate", model, stdin=b"a dog\n"), name)


def test_no_manifest(model: Path) -> None:
    (model / "manifest.json").unlink()
    assert_one_clear_line(run("translate", model, stdin=b"a dog\n"), model, "manifest.json")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 99, "files": {}}', '{"format": 1, "files": {}}'])
def test_a_manifest_that_is_none(model: Path, content: str) -> None:
    (model / "manifest.json").write_text(content)
    assert_one_clear_line(run("translate", model, stdin=b"a dog\n"), model, "manifest.json")


def test_no_model_at_all(tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    for command, *more in (("translate",), ("evaluate", "--source", source, "--target", target)):
        assert_one_clear_line(run(command, tmp_path / "none", *more), tmp_path / "none")
        assert_one_clear_line(run(command, source, *more), source)


# Translating and evaluating


def test_standard_input_that_is_not_utf8(model: Path) -> None:
    outcome = run("translate", model, stdin=b"a dog\ncaf\xe9\n")
    assert_one_clear_line(outcome, "standard input, line 2", "UTF-8", "0xE9")
    assert outcome.out == run("translate", model, stdin=b"a dog\n").out  # the line before is answered
    assert run("translate", model, stdin=b"\xff\xfe\na dog\n").out == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_standard_input_in_another_encoding(model: Path, encoding: str) -> None:
    outcome = run("translate", model, stdin="a dog\ntwo cats\n".encode(encoding))
    assert_one_clear_line(outcome, "standard input, line 1", "iconv -f UTF-16")
    assert outcome.out == ""


@pytest.mark.slow
def test_standard_input_that_is_no_text(model: Path) -> None:
    outcome = run("translate", model, stdin=b"a dog\ntwo\0cats\n")
    assert_one_clear_line(outcome, "standard input, line 2", "NUL")
    assert len(outcome.lines) == 1  # the line before is answered
    outcome = run("translate", model, stdin=b"a dog\rtwo cats\r")
    assert_one_clear_line(outcome, "standard input, line 1", "CR alone")
    assert outcome.out == ""
    outcome = run("translate", model, stdin=b"a\rdog\r\ntwo cats")
    assert (outcome.code, len(outcome.lines)) == (0, 2)


def test_a_number_of_beams_that_cannot_be(model: Path) -> None:
    assert_one_clear_line(
        run("translate", model, "--beam", 2, "--n-best", 3, stdin=b"a\n"), "decoding.beam = 2: set that to 3"
    )
    assert_one_clear_line(run("translate", model, "--n-best", 7, stdin=b"a\n"), "decoding.beam = 5: set that to 7")
    assert_one_clear_line(run("translate", model, "--beam", 0, stdin=b"a\n"), "beam")
    assert_one_clear_line(run("translate", model, "--n-best", 0, stdin=b"a\n"), "n_best")
    assert_one_clear_line(run("translate", model, "--length-penalty", -1, stdin=b"a\n"), "length_penalty")


@pytest.mark.slow
def test_a_line_of_ten_thousand_tokens_is_cut_with_a_warning(model: Path) -> None:
    long = " ".join(["dog"] * 10_000).encode()
    outcome = run("translate", model, "--beam", 1, stdin=b"a dog\n" + long + b"\ntwo cats\n")
    assert (outcome.code, len(outcome.lines)) == (0, 3)
    assert outcome.err.startswith("zhuyi: warning: line 2 has ")
    assert outcome.err.count("the rest is cut off\n") == 1
    assert "the model reads 31" in outcome.err
    assert outcome.lines[2] == run("translate", model, "--beam", 1, stdin=b"two cats\n").lines[0]


def test_evaluate_warns_of_lines_that_it_cuts(model: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("a dog\n" + "dog " * 10_000 + "\n")
    (tmp_path / "target").write_text("ein Hund\nHund\n")
    outcome = run("evaluate", model, "--source", tmp_path / "source", "--target", tmp_path / "target", "--json")
    assert outcome.code == 0
    assert outcome.err.startswith("zhuyi: warning: line 2 has ")
    assert outcome.err.count("the rest is cut off\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["translate", "evaluate"])
def test_many_lines_that_are_too_long_do_not_flood_the_terminal(tmp_path: Path, command: str) -> None:
    """Genomes, reactions, documents: the first are named, and all are counted."""
    model, test = tiny_model(tmp_path / "m"), tmp_path / "test"
    for count, named in ((10, 10), (600, 10)):  # more than are translated at once
        test.write_text("a\n" + "a b c d e f g h i j k l m n o p q r s t u v w x y z\n" * count, encoding="utf-8")
        options = [test] if command == "translate" else ["--source", test, "--target", test]
        outcome = run(command, model, *options, "--beam", 1)
        assert outcome.code == 0
        assert outcome.err.count("the rest is cut off\n") == named
        assert "line 2 has" in outcome.err
        assert (f"warning: {count:,} lines were cut off in all" in outcome.err) == (count > named)


@pytest.mark.slow
@pytest.mark.unix
def test_standard_input_that_is_closed(model: Path) -> None:
    command = f"exec '{sys.executable}' -m zhuyi translate '{model}' <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert_one_clear_line(Outcome(done.returncode, done.stdout, done.stderr), "standard input is closed")


@pytest.mark.slow
@pytest.mark.unix
@pytest.mark.parametrize("arguments", ["translate '{model}'", "config"])
def test_standard_output_that_is_closed(model: Path, arguments: str) -> None:
    command = f"exec '{sys.executable}' -m zhuyi {arguments.format(model=model)} >&-"
    done = subprocess.run(["sh", "-c", command], input="a dog\n", capture_output=True, text=True)
    assert_one_clear_line(Outcome(done.returncode, done.stdout, done.stderr), "standard output is closed")


def test_emoji_and_control_characters_are_translated(model: Path) -> None:
    lines = [
        "👩‍👩‍👧 🇩🇪",
        "\x01\x02\x7f",
        "\x1b[31mred\x1b[0m",
        "\u202e\u200b\ufeff",
        "a\u2028b\u2029c\x85d",
        "\U0010ffff",
    ]
    outcome = run("translate", model, "--beam", 2, stdin="".join(f"{line}\n" for line in lines).encode())
    assert (outcome.code, len(outcome.lines)) == (0, len(lines))


def test_an_evaluation_that_cannot_be(model: Path, tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    common = ("evaluate", model, "--source", source)
    short = tmp_path / "short"
    short.write_text("A\n")
    assert_one_clear_line(run(*common, "--target", short), source, short, "60", "1")
    assert_one_clear_line(run(*common, "--target", target, "--target", short), source, short)
    assert_one_clear_line(run(*common, "--target", target, "--metric", "blue"), "blue", "bleu")
    assert_one_clear_line(run(*common, "--target", target, "--metric", " ,"), "metric")
    assert_one_clear_line(run(*common, "--target", target, "--bleu-tokenizer", "moses"), "moses", "13a")


@pytest.mark.slow
@pytest.mark.unix
def test_a_full_disk_behind_standard_output(model: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "zhuyi", "translate", str(model), "--beam", "1"]
        done = subprocess.run(command, input=b"a dog\n", stdout=full, stderr=subprocess.PIPE)
    assert_one_clear_line(Outcome(done.returncode, "", done.stderr.decode()), "No space left")


# Writing


def train_into(out: Path, folder: Path, *more: object) -> Outcome:
    source, target = write_pairs(folder)
    return run("train", "--source", source, "--target", target, "--out", out, *SMALL, *more)


@pytest.mark.slow
def test_the_small_run_of_these_tests_works(tmp_path: Path) -> None:
    outcome = train_into(tmp_path / "out", tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    assert len(run("translate", tmp_path / "out", stdin=b"a b\n\n").lines) == 2


def test_an_output_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file" / "out", tmp_path / "file"):
        assert_one_clear_line(train_into(out, tmp_path), out, "--out")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.slow
def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    assert train_into(tmp_path / "out", tmp_path).code == 0
    before = everything_below(tmp_path / "out")
    assert_one_clear_line(train_into(tmp_path / "out", tmp_path), tmp_path / "out", "--resume", "--out")
    assert everything_below(tmp_path / "out") == before


@pytest.mark.slow
def test_a_resumed_run_cannot_become_another_model(tmp_path: Path) -> None:
    assert train_into(tmp_path / "out", tmp_path).code == 0
    outcome = train_into(tmp_path / "out", tmp_path, "--resume", "--set", "model.width=32")
    assert_one_clear_line(outcome, "model.width", "32", "16")


def whole_model_directories(folder: Path) -> list[Path]:
    """All that call themselves whole, each of which must then be whole."""
    found = [path.parent for path in folder.rglob("manifest.json")]
    for directory in found:
        zhuyi.load(directory)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("failing", [1, 3, 6, 8])
def test_a_disk_that_fills_up_while_saving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    source, target = write_pairs(tmp_path)
    assert (
        run("check", "--source", source, "--target", target, *SMALL).code == 0
    )  # the tokenised corpus is in the cache
    calls = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", fsync)
        outcome = train_into(out, tmp_path, "--set", "training.save_every=2")
    assert_one_clear_line(outcome, out, "No space left on device")
    assert calls >= failing
    whole_model_directories(out)
    assert train_into(out, tmp_path, "--set", "training.save_every=2", "--resume").code == 0
    assert out in whole_model_directories(out)


def test_a_failed_save_leaves_the_older_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything_below(model)

    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(zhuyi.CheckpointError, match="No space left"):
        checkpoint.save_model(checkpoint.load_model(model), model, card="another")
    assert everything_below(model) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for 160 kB: a checkpoint of the small run, but not two."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is refused here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    out = small_disk / "out"
    outcome = train_into(out, tmp_path, "--set", "training.save_every=1")
    assert_one_clear_line(outcome, out, "No space left on device", "--resume")
    assert whole_model_directories(out)  # the first checkpoint found room, and is usable
    assert not list(out.rglob(".writing"))
    assert out not in whole_model_directories(out)


@pytest.mark.unix
def test_a_page_goes_where_a_link_leads(model: Path, tmp_path: Path) -> None:
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    assert run("look", model, "a dog", "--html", tmp_path / "link.html").code == 0
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "page.html").read_bytes().startswith(b"<!doctype html>")


@pytest.mark.unix
def test_a_page_for_a_full_device(model: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    (tmp_path / "full.html").symlink_to("/dev/full")
    assert_one_clear_line(run("look", model, "a dog", "--html", tmp_path / "full.html"), "full.html", "No space left")
    assert (tmp_path / "full.html").is_char_device()


@pytest.mark.slow
@pytest.mark.unix
def test_a_run_whose_records_go_elsewhere(tmp_path: Path) -> None:
    """`metrics.jsonl` is a device, which cannot be read like a file; the picture is a link."""
    out, picture = tmp_path / "out", tmp_path / "picture.svg"
    out.mkdir()
    (out / "metrics.jsonl").symlink_to("/dev/zero")
    (out / "training.svg").symlink_to(picture)
    assert train_into(out, tmp_path).code == 0
    assert (out / "metrics.jsonl").is_char_device()
    assert (out / "training.svg").is_symlink()
    assert b"<svg" in picture.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "a", "b"], "extra argument"),
        (["train", "--sett", "x"], "--sett"),
        (["translate", "model", "--length-penalty", "x"], "--length-penalty"),
        (["look"], "MODEL"),
        (["nosuch"], "nosuch"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], says: str) -> None:
    assert_one_clear_line(run(*arguments), says, "--help")
