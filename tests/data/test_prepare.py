"""What takes long is done once for the same data."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from zhuyi.config import Config, build_config
from zhuyi.data import prepare as module
from zhuyi.data.check import TextReport
from zhuyi.data.prepare import Preparing, examples, prepare
from zhuyi.display import ProgressDisplay
from zhuyi.errors import DataError


def config_of(folder: Path, train: int = 60, dev: str = "a1 a2\n") -> Config:
    for name, content in (
        ("train.en", "".join(f"a{i} a{i % 7}\n" for i in range(train))),
        ("train.de", "".join(f"b{i}\n" for i in range(train))),
        ("dev.en", dev),
        ("dev.de", "b1\n"),
    ):
        (folder / name).write_text(content)
    files = {
        f"{prefix}{side}": str(folder / f"{name}.{ending}")
        for prefix, name in (("", "train"), ("dev_", "dev"))
        for side, ending in (("source", "en"), ("target", "de"))
    }
    return build_config({"data": files, "text": {"kind": "whitespace", "vocabulary": 40}})


def test_a_second_time_everything_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(tmp_path)
    first = prepare(config)
    for name in ("_learn", "make_report"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("done twice"))
    again = prepare(config)
    assert again.report == first.report
    assert again.tokenizers.files() == first.tokenizers.files()
    assert again.store.path == first.store.path


def test_other_data_is_another_matter(tmp_path: Path) -> None:
    before = prepare(config_of(tmp_path)).report
    other_dev = prepare(config_of(tmp_path, dev="a99 a100\n")).report
    assert before.dev is not None
    assert other_dev.dev is not None
    assert before.dev.source_unknown < other_dev.dev.source_unknown == 1
    assert prepare(config_of(tmp_path, train=61)).report.outcome.pairs == 61


def test_what_is_being_done_is_shown(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with ProgressDisplay(console) as display:
        display(Preparing("Tokenising", 20, 50))
        display(Preparing(""))
    assert "20 lines" in console.file.getvalue()
    assert "40%" in console.file.getvalue()
    events: list[Preparing] = []
    prepare(config_of(tmp_path), notify=events.append)
    assert events[0].task.startswith("Reading the corpus")
    assert Preparing("Tokenising", 60, 60) in events
    assert events[-1] == Preparing("")


def running(folder: Path, lines: int = 100, **data: object) -> Config:
    (folder / "text.txt").write_text("".join(f"{i % 10} times\n" for i in range(lines)))
    sections = {"text": {"kind": "character"}, "model": {"shape": "decoder", "max_length": 11}}
    return build_config({"data": {"text": str(folder / "text.txt"), **data}, **sections})


def test_running_text_has_a_training_part_and_a_dev_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = running(tmp_path)
    data = prepare(config)
    assert data.dev is not None
    assert (len(data.store), len(data.dev)) == (90, 10)
    assert (data.store.outcome.characters, data.dev.outcome.bytes) == (720, 80)
    assert data.dev.line(0) == 91
    assert isinstance(data.report, TextReport)
    assert (data.config.decoding.max_ratio, data.config.decoding.max_extra) == (0, 11)
    for name in ("_learn", "make_text_report"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("done twice"))
    again = prepare(config)
    assert again.report == data.report
    assert again.dev is not None
    assert (again.store.path, again.dev.path) == (data.store.path, data.dev.path)


def test_another_file_or_nothing_may_be_the_dev_part(tmp_path: Path) -> None:
    (tmp_path / "dev.txt").write_text("7 times\nnever\n")
    other = prepare(running(tmp_path, dev_text=str(tmp_path / "dev.txt")))
    assert other.dev is not None
    assert (len(other.store), len(other.dev)) == (100, 2)
    none = prepare(running(tmp_path, dev_share=0.0))
    assert (len(none.store), none.dev) == (100, None)
    assert none.store.path == other.store.path


def test_what_an_epoch_is_trained_on(tmp_path: Path) -> None:
    data = prepare(running(tmp_path))
    windows = [examples(data.config, data.store, data.tokenizers, epoch) for epoch in (0, 1, 0)]
    assert [sum(each.target_lengths) for each in windows] == [720] * 3
    assert max(windows[0].target_lengths) == 10
    assert windows[0].target_lengths.tolist() == windows[2].target_lengths.tolist()
    pairs = prepare(config_of(tmp_path))
    assert examples(pairs.config, pairs.store, pairs.tokenizers, 7) is pairs.store


def test_text_of_white_space_that_is_not_kept_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(" \n\n \n" * 10)
    config = build_config(
        {
            "data": {"text": str(tmp_path / "text.txt")},
            "text": {"kind": "character", "whitespace": "collapse"},
            "model": {"shape": "decoder"},
        }
    )
    with pytest.raises(DataError, match=r"text\.txt: has no tokens, but only white space"):
        prepare(config)
