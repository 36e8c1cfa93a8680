"""A corpus of many files: line for line, resumed after any kill, shared by several processes."""

import errno
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from command_line import tiny_model
from command_line import zhuyi as run
from rich.console import Console

from zhuyi.data.compression import packed, text_lines
from zhuyi.data.specs import Shard
from zhuyi.display.shards import ShardsDisplay
from zhuyi.errors import DataError
from zhuyi.files import opened_atomically, write_new
from zhuyi.shards import Job, Progress, jobs, translate_shards

LINES = ["a dog runs", "", "two cats", "zwei Hunde", " ", "a\u2028b", "the dog and the cat", "好"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def write_shard(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file, packed(file, path.suffix if path.suffix != ".en" else "") as write:
        write("".join(f"{line}\n" for line in lines).encode())
    return path


def corpus(folder: Path, shards: int, lines: int, ending: str = ".zst") -> dict[str, list[str]]:
    rng = random.Random(1)
    written = {f"{number:02}.en{ending}": rng.choices(LINES, k=lines) for number in range(shards)}
    for name, content in written.items():
        write_shard(folder / name, content)
    return written


def translate(model: Path, spec: object, out: Path, *options: object) -> Any:
    return run("translate", model, "--in", spec, "--out", out, "--beam", 1, *options)


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("ending", ["", ".gz", ".xz", ".zst"])
def test_each_shard_gets_a_file_of_its_name_line_for_line(model: Path, tmp_path: Path, ending: str) -> None:
    written = corpus(tmp_path / "in", 3, 40, ending)
    outcome = translate(model, tmp_path / "in/*", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*written, "translation.json"}
    for name, lines in written.items():
        source = "".join(f"{line}\n" for line in lines).encode()
        assert (
            list(text_lines(str(tmp_path / "out" / name))) == run("translate", model, "--beam", 1, stdin=source).lines
        )
        head = (tmp_path / "out" / name).read_bytes()[:2]
        assert (head in (b"\x1f\x8b", b"\xfd7", b"\x28\xb5")) == bool(ending)


def test_an_empty_shard_gives_an_empty_one_and_a_table_text(model: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "empty/a.zst", [])
    assert translate(model, tmp_path / "empty/*.zst", tmp_path / "out").code == 0
    assert list(text_lines(str(tmp_path / "out/a.zst"))) == []
    write_shard(tmp_path / "tables/b.tsv.gz", ["a dog\tx", "cats\ty"])
    assert translate(model, f"{tmp_path}/tables/*.gz#1", tmp_path / "text").code == 0
    assert len(list(text_lines(str(tmp_path / "text/b.txt.gz")))) == 2
    assert translate(model, f"{tmp_path}/tables/*.gz#1", tmp_path / "json", "--json").code == 0
    sources = [json.loads(line)["source"] for line in text_lines(str(tmp_path / "json/b.jsonl.gz"))]
    assert sources == ["a dog", "cats"]


def test_what_is_there_is_not_translated_again(model: Path, tmp_path: Path) -> None:
    corpus(tmp_path / "in", 3, 5)
    assert translate(model, tmp_path / "in/*.zst", tmp_path / "out").code == 0
    before = contents(tmp_path / "out")
    kept = (tmp_path / "out/00.en.zst").stat().st_mtime_ns
    (tmp_path / "out/01.en.zst").unlink()
    outcome = translate(model, tmp_path / "in/*.zst", tmp_path / "out")
    assert "01.en.zst: 5 lines; 3 of 3 shards\n" in outcome.err
    assert "00.en.zst" not in outcome.err
    assert contents(tmp_path / "out") == before
    assert (tmp_path / "out/00.en.zst").stat().st_mtime_ns == kept


def test_the_parts_are_the_whole_each_once(model: Path, tmp_path: Path) -> None:
    corpus(tmp_path / "in", 5, 4)
    assert translate(model, tmp_path / "in/*.zst", tmp_path / "whole").code == 0
    seen: list[str] = []
    for part in ("3/3", "1/3", "2/3"):
        outcome = translate(model, tmp_path / "in/*.zst", tmp_path / "parts", "--shard", part)
        seen += [line.partition(".en.zst: 4 lines")[0][-2:] for line in outcome.err.splitlines() if " lines" in line]
    assert sorted(seen) == ["00", "01", "02", "03", "04"]
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert translate(model, tmp_path / "in/*.zst", tmp_path / "none", "--shard", "9/9").code == 0
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["translation.json"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--beam", 2], "decoding.beam = 1, and not 2"),
        (["--json"], "output = text, and not .jsonl"),
        (["--set", "decoding.max_extra=3"], "decoding.max_extra = "),
    ],
)
def test_other_settings_are_refused_in_one_line(model: Path, tmp_path: Path, options: list[Any], why: str) -> None:
    corpus(tmp_path / "in", 2, 3)
    assert translate(model, tmp_path / "in/*.zst", tmp_path / "out").code == 0
    before = contents(tmp_path / "out")
    outcome = translate(model, tmp_path / "in/*.zst", tmp_path / "out", *options)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert why in outcome.err
    assert contents(tmp_path / "out") == before
    assert translate(model, tmp_path / "in/*.zst", tmp_path / "out", "--workers", 1).code == 0


def test_another_model_and_other_shards_are_refused(model: Path, tmp_path: Path) -> None:
    corpus(tmp_path / "in", 2, 3)
    corpus(tmp_path / "others", 2, 300)
    assert translate(model, tmp_path / "in/*.zst", tmp_path / "out").code == 0
    other = tiny_model(
        tmp_path / "other",
        lambda config: config.model_copy(update={"model": config.model.model_copy(update={"width": 32})}),
    )
    assert (
        "holds translations with model.width = 16, and not 32"
        in translate(other, tmp_path / "in/*.zst", tmp_path / "out").err
    )
    refused = translate(model, tmp_path / "others/*.zst", tmp_path / "out")
    size = (tmp_path / "in/00.en.zst").stat().st_size
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert f"00.en.zst is the translation of a shard of {size} bytes" in refused.err


def test_folders_that_were_moved_are_resumed_with_further_and_changed_shards(model: Path, tmp_path: Path) -> None:
    corpus(tmp_path / "in", 3, 5)
    assert translate(model, tmp_path / "in/0[01]*", tmp_path / "out").code == 0
    for name in ("in", "out"):
        (tmp_path / name).rename(tmp_path / f"moved-{name}")
    write_shard(tmp_path / "moved-in/01.en.zst", ["a dog"] * 9)
    assert translate(model, tmp_path / "moved-in/*", tmp_path / "moved-out").code == 2
    (tmp_path / "moved-out/01.en.zst").unlink()
    for _ in range(2):
        outcome = translate(model, tmp_path / "moved-in/*", tmp_path / "moved-out")
        assert outcome.code == 0, outcome.err
    assert [len(list(text_lines(str(tmp_path / f"moved-out/0{i}.en.zst")))) for i in range(3)] == [5, 9, 5]


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"bytes": {"00.en.zst": "x"}}', '{"bytes": 1}'])
def test_a_damaged_record_is_one_line(model: Path, tmp_path: Path, record: str) -> None:
    corpus(tmp_path / "in", 1, 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/translation.json").write_text(record)
    outcome = translate(model, tmp_path / "in/*", tmp_path / "out")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "translation.json: damaged: " in outcome.err
    assert (tmp_path / "out/translation.json").read_text() == record


def test_a_directory_of_something_else_is_left_alone(model: Path, tmp_path: Path) -> None:
    corpus(tmp_path / "in", 2, 3)
    mine = write_shard(tmp_path / "out/01.en.zst", ["mine"]).read_bytes()
    outcome = translate(model, tmp_path / "in/*.zst", tmp_path / "out")
    assert outcome.code == 2
    assert "01.en.zst is there, but no translation.json says what it is" in outcome.err
    assert contents(tmp_path / "out") == {"01.en.zst": mine}
    outcome = translate(model, tmp_path / "in/*.zst", tmp_path / "in")
    assert outcome.code == 2
    assert "is also what is to be translated" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--in", "*.zst"], "give --out DIR with it"),
        (["--in", "*.zst", "--out", "out", "file"], "no FILE"),
        (["--shard", "1/2"], "files that --in names"),
        *(
            (["--in", "*.zst", "--out", "out", "--shard", text], "part I of N")
            for text in ("0/2", "3/2", "2", "a/b", "1/0", f"1/{'9' * 5000}")
        ),
        (["--in", "no/*.zst", "--out", "out"], "no such file"),
    ],
)
def test_what_does_not_go_together_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("translate", model, *arguments)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert why in outcome.err
    assert not list(tmp_path.iterdir())


