from pathlib import Path

import pytest

from zhuyi.config import PRESETS, Config, DecodingConfig, build_config, changed, describe, load_config, to_toml
from zhuyi.errors import ConfigError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_layer_lies_over_the_one_before(tmp_path: Path) -> None:
    path = written(tmp_path, 'preset = "paper"\n[model]\nwidth = 128\nheads = 2\n[decoding]\nbeam = 7\n')
    config = load_config(path, ["decoding.beam=3"])
    assert config.model.norm == "post"  # the preset's
    assert config.model.width == 128  # the file's
    assert config.decoding.beam == 3  # the command line's
    assert load_config(path, preset="modern").model.norm == "pre"  # the command line's preset wins over the file's


def test_what_is_not_set_is_filled_in() -> None:
    config = build_config({}, ["text.source_kind=character", "model.decoder_mixer=recurrence", "model.heads=8"])
    assert (config.text.source_kind, config.text.target_kind, config.text.shared) == ("character", "bpe", False)
    assert (config.model.encoder_mixer, config.model.decoder_mixer) == ("attention", "recurrence")
    assert config.model.key_value_heads == 8
    assert build_config({}).text.shared


def test_a_run_always_has_a_budget_and_a_new_one_replaces_the_presets() -> None:
    assert build_config({}).training.minutes == 30
    assert build_config({}, ["training.epochs=2"]).training.minutes is None
    assert build_config({}, preset="paper").training.steps == 100_000
    timed = build_config({}, ["training.minutes=5"], preset="paper").training
    assert (timed.minutes, timed.steps) == (5, None)


def test_files_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    text = """[data]
source = "a.tsv#1"
target = "/data/b.txt"
dev_source = "hub:org/name/dev#en"
dev_target = "~/dev.de"
long_lines = "truncate"
"""
    data = load_config(written(tmp_path, text)).data
    assert data.source == str(tmp_path / "a.tsv#1")
    assert data.target == "/data/b.txt"
    assert data.dev_source == "hub:org/name/dev#en"
    assert data.dev_target == str(Path.home() / "dev.de")
    assert data.long_lines == "truncate"


@pytest.mark.parametrize("preset", PRESETS)
def test_what_config_prints_is_a_configuration(preset: str, tmp_path: Path) -> None:
    config = build_config({"data": {"source": "/a", "target": "/b", "long_lines": "error"}}, preset=preset)
    assert load_config(written(tmp_path, to_toml(config))) == config
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_every_key_says_what_it_means() -> None:
    for section, key, _, meaning in describe(build_config({})):
        assert len(meaning) > 10, f"{section}.{key}"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.step=5", "unknown key training.step; did you mean training.steps?"),
        ("width=5", "unknown key width; did you mean model.width?"),
        ("modle.width=5", "unknown key modle.width; did you mean model.width?"),
        ("model.width=wide", "model.width should be a valid integer, not 'wide'"),
        ("model.width=1.5", "model.width should be a valid integer, not 1.5"),
        ("model.dropout=1.0", "model.dropout should be less than 1, not 1.0"),
        ("model.mixer=rnn", "model.mixer should be 'attention', 'convolution' or 'recurrence', not 'rnn'"),
        ("model.heads=3", "model.width = 256 is not a multiple of model.heads = 3"),
        ("model.key_value_heads=3", "model.heads = 4 is not a multiple of model.key_value_heads = 3"),
        ("data.source=x", "data.target is missing: source and target come in pairs"),
        ("decoding.n_best=9", "decoding.n_best = 9 is more than decoding.beam = 5"),
        ("preset=huge", "preset = 'huge' is not one of modern, paper, tiny"),
        ("model=3", "model is a section"),
        ("training.steps", "write it as section.key=value"),
    ],
)
def test_a_mistake_is_told_by_its_key(override: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({}, [override])
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["text.shared=true", "text.source_kind=character"], "text.shared = true needs"),
        (["text.kind=character", "text.bpe_dropout=0.1"], 'needs text.kind = "bpe"'),
        (["model.width=12", "model.heads=4"], "needs an even width per head, not 3"),
        (["model.mixer=convolution", "model.kernel=4"], "must be odd"),
    ],
)
def test_a_combination_that_cannot_be(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_config({}, overrides)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml: not valid TOML"):
        load_config(written(tmp_path, "[model\n"))
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read"):
        load_config(tmp_path / "none.toml")


def test_a_changed_section_is_validated_again() -> None:
    assert changed(DecodingConfig(), {"beam": 2}).beam == 2
    with pytest.raises(ConfigError, match=r"n_best = 3 is more than decoding\.beam = 2"):
        changed(DecodingConfig(), {"beam": 2, "n_best": 3})
