"""The course: its blocks run, both languages have the same ones, and its notebooks and pictures are made of it."""

import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import course_tables
import notebooks
import pytest
import stored
import torch
from test_readme import COURSE, ROOT, blocks, zhuyi_commands

from zhuyi.checkpoint import build_model, save_model
from zhuyi.config import load_config
from zhuyi.data.dates import date_pairs
from zhuyi.text.tokenizer import Tokenizers

CHINESE_COURSE = ROOT / "docs/zh/course"

every_chapter = pytest.mark.parametrize("chapter", COURSE, ids=lambda path: path.stem)


@pytest.fixture
def picture(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    """A script of docs/pictures/, by its name."""
    path = ROOT / "docs/pictures" / request.param
    monkeypatch.syspath_prepend(path.parent)
    specification = spec_from_file_location(f"picture_{path.stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def zhuyi_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `zhuyi demo` leaves, but for what it has learnt."""
    monkeypatch.chdir(tmp_path)
    config = load_config(ROOT / "examples/dates.toml")
    written, iso = zip(*date_pairs(train_lines=3000).train, strict=True)
    torch.manual_seed(2)
    model = build_model(config, Tokenizers.train(config.text, written, iso))
    save_model(model, tmp_path / "zhuyi-demo")
    return tmp_path / "zhuyi-demo"


@pytest.mark.slow
@pytest.mark.unix
@pytest.mark.timeout(600)
def test_the_course_runs_from_its_first_line_to_its_last(zhuyi_demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one session, from which each chapter takes nothing but the first block, and in which it leaves nothing."""
    names: dict[str, Any] = {}
    first: dict[str, Any] = {}
    with torch.random.fork_rng(), torch.set_grad_enabled(torch.is_grad_enabled()):
        for chapter in COURSE:
            for number, code in enumerate(blocks(chapter, "python"), start=1):
                try:
                    exec(code, names)
                except Exception as error:
                    raise AssertionError(f"block {number} of {chapter.name}:\n{code}") from error
                assert capsys.readouterr().out, f"block {number} of {chapter.name} prints nothing"
                first = first or dict(names)
            for name in first:
                assert names[name] is first[name], f"{chapter.name} has another {name}"
            for name in names.keys() - first.keys():
                del names[name]
    taps = {
        tap for chapter in COURSE for tap in re.findall(r"`((?:en|de)coder\.[a-z0-9_.]+)`", chapter.read_text("utf-8"))
    }
    assert taps
    assert taps <= set(names["seen"].values)


@every_chapter
def test_both_languages_have_the_same_code_to_the_byte(chapter: Path) -> None:
    for language in ("python", "sh", "text"):
        assert blocks(chapter, language) == blocks(CHINESE_COURSE / chapter.name, language)


@every_chapter
def test_a_chapter_ends_with_three_questions_and_what_to_try(chapter: Path) -> None:
    for page, questions, to_try in (
        (chapter, "## Three questions", "## What to try"),
        (CHINESE_COURSE / chapter.name, "## 三个问题", "## 动手试试"),
    ):
        _, end = page.read_text("utf-8").split(f"\n{questions}\n")
        asked, commands = end.split(f"\n{to_try}\n")
        assert re.findall(r"^<details><summary>(\d)\. .+</summary>$", asked, re.MULTILINE) == ["1", "2", "3"]
        assert asked.count("\n\n</details>") == 3
        assert "```sh\nzhuyi " in commands
    assert zhuyi_commands(chapter)


@every_chapter
def test_both_languages_name_the_same_values(chapter: Path) -> None:
    ours, theirs = (
        re.findall(r"`((?:en|de)coder\.[a-z0-9_.]+)`", page.read_text("utf-8"))
        for page in (chapter, CHINESE_COURSE / chapter.name)
    )
    assert ours == theirs


@every_chapter
def test_both_languages_have_the_same_measurements(chapter: Path) -> None:
    ours, theirs = (
        re.findall(r"^<!-- (\w+) -->\n(.*?)^<!-- /\1 -->$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        for page in (chapter, CHINESE_COURSE / chapter.name)
    )
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    assert {name for name, _ in ours} <= course_tables.BLOCKS.keys()
    for (_, english), (_, chinese) in zip(ours, theirs, strict=True):
        assert [numbers(line) for line in english.splitlines() if line.startswith("|")] == [
            numbers(line) for line in chinese.splitlines() if line.startswith("|")
        ]


def numbers(row: str) -> list[str]:
    return re.findall(r"\d+\.\d+", row)


def test_what_has_not_been_measured_is_not_spoken_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "RESULTS", tmp_path)
    for block in course_tables.BLOCKS.values():
        assert block(0) == block(1) == []


def test_tables_appear_with_their_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "RESULTS", tmp_path)

    def write(name: str, keys: list[str], scores: dict[tuple[str, ...], list[float]]) -> None:
        variants = [
            {
                **{"settings": dict(zip(keys, setting, strict=True)), "parameters": 1000},
                **{"scores": {"test": {"values": values}}, "losses": {"test": {"values": values}}},
            }
            for setting, values in scores.items()
        ]
        result = {"metric": "exact", "seeds": [1, 2], "variants": variants}
        (tmp_path / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")

    both = {("attention", "attention"): [90.0, 92.0], ("attention", "recurrence"): [80.0, 80.0]}
    write("mixers-dates", ["model.encoder_mixer", "model.decoder_mixer"], both)
    write("shapes-multi30k", ["model.shape"], {("encoder-decoder",): [30.0, 32.0], ("decoder",): [29.0, 29.0]})
    copied = {"seeds": [[{"length": length, "symbols": 99.5} for length in course_tables.LENGTHS]]}
    copies = {"symbols": 20, "tasks": {"decoder/copy": {"updates": 600, "mixers": {"attention": copied}}}}
    (tmp_path / "copy-task.json").write_text(json.dumps(copies), encoding="utf-8")
    english, chinese = course_tables.measured(0), course_tables.measured(1)
    assert english[0] == "## Measured"
    assert "| attention | attention | 91.00 ± 1.41 |" in english
    assert "| decoder alone, copy | attention | 600 | 99.50 | 99.50 | 99.50 | 99.50 |" in english
    assert "| 注意力 | 循环网络 | 80.00 ± 0.00 |" in chinese
    assert len(english) == len(chinese)
    assert "| decoder | 1,000 | 29.00 ± 0.00 | 29.00 ± 0.00 |" in course_tables.shapes(0)


def test_every_page_is_a_chapter() -> None:
    for folder in (ROOT / "docs/course", CHINESE_COURSE):
        assert {path.name for path in folder.iterdir()} == {chapter.name for chapter in COURSE}


def test_a_notebook_has_the_blocks_of_its_chapter_and_needs_no_other_file() -> None:
    made = notebooks.notebooks()
    (first, *_) = blocks(COURSE[0], "python")
    for place in ("course", "zh/course"):
        whole = [block for chapter in COURSE for block in blocks(chapter, "python")]
        wanted = {"all": whole, "index": [first]}
        wanted |= {chapter.stem: [first, *blocks(chapter, "python")] for chapter in COURSE[1:]}
        for name, code in wanted.items():
            cells = made.pop(Path(place, f"{name}.ipynb"))["cells"]
            setup, *rest = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
            assert setup == notebooks.SETUP.rstrip()
            assert rest == [block.rstrip() for block in code]
            text = "".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
            assert "<!--" not in text
            assert "toctree" not in text
            assert re.fullmatch(r"(data:image/(svg\+xml|png);base64|[\w-]+\.ipynb|\s)*", targets(text))
    assert not made


def targets(text: str) -> str:
    """What links and pictures of a notebook lead to, without the content of pictures."""
    return " ".join(re.findall(r"\]\((data:[^,]*|[^)]*)", text))


@pytest.mark.parametrize("picture", ["course.py", "engine.py"], indirect=True)
def test_the_pictures_are_those_that_their_script_draws(picture: ModuleType) -> None:
    for path, drawn in picture.pictures().items():
        assert path.read_text(encoding="utf-8") == drawn, f"run python {picture.__file__}"


@pytest.mark.slow
@pytest.mark.unix
@pytest.mark.parametrize("picture", ["draw.py"], indirect=True)
def test_the_picture_of_cross_attention_can_be_drawn_again(
    picture: ModuleType, zhuyi_demo: Path, tmp_path: Path
) -> None:
    read, written, weights = picture.cross_attention(
        picture.zhuyi.load(zhuyi_demo, engine="torch", device="cpu"), picture.LINE
    )
    assert weights.shape[2:] == (len(written), len(read))
    picture.draw(read, written, weights, tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_the_date_in_the_course_is_one_that_the_demo_keeps_for_its_test() -> None:
    pairs = date_pairs()
    assert "1986-03-25" in {iso for _, iso in pairs.test}
    assert "1986-03-25" not in {iso for _, iso in [*pairs.train, *pairs.dev]}