def test_a_shard_that_cannot_be_read_leaves_those_before_and_nothing_of_itself(model: Path, tmp_path: Path) -> None:
    corpus(tmp_path / "in", 3, 5)
    (tmp_path / "in/01.en.zst").write_bytes((tmp_path / "in/01.en.zst").read_bytes()[:-9])
    outcome = translate(model, tmp_path / "in/*.zst", tmp_path / "out")
    assert outcome.code == 2
    assert "01.en.zst: cannot be read" in outcome.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"translation.json", "00.en.zst"}


def test_warnings_name_the_shard(model: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.gz", ["a dog", "dog " * 99])
    outcome = translate(model, tmp_path / "in/a.gz", tmp_path / "out")
    assert "warning: " + str(tmp_path / "in/a.gz") + ", line 2 has" in outcome.err


# Several processes


def echo(shard: Shard, chunks: Any) -> Any:
    for chunk in chunks:
        yield "".join(f"{line}\n" for line in chunk)


def test_the_time_left_is_estimated_from_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"a": 1000, "b": 3000}
    for name, lines in sizes.items():
        write_shard(tmp_path / f"in/{name}.en", ["x"] * lines)
    clock = count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    events: list[Progress] = []
    translate_shards(jobs(str(tmp_path / "in/*.en"), tmp_path / "out"), echo, events.append)
    assert [event.lines for event in events] == [512, 1000, 512, 1024, 1536, 2048, 2560, 3000]
    assert [event.finished for event in events] == [0, 1, 1, 1, 1, 1, 1, 2]
    assert events[0].seconds_left == pytest.approx((4000 - 512) / 512)
    assert events[1].seconds_left == pytest.approx(2 * 3000 / 1000)
    assert events[-1].seconds_left == 0


