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


def test_running_text_keeps_its_white_space_unless_it_is_told_not_to(tmp_path: Path) -> None:
    running = ["data.text=/a", "model.shape=decoder"]
    kept = build_config({}, running)
    assert kept.text.whitespace == "keep"
    assert load_config(written(tmp_path, to_toml(kept))) == kept
    assert build_config({}, [*running, "text.whitespace=collapse"]).text.whitespace == "collapse"
    assert build_config({}, ["data.source=/a", "data.target=/b"]).text.whitespace == "collapse"


def test_a_run_always_has_a_budget_and_a_new_one_replaces_the_presets() -> None:
    assert build_config({}).training.minutes == 30
    assert build_config({}, ["training.epochs=2"]).training.minutes is None
    assert build_config({}, preset="paper").training.steps == 100_000
    timed = build_config({}, ["training.minutes=5"], preset="paper").training
    assert (timed.minutes, timed.steps) == (5, None)


def test_an_override_of_a_budget_replaces_those_of_the_file() -> None:
    file = {"training": {"minutes": 5, "epochs": 2}}
    counted = build_config(file, ["training.steps=9"]).training
    assert (counted.steps, counted.minutes, counted.epochs) == (9, None, None)
    both = build_config(file, ["training.steps=9", "training.minutes=1"]).training
    assert (both.steps, both.minutes, both.epochs) == (9, 1, None)
    assert build_config(file, ["training.seed=2"]).training.minutes == 5


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


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["text.kind=character", "model.mixer=recurrence", "model.heads=2"],
        ["text.source_kind=character", "text.shared=false", "training.minutes=30"],
        ["text.shared=false", "model.key_value_heads=1", "model.decoder_mixer=convolution", "training.epochs=2"],
    ],
)
def test_what_follows_from_other_keys_is_written_as_a_comment(
    preset: str, overrides: list[str], tmp_path: Path
) -> None:
    config = build_config({}, overrides, preset)
    path = written(tmp_path, to_toml(config))
    assert load_config(path) == config
    later = load_config(path, ["text.kind=unigram", "model.mixer=attention", "model.heads=4"])
    afresh = build_config({}, [*overrides, "text.kind=unigram", "model.mixer=attention", "model.heads=4"], preset)
    assert later == afresh


def test_every_key_says_what_it_means() -> None:
    for section, key, _, meaning in describe(build_config({})):
        assert len(meaning) > 10, f"{section}.{key}"


@pytest.mark.parametrize(
    ("override", "printed"),
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
        ('data.mix=[{source="x"}]', "data.mix.0.target is missing"),
        ("decoding.n_best=9", "decoding.n_best = 9 is more than decoding.beam = 5"),
        ("preset=huge", "preset = 'huge' is not one of modern, paper, tiny"),
        ("foo.bar=1", "unknown key foo.bar; the sections are data, text, model, training, decoding"),
        ("preset.x=1", "unknown key preset.x"),
        ("preset=[]", "preset should be a valid string, not []"),
        ("text.lowercase='True'", "text.lowercase should be true or false, not 'True'"),
        ("training.seed=9223372036854775808", "training.seed should be less than"),
        ("training.threads=100000", "training.threads should be less than"),
        ("model=3", "write it as section.key=value"),
        ("training.steps", "write it as section.key=value"),
    ],
)
def test_a_mistake_is_reported_by_its_key(override: str, printed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({}, [override])
    assert printed in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "printed"),
    [
        (["text.shared=true", "text.source_kind=character"], "text.shared = true needs"),
        (["text.kind=character", "text.bpe_dropout=0.1"], 'needs text.kind = "bpe"'),
        (["model.width=12", "model.heads=4"], r"needs an even model.head_width .*, not 3"),
        (["model.mixer=convolution", "model.kernel=4"], "must be odd"),
        (["data.text=a"], 'data.text is running text: set model.shape = "decoder"'),
        (["data.text=a", "model.shape=encoder"], 'training.objective = "masked"'),
        (["data.text=a", "data.source=b", "data.target=c"], "data.text and data.source are both set"),
        (["data.text=a", "data.test_source=b", "data.test_target=c"], "data.text and data.test_source are both set"),
        (["data.dev_text=a"], "data.dev_text needs data.text"),
        (["data.text=''", "model.shape=decoder"], "data.text is empty: name a file"),
        (["data.text=a", "model.shape=decoder", "text.kind=whitespace"], 'set text.whitespace = "collapse"'),
    ],
)
def test_a_combination_that_cannot_be(overrides: list[str], printed: str) -> None:
    with pytest.raises(ConfigError, match=printed):
        build_config({}, overrides)


def test_the_command_line_is_blamed_for_what_it_says_and_the_file_for_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path, "[model]\nheads = 3\n[decoding]\nbeam = 0\n")
    for overrides, begin in (
        (["model.width=x"], "--set model.width=x: model.width should be"),
        (["model.width=100"], "--set model.width=100: model.width = 100 is not"),
        (["model.kernel=5", "model.width=30"], f"{path}: decoding.beam should be"),
        (["modle.width=5"], "--set modle.width=5: unknown key"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_config(path, overrides)
        assert str(caught.value).startswith(begin)
    with pytest.raises(ConfigError, match="--preset huge: preset = 'huge' is not"):
        load_config(written(tmp_path, ""), preset="huge")


def test_a_home_that_nobody_has_is_a_name_like_any_other(tmp_path: Path) -> None:
    path = written(tmp_path, '[data]\nsource = "~nosuchuser/a"\ntarget = "b"\n')
    assert load_config(path).data.source == str(tmp_path / "~nosuchuser/a")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml: not valid TOML"):
        load_config(written(tmp_path, "[model\n"))
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read"):
        load_config(tmp_path / "none.toml")


def test_a_changed_section_is_validated_again() -> None:
    assert changed(DecodingConfig(), {"beam": 2}).beam == 2
    with pytest.raises(ConfigError, match=r"n_best = 3 is more than decoding\.beam = 2"):
        changed(DecodingConfig(), {"beam": 2, "n_best": 3})
