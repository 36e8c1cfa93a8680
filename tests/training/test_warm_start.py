"""A run that begins with another model: its weights, its vocabulary, its settings where none are given."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import zhuyi as run
from runs import copying, said, stopped, weights, with_training, write_lines

import zhuyi
from zhuyi.checkpoint import build_model, load_model
from zhuyi.config import Config, build_config, load_config
from zhuyi.directory import load_config_of
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.loading import build_translator
from zhuyi.training.recipe import train
from zhuyi.training.warm_start import MAY_DIFFER, WarmStart, load_what_fits, warm_start
from zhuyi.translator import Translator

LINES = ["abc", "fed", "a", "bbbb", ""]
FORMAT_1 = Path(__file__).parents[1] / "fixtures/format-1/shared/model"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with other settings than the defaults, that has learnt a little."""
    folder = tmp_path_factory.mktemp("first")
    settings = {"positions": "learned", "mixer": "attention", "key_value_heads": 1}
    train(copying(folder, model=settings, data={"source_language": "en"}), folder / "model")
    return folder / "model"


def begun(config: Config, directory: Path) -> tuple[WarmStart, Translator, list[str]]:
    """The model with which a run begins, before its first update; and what of it is not from `directory`."""
    warm = warm_start(config, directory)
    torch.manual_seed(7)
    fresh = build_model(warm.config, warm.tokenizers)
    anew = load_what_fits(fresh.transformer, warm.weights)
    fresh.transformer.eval()
    return warm, build_translator(fresh, "cpu"), anew


def more(folder: Path, first: Path, **sections: Any) -> Config:
    """A run on other lines that begins with `first`, and says nothing of how that is built."""
    folder.mkdir(exist_ok=True)
    lines = write_lines(folder / "more.txt", 40, 5, letters="abcxyz")
    training = {"steps": 6, "save_every": 2, "tokens_per_batch": 150, "threads": 1, "device": "cpu", "metric": "exact"}
    tree = {"data": {"source": lines, "target": lines}, "training": {**training, "start_from": str(first)}}
    return build_config({**tree, **{name: {**tree.get(name, {}), **each} for name, each in sections.items()}})


@pytest.mark.parametrize("settings", [{}, {"model": {"dropout": 0.4, "attention_dropout": 0.2}}])
def test_a_run_begins_where_the_model_ended(model: Path, settings: dict[str, Any]) -> None:
    before = zhuyi.load(model, engine="torch", device="cpu")
    warm, translator, anew = begun(build_config(settings), model)
    assert anew == []
    assert translator.loss(LINES[:4], LINES[:4][::-1]) == before.loss(LINES[:4], LINES[:4][::-1])
    assert translator.with_decoding(before.config.decoding).translate(LINES) == before.translate(LINES)
    assert warm.config.model == before.config.model.model_copy(update=settings.get("model", {}))
    assert warm.config.text == before.config.text
    assert warm.config.data.source_language == "en"


def test_a_model_of_an_older_format_will_do() -> None:
    before = zhuyi.load(FORMAT_1, engine="torch", device="cpu")
    _, translator, anew = begun(Config(), FORMAT_1)
    assert anew == []
    assert translator.loss(["a dog"], ["ein Hund"]) == before.loss(["a dog"], ["ein Hund"])


def test_what_was_tied_may_be_untied(model: Path) -> None:
    """Each matrix is a copy of what it was a part of: the same function, and free to change."""
    before = zhuyi.load(model, engine="torch", device="cpu")
    _, translator, anew = begun(build_config({"model": {"tie": "none"}}), model)
    assert anew == []
    transformer = translator.engine.transformer
    assert transformer.projection.weight is not transformer.decoder.embedding.weight
    assert translator.loss(["abc"], ["cba"]) == before.loss(["abc"], ["cba"])


