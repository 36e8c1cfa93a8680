"""Every command in every locale, with names of any bytes, whatever streams, terminal and home it is given."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from command_line import TINY, tiny_model, write_pairs
from command_line import zhuyi as run
from foreign_models import make_opus_mt

from zhuyi.data.cache import cache_directory

pytestmark = [pytest.mark.unix, pytest.mark.slow]

SETTINGS = [f"model.{key}={value}" for key, value in TINY["model"].items()]
SETTINGS += ["text.vocabulary=300", "training.steps=2", "training.device=cpu", "training.threads=1"]
SET = [word for setting in SETTINGS for word in ("--set", setting)]
NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def child(*arguments: object, redirect: str = "", **changes: str | None) -> "subprocess.CompletedProcess[bytes]":
    """`zhuyi ARGUMENTS REDIRECT` in an environment with changes; None: without it."""
    environment = {key: value for key, value in {**os.environ, **changes}.items() if value is not None}
    command = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "zhuyi", *map(str, arguments)]
    return subprocess.run(command, input=b"a dog\n", capture_output=True, env=environment)


def assert_done(done: "subprocess.CompletedProcess[bytes]") -> None:
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("environment", "command"),
    [
        ({"PYTHONIOENCODING": "cp1252"}, "train"),
        (NO_UTF8, "check"),
        pytest.param({"PYTHONIOENCODING": "cp1252"}, "check", marks=pytest.mark.long),
        pytest.param(NO_UTF8, "train", marks=pytest.mark.long),
    ],
    ids=str,
)
def test_streams_that_are_not_utf8(environment: dict[str, str], command: str, tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    arguments = [command, "--source", source, "--target", target, *SET]
    assert_done(child("--help", **environment))
    assert_done(child(*arguments, *(["--out", tmp_path / "out"] if command == "train" else []), **environment))
    done = child("translate", tmp_path / "nö", **environment)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert os.fsencode(tmp_path / "n") in done.stderr


def test_data_is_utf8_whatever_the_stream_is(model: Path) -> None:
    usual = child("config", "--set", "data.source=ü", "--set", "data.target=注意")
    other = child("config", "--set", "data.source=ü", "--set", "data.target=注意", PYTHONIOENCODING="cp1252")
    assert 'target = "注意"' in other.stdout.decode()
    assert usual.stdout == other.stdout


def test_text_among_the_arguments_is_utf8_in_every_locale(model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert_done(child("look", model, "März", "--target", "Ü", "--html", page, **NO_UTF8))
    assert quote("März") in page.read_text(encoding="utf-8")
    done = run("look", model, os.fsdecode(b"M\xe4rz"), "--html", page)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "not UTF-8" in done.err


NAMES = {
    "latin1": b"caf\xe9",
    "markup": b"[bold]x[/] [",
    "newline": b"a\nb\tc",
    "dash": b"-x",
    "quotes": b" 'a' \"b\" $c; &",
    "long": b"y" * 200,
    "unicode": "注意 \u202e".encode(),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"/".join(NAMES.values()), id="all"),
        *(pytest.param(name, id=kind, marks=pytest.mark.long) for kind, name in NAMES.items()),
    ],
)
def test_a_name_is_a_name(name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ZHUYI_CACHE", str(folder / "cache"))
    source, target = write_pairs(folder)
    (folder / "my.toml").write_text('[data]\nsource = "train.source"\ntarget = "train.target"\n')
    files = ["--source", source, "--target", target]
    train = ["train", *files, "--dev-source", source, "--dev-target", target, "--out", folder / "out", *SET]
    for arguments in (
        ["check", folder / "my.toml", *SET],
        ["config", folder / "my.toml"],
        train,
        [*train, "--set", "training.steps=3", "--resume"],
        ["translate", folder / "out"],
        ["look", folder / "out", "a", "--html", folder / "page.html"],
        ["import", make_opus_mt(folder / "opus"), "--out", folder / "imported"],
    ):
        outcome = run(*arguments, stdin=b"a b\n")
        assert (outcome.code, "error" in outcome.err) == (0, False)
    scores = run("evaluate", folder / "out", *files, "--json")
    assert os.fsencode(json.loads(scores.out)["model"]) == os.fsencode(folder / "out")
    assert run("translate", folder / "none").err.count("\n") == 1


@pytest.mark.parametrize("variables", [{"COLUMNS": "1"}, {"COLUMNS": "x"}, {"TERM": "dumb", "NO_COLOR": "1"}])
def test_any_terminal(variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = write_pairs(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert_done(child("train", "--help"))
    outcome = run("check", "--source", source, "--target", target, *SET)
    assert (outcome.code, outcome.err) == (0, "")


def test_a_warning_never_stands_among_the_translations(model: Path, tmp_path: Path) -> None:
    """`print` to a closed standard error would be to standard output."""
    (tmp_path / "long").write_text("dog " * 100 + "\n")
    warned = child("translate", model, redirect=f"< '{tmp_path / 'long'}'")
    silent = child("translate", model, redirect=f"2>&- < '{tmp_path / 'long'}'")
    assert b"warning" in warned.stderr
    assert (silent.returncode, silent.stdout) == (0, warned.stdout)


def test_closed_streams(tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    files = ["--source", source, "--target", target]
    assert_done(child("train", *files, "--out", tmp_path / "out", *SET, redirect="<&- >&- 2>&-"))
    assert child("translate", tmp_path / "out").stdout.count(b"\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["config"]])
def test_a_stream_that_takes_nothing(arguments: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    done = child(*arguments, redirect="> /dev/full")
    assert (done.returncode, done.stderr) == (2, b"zhuyi: error: No space left on device\n")
    done = child("translate", "none", redirect="2> /dev/full")
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_directory_that_is_gone(model: Path, tmp_path: Path) -> None:
    command = f'mkdir gone; cd gone; rmdir ../gone; exec "{sys.executable}" -P -m zhuyi translate "{model}"'
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, input=b"a\n", capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"zhuyi: error: the current directory has been removed: change to another one\n"


# The cache


def test_a_user_without_a_home_has_a_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pwd

    def nobody(_: int) -> None:
        raise KeyError

    for name in ("ZHUYI_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert cache_directory().name == f"zhuyi-{os.getuid()}"


def test_a_relative_xdg_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZHUYI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache_directory() == Path.home() / ".cache" / "zhuyi"
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    assert cache_directory() == Path("/there/zhuyi")


@pytest.mark.parametrize("cache", ["/dev/null", "x" * 300, "/proc/none"])
def test_a_cache_that_cannot_be(cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = write_pairs(tmp_path)
    monkeypatch.setenv("ZHUYI_CACHE", cache)
    for command, *more in (("check",), ("train", "--out", tmp_path / "out")):
        outcome = run(command, "--source", source, "--target", target, *SET, *more)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert "ZHUYI_CACHE" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_cache_that_can_only_be_read_is_enough_for_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = write_pairs(tmp_path)
    cache = tmp_path / "cache"
    monkeypatch.setenv("ZHUYI_CACHE", str(cache))
    assert run("check", "--source", source, "--target", target, *SET).code == 0
    (cache / "runs").write_text("in the way of any lock")
    outcome = run("train", "--source", source, "--target", target, *SET, "--out", tmp_path / "out")
    assert (outcome.code, outcome.err) == (0, "")
