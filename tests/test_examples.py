"""Every file in `examples/` loads, trains for three steps on data of its own form, and translates a line."""

import json
import shlex
import shutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer.main
from command_line import zhuyi as run
from safetensors import safe_open

from zhuyi import cli
from zhuyi.config import Config, load_config
from zhuyi.data.dates import date_pairs

GROUP: Any = typer.main.get_command(cli.app)
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.toml"))

PAIRS: dict[str, list[tuple[str, str]]] = {
    "dates": date_pairs(train_lines=300).train[:300],
    "g2p": [("abba", "ɒ bː ɒ"), ("acél", "ɒ t͡s eː l"), ("gyár", "ɟ aː r"), ("szép", "s eː p")] * 10,
    "multi30k_en_de": [
        ("A dog runs on the grass.", "Ein Hund rennt auf dem Gras."),
        ("Two men are playing guitar.", "Zwei Männer spielen Gitarre."),
        ("A girl in a red dress.", "Ein Mädchen in einem roten Kleid."),
    ]
    * 10,
    "shakespeare": [("ROMEO:", "But, soft!"), ("JULIET:", "O Romeo, Romeo!")] * 40,
    "sst2": [("a gob of drivel", "0"), ("stirring , funny and finally transporting", "1"), ("no movement", "0")] * 10,
    "tatoeba_en_zh": [
        ("Tom is my friend.", "汤姆是我的朋友。"),
        ("I like green tea.", "我喜欢绿茶。"),
        ("Where is the station?", "车站在哪里?"),
    ]
    * 10,
    "trec": [("Who was Galileo ?", "3"), ("How far is it to Aspen ?", "5"), ("Where is Modesto ?", "4")] * 10,
    "weibo_ner": [
        ("我在北京", "O O B-GPE.NAM I-GPE.NAM"),
        ("小王来了", "B-PER.NAM I-PER.NAM O O"),
        ("好的", "O O"),
    ]
    * 10,
}
"""Data for each example: a few lines of the kind that it is for. A new example needs a line here."""


def test_every_example_has_data() -> None:
    assert [path.stem for path in EXAMPLES] == sorted(PAIRS)


def write_data(config: Config, pairs: list[tuple[str, str]]) -> None:
    """The files that an example names, where it names them."""
    if config.data.text is not None:
        _write(Path(config.data.text), 1, chain.from_iterable(pairs))
        return
    for part in ("", "dev_", "test_"):
        specs = [getattr(config.data, f"{part}{side}") for side in ("source", "target")]
        sides = zip(specs, zip(*(pairs if part == "" else pairs[:3]), strict=True), strict=True)
        for spec, lines in sorted(sides, key=lambda side: side[0].partition("#")[2]):  # the first column first
            path, _, column = spec.partition("#")
            assert bool(column) == path.endswith(".tsv"), f"teach this test to write {spec}"
            _write(Path(path), int(column or 1), lines)


def _write(path: Path, column: int, values: Iterable[str]) -> None:
    """Put a column beside those that the file has already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if column == 1:
        rows = list(values)
    else:
        before = path.read_text(encoding="utf-8").splitlines()
        assert all(row.count("\t") == column - 2 for row in before)
        rows = [f"{row}\t{value}" for row, value in zip(before, values, strict=True)]
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def trained(example: Path, folder: Path) -> Path:
    """The model directory that one step of an example leaves."""
    copy = folder / example.name
    shutil.copy(example, copy)
    write_data(load_config(copy), PAIRS[example.stem])
    outcome = run("train", copy, "--set", "training.steps=1", "--out", folder / "model")
    assert outcome.code == 0, outcome.err
    return folder / "model"


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_trains_and_translates(example: Path, tmp_path: Path) -> None:
    model = trained(example, tmp_path)
    source, _ = PAIRS[example.stem][0]
    if load_config(example).data.text is not None:
        outcome = run("generate", model, source, "--tokens", 20)
        assert outcome.out.startswith(source)
    else:
        outcome = run("translate", model, stdin=f"{source}\n".encode())
        assert len(outcome.lines) == 1
    assert (outcome.code, "error" in outcome.err) == (0, False)
    metrics = [json.loads(line) for line in (model / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    metric = load_config(example).training.metric
    assert any(f"dev_{metric}" in record for record in metrics), "an example shows validation too"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_says_how_to_run_it(example: Path) -> None:
    head = example.read_text(encoding="utf-8").partition("[data]")[0]
    assert all(line.startswith("#") for line in head.splitlines() if line)
    commands = [line.removeprefix("#").strip() for line in head.splitlines() if line.startswith("#     zhuyi ")]
    assert any(command.startswith("zhuyi train ") for command in commands)
    for line in commands:
        _, command, *arguments = shlex.split(line)
        with GROUP.commands[command].make_context(command, arguments):  # parses, and does not run
            pass


@pytest.mark.slow
def test_a_model_directory_is_complete_and_holds_no_code(tmp_path: Path) -> None:
    """Only what the manifest lists is taken along: it translates alike, and is JSON, tensors and a page to read."""
    (example,) = [path for path in EXAMPLES if path.stem == "dates"]
    model = trained(example, tmp_path)
    left = {path.suffix for path in model.rglob("*") if path.is_file()}
    assert left <= {".json", ".jsonl", ".safetensors", ".md", ".svg"}, "checkpoints can be unpickled as little"

    files = [*json.loads((model / "manifest.json").read_bytes())["files"], "manifest.json"]
    alone = tmp_path / "elsewhere" / "alone"
    alone.mkdir(parents=True)
    for name in files:
        shutil.copy(model / name, alone / name)
    lines = "".join(f"{written}\n" for written, _ in PAIRS["dates"][:5]).encode()
    before = run("translate", model, stdin=lines)
    shutil.rmtree(model)
    (tmp_path / example.name).unlink()
    shutil.rmtree(tmp_path / "dates")
    after = run("translate", alone, stdin=lines)
    assert after == before
    assert len(after.lines) == 5

    for path in alone.iterdir():
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as tensors:
                assert tensors.keys()
        else:
            assert path.name == "README.md"
