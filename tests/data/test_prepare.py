"""What takes long is done once for the same data."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from zhuyi.config import Config, build_config
from zhuyi.data import prepare as module
from zhuyi.data.prepare import Preparing, prepare
from zhuyi.display import ProgressDisplay


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
