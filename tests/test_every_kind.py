"""Every kind of model through every command: it does its work, or says in one line what it is not for."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "training"))

from command_line import zhuyi as run
from foreign_models import make_opus_mt
from runs import SHAPES, copying, of_shape

import zhuyi
from zhuyi.errors import ConfigError

TRANSLATORS = ["encoder-decoder", "imported"]
KINDS = [*TRANSLATORS, *SHAPES]
ANSWERS = [*TRANSLATORS, "decoder", "labels of lines", "labels of tokens"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each kind, after a few updates, or imported."""
    found = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind.replace(" ", "-"))
        if kind == "imported":
            found[kind] = zhuyi.import_model(make_opus_mt(folder / "opus"), folder / "model").directory
            continue
        short = {"training": {"steps": 2, "save_every": 2}}
        config = copying(folder, **short) if kind == "encoder-decoder" else of_shape(folder, kind, **short)
        found[kind] = zhuyi.train(config, folder / "model").directory
    return found


COMMANDS = {
    "translate": (["translate", "{model}", "{lines}"], ANSWERS, r"running text"),
    "translate with scores": (["translate", "{model}", "{lines}", "--scores"], ANSWERS, r"running text"),
    "generate": (["generate", "{model}", "abc", "--tokens", "5"], ["language model"], r"a language model"),
    "evaluate": (["evaluate", "{model}", "--source", "{lines}", "--target", "{right}"], ANSWERS, r"running text"),
    "evaluate text": (["evaluate", "{model}", "--target", "{lines}"], ["language model", "masked tokens"], "--source"),
    "look": (["look", "{model}", "abc", "--html", "{page}"], KINDS, ""),
    "export": (["export", "{model}", "--to", "ctranslate2", "--out", "{exported}"], TRANSLATORS, "model.shape"),
    "config": (["config", "{model}"], KINDS, ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_works_or_says_what_it_is_not_for(models: dict[str, Path], tmp_path: Path, kind: str, command: str) -> None:
    arguments, able, refusal = COMMANDS[command]
    model = models[kind]
    lines = tmp_path / "lines"
    lines.write_text("abc\nde\n", encoding="utf-8")
    right = tmp_path / "right"
    right.write_text({"labels of lines": "A\nD\n", "labels of tokens": "A B C\nD E\n"}.get(kind, "abc\nde\n"), "utf-8")
    paths = {"model": model, "lines": lines, "right": right, "page": tmp_path / "p.html", "exported": tmp_path / "out"}
    outcome = run(*(each.format(**paths) for each in arguments))
    if kind in able:
        assert outcome.code == 0, outcome.err
    else:
        assert outcome.code == 2
        assert len(outcome.err.strip().splitlines()) <= 3, outcome.err
        assert re.search(refusal, outcome.err), outcome.err
        assert "Traceback" not in outcome.err
        assert not (tmp_path / "out").exists()


def test_running_text_is_scored_by_a_function_too(models: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("abc\nfed\n", encoding="utf-8")
    for kind, metric in (("language model", "bits_per_byte"), ("masked tokens", "accuracy")):
        found = zhuyi.evaluate_text(zhuyi.load(models[kind], engine="torch"), str(text))
        assert found.scores.keys() == {metric}
        assert found.loss is not None
        assert found.loss > 0
    for kind in ANSWERS:
        with pytest.raises(ConfigError, match="trained on pairs"):
            zhuyi.evaluate_text(zhuyi.load(models[kind], engine="torch"), str(text))
    with pytest.raises(ConfigError, match="torch engine"):
        zhuyi.evaluate_text(zhuyi.load(models["language model"], engine="native"), str(text))