def test_a_name_that_looks_like_markup_is_shown_as_it_is(tmp_path: Path) -> None:
    write_shard(tmp_path / "in/[bold].en", ["x"] * 600)
    (job,) = jobs(str(tmp_path / "in/[bold].en"), tmp_path / "out")
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with ShardsDisplay(console) as display:
        for lines in (512, 600):
            display(Progress(job.source, lines, 600, lines // 600, 1, 1.0))
    assert isinstance(console.file, io.StringIO)
    assert "in/[bold].en: 512 of 600 lines" in console.file.getvalue()
    assert "in/[bold].en: 600 lines" in console.file.getvalue()


def test_a_shard_that_grows_meanwhile_is_not_taken_for_complete(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "in/a.en", ["x"] * 600)

    def append(progress: Progress) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write("y\n")

    planned = jobs(str(path), tmp_path / "out")
    with pytest.raises(DataError, match="had 600 lines and now has 601"):
        translate_shards(planned, echo, append)
    assert list((tmp_path / "out").iterdir()) == []


def test_two_processes_at_the_same_shard_both_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system without locks."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr("zhuyi.shards.exclusive", no_locks)
    (job,) = jobs(str(write_shard(tmp_path / "in/a.en", ["x"] * 600)), tmp_path / "out")
    others: list[Progress] = []

    def another(progress: Progress) -> None:
        if not others:
            others.append(progress)
            translate_shards([job], echo, others.append)
            assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.en"]

    translate_shards([job], echo, another)
    assert others[-1].lines == 600
    assert contents(tmp_path / "out") == {"a.en": b"x\n" * 600}


@pytest.mark.parametrize("ends", [True, False])
def test_processes_take_different_shards_and_what_one_leaves(tmp_path: Path, ends: bool) -> None:
    """The first one waits in the first shard until the second has done another one, and then may fail."""
    for name in "abc":
        write_shard(tmp_path / f"in/{name}.en", [name])
    planned = jobs(str(tmp_path / "in/*.en"), tmp_path / "out")
    begun, other_is_done, seen = threading.Event(), threading.Event(), []

    def first(shard: Shard, chunks: Any) -> Any:
        seen.append(f"first {Path(shard.place).stem}")
        begun.set()
        assert other_is_done.wait(60)
        if not ends:
            raise DataError("the first process ends")
        return echo(shard, chunks)

    def second(shard: Shard, chunks: Any) -> Any:
        seen.append(f"second {Path(shard.place).stem}")
        return echo(shard, chunks)

    with ThreadPoolExecutor() as threads:
        one = threads.submit(translate_shards, planned[:1], first, lambda progress: None)
        assert begun.wait(60)
        other = threads.submit(translate_shards, planned, second, lambda progress: other_is_done.set())
        assert (one.exception(60) is None) == ends
        other.result(60)
    assert seen == ["first a", "second b", "second c"] + ([] if ends else ["second a"])
    assert contents(tmp_path / "out") == {f"{name}.en": f"{name}\n".encode() for name in "abc"}


def test_a_shard_that_another_process_did_meanwhile_is_passed_over(tmp_path: Path) -> None:
    for name in "ab":
        write_shard(tmp_path / f"in/{name}.en", ["x"])
    planned = jobs(str(tmp_path / "in/*.en"), tmp_path / "out")
    seen: list[Job] = []

    def answers(shard: Shard, chunks: Any) -> Any:
        seen.append(planned[0])
        write_new(planned[1].target, b"done by another\n")
        return echo(shard, chunks)

    translate_shards(planned, answers, lambda progress: None)
    assert len(seen) == 1
    assert planned[1].target.read_bytes() == b"done by another\n"


@pytest.mark.parametrize("links", [True, False])
def test_the_first_to_write_a_new_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refused)
    write_new(tmp_path / "record", b"first")
    assert contents(tmp_path) == {"record": b"first"}
    if links:
        write_new(tmp_path / "record", b"second")
        assert contents(tmp_path) == {"record": b"first"}


def refused(*_: object) -> None:
    raise PermissionError(1, "no links here")


def test_an_interrupted_shard_leaves_nothing(tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.en", ["x"] * 600)

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate_shards(jobs(str(tmp_path / "in/a.en"), tmp_path / "out"), echo, interrupt)
    assert list((tmp_path / "out").iterdir()) == []


def killed_when(command: list[str], come: Callable[[], bool]) -> bool:
    """Whether the command was killed, at a moment that is seen from outside; False if it ended before."""
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            if come():
                process.send_signal(signal.SIGKILL)
                process.wait(60)
                return True
            time.sleep(0.005)
    return False


@pytest.mark.slow
@pytest.mark.unix
def test_killed_again_and_again_it_ends_with_the_same_bytes(model: Path, tmp_path: Path) -> None:
    written = corpus(tmp_path / "in", 3, 600)
    assert translate(model, tmp_path / "in/*.zst", tmp_path / "peaceful").code == 0
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "zhuyi", "translate", str(model), "--beam", "1"]
    command += ["--in", str(tmp_path / "in/*.zst"), "--out", str(out)]
    kills = 0
    for done in (0, 2):
        before = {path.name for path in out.glob(".*.writing")}

        def writes(done: int = done, before: set[str] = before) -> bool:
            begun = [path for path in out.glob(".*.zst.*.writing") if path.name not in before]
            return len(list(out.glob("*.zst"))) >= done and bool(begun)

        kills += killed_when(command, writes)
    left = [path.name for path in out.iterdir() if path.name.endswith(".writing")]
    assert kills == 2
    assert left
    subprocess.run(command, check=True, stderr=subprocess.PIPE)
    assert contents(out) == contents(tmp_path / "peaceful")
    assert [len(list(text_lines(str(out / name)))) for name in written] == [600] * 3


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("--shard=1/2", "--shard=2/2"), ("--beam=1", "--beam=1")], ids=["parts", "alike"])
def test_two_processes_share_a_directory(model: Path, tmp_path: Path, parts: tuple[str, str]) -> None:
    corpus(tmp_path / "in", 7, 50)
    assert translate(model, tmp_path / "in/*.zst", tmp_path / "one").code == 0
    command = [sys.executable, "-m", "zhuyi", "translate", str(model), "--beam", "1"]
    command += ["--in", str(tmp_path / "in/*.zst"), "--out", str(tmp_path / "two")]
    processes = [subprocess.Popen([*command, part], stderr=subprocess.PIPE) for part in parts]
    ends = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert sum(line.count(".zst: 50 lines;") for line in ends) == 7
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_a_write_that_is_shared_removes_what_killed_ones_left(tmp_path: Path) -> None:
    (tmp_path / ".a[1].zst.0123.writing").write_bytes(b"left")
    (tmp_path / ".a1.zst.0123.writing").write_bytes(b"another's")
    with opened_atomically(tmp_path / "a[1].zst", shared=True) as file:
        file.write(b"new")
    assert contents(tmp_path) == {"a[1].zst": b"new", ".a1.zst.0123.writing": b"another's"}