@pytest.mark.slow
def test_what_does_not_fit_is_made_anew_and_named(model: Path, tmp_path: Path) -> None:
    _, translator, anew = begun(build_config({"model": {"max_length": 40}}), model)
    assert anew == ["encoder.positions.table", "decoder.positions.table"]
    assert translator.translate(["a" * 35])
    config = more(tmp_path / "untied", model, model={"tie": "none"})
    train(config, tmp_path / "separate")
    _, _, anew = begun(build_config({"model": {"tie": "all"}}), tmp_path / "separate")
    assert "projection.weight" in anew
    assert "encoder.embedding.weight" not in anew


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"model": {"width": 32}}, "model.width = 32, but {} has 16"),
        ({"model": {"positions": "rotary"}}, "model.positions = 'rotary', but {} has 'learned'"),
        ({"text": {"kind": "bpe"}}, "text.kind = 'bpe', but {} has 'character'"),
        ({"text": {"shared": False}}, "text.shared = False, but {} has True"),
        ({"preset": "paper"}, "model.width = 512, but {} has 16"),
    ],
)
def test_a_setting_that_contradicts_the_model_is_named(model: Path, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        warm_start(build_config(settings), model)
    assert named.format(model) in str(caught.value)


def test_settings_that_say_what_the_model_is_are_no_contradiction(model: Path) -> None:
    then = load_model(model).config
    settings = {"text": {"kind": "character"}, "model": {"width": 16, "heads": 2, "positions": "learned"}}
    assert warm_start(build_config(settings), model).config.model == then.model
    everything = Config.model_validate({"model": then.model.model_dump(), "text": then.text.model_dump()})
    assert warm_start(everything, model).config.model == then.model


def test_what_may_differ_is_a_setting() -> None:
    keys = {f"{name}.{key}" for name in ("model", "text") for key in getattr(Config(), name).model_dump()}
    assert keys >= MAY_DIFFER


@pytest.mark.slow
def test_a_run_learns_from_there_and_goes_on_without_the_model(model: Path, tmp_path: Path) -> None:
    """What it says of the vocabulary is the model's, though its own lines have other letters."""
    there = Path(shutil.copytree(model, tmp_path / "there"))
    config = more(tmp_path, there)
    result, printed = said(config, tmp_path / "whole")
    assert f"Beginning with the weights of {there}." in printed
    after, before = load_model(tmp_path / "whole"), load_model(model)
    assert after.tokenizers.files() == before.tokenizers.files()
    assert (after.config.model, after.config.training.start_from) == (before.config.model, str(there))
    assert "of a run that began with those of `there`" in (tmp_path / "whole/README.md").read_text(encoding="utf-8")

    out = stopped(tmp_path / "whole", 2, tmp_path / "out")
    shutil.rmtree(there)
    with pytest.raises(ConfigError, match=r"model\.width = 32, but the run to be resumed has 16"):
        train(more(tmp_path, there, model={"width": 32}), out, resume=True)
    with pytest.raises(ConfigError, match=r"training\.start_from = '.*elsewhere', but the run to be resumed has"):
        train(more(tmp_path, tmp_path / "elsewhere"), out, resume=True)
    again, printed = said(with_training(config, start_from=None), out, resume=True)
    assert "Going on from step 2" in printed
    assert "Beginning" not in printed
    assert again.steps == result.steps
    assert weights(out) == weights(tmp_path / "whole")
    assert load_config_of(out).training.start_from == str(there)


def test_on_the_command_line(model: Path, tmp_path: Path) -> None:
    lines, out = write_lines(tmp_path / "lines", 30, 5), tmp_path / "out"
    options = ["--source", lines, "--target", lines, "--set", "training.steps=2", "--out", out]
    outcome = run("train", *options, "--from", model)
    assert outcome.code == 0, outcome.err
    assert "Beginning with the weights of" in outcome.out
    assert load_config_of(out).model.width == 16
    refused = run("train", *options[:-1], tmp_path / "other", "--from", model, "--set", "model.width=32")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "model.width = 32" in refused.err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("harm", ["missing", "damaged", "a file"])
def test_a_model_that_is_none_stops_the_run_before_anything_is_written(model: Path, tmp_path: Path, harm: str) -> None:
    there = tmp_path / "there"
    if harm == "damaged":
        shutil.copytree(model, there)
        (there / "model.safetensors").write_bytes(b"")
    elif harm == "a file":
        there.touch()
    with pytest.raises(CheckpointError, match="there"):
        train(more(tmp_path, there), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_model_is_named_from_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[training]\nstart_from = 'first'\n", encoding="utf-8")
    assert load_config(tmp_path / "run.toml").training.start_from == str(tmp_path / "first")
    override = [f"training.start_from={json.dumps('here')}"]
    assert load_config(tmp_path / "run.toml", override).training.start_from == "here"
