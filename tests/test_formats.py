"""Directories of older formats are read as today's, and of later ones nothing is guessed."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import tiny_model
from command_line import zhuyi as run
from safetensors import safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

import zhuyi
from zhuyi.checkpoint import load_model, save_model
from zhuyi.config import Config, DecodingConfig, build_config, load_config
from zhuyi.directory import load_config_of, read_metrics, save_decoding
from zhuyi.errors import CheckpointError, ConfigError, ZhuyiWarning
from zhuyi.files import MANIFEST, read_directory, write_directory
from zhuyi.training.checkpoints import Checkpoints
from zhuyi.upgrade import FORMAT, UPGRADES, renamed_weights, upgraded

FIXTURES = Path(__file__).parent / "fixtures"
OLD = FIXTURES / "format-1"
NAMES = ("separate", "shared")


def recorded(name: str) -> dict[str, Any]:
    """What the code of format 1 said."""
    content: dict[str, Any] = json.loads((OLD / name / "recorded.json").read_text(encoding="utf-8"))
    return content


def digests(tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    return {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()[:16] for name, tensor in tensors.items()}


def listing(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


# Older ones


def test_every_older_format_has_a_fixture_and_a_way_to_the_next() -> None:
    assert sorted(UPGRADES) == list(range(1, FORMAT))
    assert {path.name for path in FIXTURES.glob("format-*")} == {f"format-{number}" for number in UPGRADES}


def test_the_version_that_wrote_an_older_format_is_not_this_one() -> None:
    """Otherwise a message names one version as what wrote a model and as what cannot read it."""
    writer = json.loads(read_directory(OLD / "shared/model")["config.json"])["zhuyi"]
    assert writer == "0.1.0"
    assert zhuyi.__version__ != writer


@pytest.mark.parametrize(("name", "engine"), [*((name, "torch") for name in NAMES), ("separate", "auto")])
def test_a_model_of_format_1_translates_as_it_did(name: str, engine: str) -> None:
    translator = zhuyi.load(OLD / name / "model", device="cpu", engine=engine)
    lines, texts, scores = zip(*recorded(name)["translations"], strict=True)
    found = [best[0] for best in translator.hypotheses(lines)]
    assert [each.text for each in found] == list(texts)
    assert [each.score for each in found] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_format_1_has_the_configuration_that_it_had(name: str) -> None:
    config = load_config_of(OLD / name / "model")
    asked = load_config(OLD / f"{name}.toml")
    assert (config.model, config.text, config.training) == (asked.model, asked.text, asked.training)
    assert config.data.source == "data/train.en"
    assert config.decoding.beam == 3
    assert config.decoding.max_ratio is not None
    assert (config.decoding.engine, config.decoding.precision, config.decoding.workers) == ("auto", "float32", None)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_format_1_goes_on_to_the_bytes_that_it_went_to(tmp_path: Path, name: str) -> None:
    """Where it is computed by the same torch and processor; elsewhere nearly so."""
    out, right = Path(shutil.copytree(OLD / name / "run", tmp_path / "out")), recorded(name)
    config = load_config(OLD / f"{name}.toml")
    result = zhuyi.train(config, out, resume=True)
    assert result.steps == 8
    state, last = Checkpoints(out, config), out / "checkpoints/step-000008"
    same = json.loads((last / "run_state.json").read_bytes())["fingerprint"] == right["engine"]

    records = read_metrics(out / "metrics.jsonl")
    losses = {str(each["step"]): each["loss"] for each in records if "loss" in each}
    dev = {str(each["step"]): [each["dev_loss"], each["dev_exact"]] for each in records if "dev_loss" in each}
    assert losses == (right["losses"] if same else pytest.approx(right["losses"], rel=1e-3))
    assert {step: loss for step, (loss, _) in dev.items()} == pytest.approx(
        {step: loss for step, (loss, _) in right["dev"].items()}, abs=1e-3
    )
    tensors = load_tensors((last / "model.safetensors").read_bytes())
    tensors |= load_tensors((last / "run_state.safetensors").read_bytes())
    renamed = renamed_weights(right["tensors"])
    mean = state.average([2, 4, 6, 8])
    renamed_mean = renamed_weights(right["average"])
    assert tensors.keys() == renamed.keys()
    assert mean.keys() == renamed_mean.keys()
    if same:
        assert digests(tensors) == renamed
        assert digests(mean) == renamed_mean
    end, before = load_model(out), load_model(OLD / name / "model")
    for (key, one), (_, other) in zip(
        end.transformer.named_parameters(), before.transformer.named_parameters(), strict=True
    ):
        # Softmax takes nothing from a bias of keys, so its gradient is rounding alone.
        if same or not key.endswith("key.bias"):
            torch.testing.assert_close(one, other, rtol=0, atol=0 if same else 1e-3, msg=key)


def test_a_run_of_format_1_is_refused_what_it_was_refused(tmp_path: Path) -> None:
    out = Path(shutil.copytree(OLD / "shared/run", tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"training\.seed = 4, but the run to be resumed has 3"):
        zhuyi.train(load_config(OLD / "shared.toml", ["training.seed=4"]), out, resume=True)


def test_settings_are_kept_in_a_model_of_format_1(tmp_path: Path) -> None:
    """It stays of that format, and whole."""
    model = Path(shutil.copytree(OLD / "separate/model", tmp_path / "model"))
    before = listing(model)
    save_decoding(model, DecodingConfig(beam=2))
    changed = {name for name, content in listing(model).items() if content != before[name]}
    assert changed == {"decoding.json", MANIFEST}
    assert json.loads((model / MANIFEST).read_bytes())["format"] == 1
    assert load_model(model).config.decoding == DecodingConfig(beam=2)
    assert len(run("translate", model, "--scores", stdin=b"a dog\n").lines) == 1


def test_before_decoding_was_a_file_of_its_own_it_stood_in_config_json(tmp_path: Path) -> None:
    model = Path(shutil.copytree(OLD / "shared/model", tmp_path / "model"))
    config = json.loads((model / "config.json").read_bytes())
    config["decoding"] = {"beam": 4, "length_penalty": 0.5, "n_best": 1, "max_ratio": 3.0}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (model / "decoding.json").unlink()
    manifest = json.loads((model / MANIFEST).read_bytes())
    del manifest["files"]["decoding.json"]
    manifest["files"]["config.json"] = hashlib.sha256((model / "config.json").read_bytes()).hexdigest()
    (model / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    assert load_config_of(model).decoding == DecodingConfig(beam=4, length_penalty=0.5, max_ratio=3.0)
    save_decoding(model, DecodingConfig(beam=2))
    assert load_model(model).config.decoding == DecodingConfig(beam=2)


def test_a_model_of_format_1_saved_again_is_one_of_today(tmp_path: Path) -> None:
    model = load_model(OLD / "shared/model")
    save_model(model, tmp_path, card="a card")
    again = load_model(tmp_path)
    assert json.loads((tmp_path / MANIFEST).read_bytes())["format"] == FORMAT
    assert again.config == model.config
    assert digests(dict(again.transformer.state_dict())) == digests(dict(model.transformer.state_dict()))


def test_tensors_get_their_new_names_and_keep_their_bytes(tmp_path: Path) -> None:
    """In a shard too, in which torch notes by name what part of each tensor it has; and all files say what is tied."""
    weights = {"source_embedding.weight": torch.zeros(2).bfloat16(), "target_embedding.weight": torch.zeros(3)}
    moments = {"optimizer.target_embedding.weight.exp_avg": torch.arange(6.0).view(2, 3), "encoder.0.x": torch.ones(())}
    parts = {name: {"saved_offsets": [0] * tensor.dim()} for name, tensor in moments.items()}
    shard = save_tensors(moments, {"DCP_SHARDING_INFO": json.dumps(parts), "format": "pt"})
    found = upgraded({"model.safetensors": save_tensors(weights), "shard.safetensors": shard, "a.txt": b"as it is"}, 1)
    assert found["a.txt"] == b"as it is"
    assert load_tensors(found["model.safetensors"]).keys() == {"encoder.embedding.weight", "decoder.embedding.weight"}
    names = {old: new for new, old in renamed_weights({name: name for name in (*weights, *moments)}).items()}
    (tmp_path / "file").write_bytes(found["shard.safetensors"])
    with safe_open(tmp_path / "file", "pt") as file:
        assert sorted(file.keys()) == ["encoder.blocks.0.x", "optimizer.decoder.embedding.weight.exp_avg"]
        assert json.loads(file.metadata()["DCP_SHARDING_INFO"]) == {names[name]: part for name, part in parts.items()}
        assert file.metadata()["format"] == "pt"
        assert all(file.get_tensor(names[name]).equal(tensor) for name, tensor in moments.items())


# Later ones, and those of another version


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model")


def rewrite(directory: Path, name: str, **changes: Any) -> None:
    """Change a JSON file, as another version would have written it: a key may be `section.key`."""
    files = read_directory(directory)
    content = json.loads(files[name])
    for key, value in changes.items():
        section, _, last = key.rpartition("__")
        (content[section] if section else content)[last] = value
    write_directory(directory, {**files, name: json.dumps(content).encode()})


def test_of_a_later_format_the_version_is_named(model: Path) -> None:
    manifest = json.loads((model / MANIFEST).read_bytes())
    (model / MANIFEST).write_text(json.dumps({**manifest, "format": FORMAT + 1, "zhuyi": "9.8"}), encoding="utf-8")
    outcome = run("translate", model)
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
    assert f"format {FORMAT + 1}, written by zhuyi 9.8" in outcome.err
    assert "install that version, or a newer one" in outcome.err


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model__magic": True}, "model.magic"),
        ({"text__magic": True}, "text.magic"),
        ({"model__mixer": "magic"}, "model.mixer = 'magic'"),
        (
            {"model__heads": 4, "model__key_value_heads": 3},
            "all of [model]: model.heads = 4 is not a multiple of model.key_value_heads = 3",
        ),
        ({"model": 3}, "model = 3"),
        ({"model__shape": "encoder"}, "these settings together: training.metric = "),
    ],
)
def test_another_architecture_is_refused(model: Path, changes: dict[str, Any], named: str) -> None:
    rewrite(model, "config.json", zhuyi="9.8", **changes)
    outcome = run("translate", model)
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
    assert f"{model / 'config.json'}: zhuyi {zhuyi.__version__} cannot use {named}" in outcome.err
    assert "zhuyi 9.8 wrote this model: install that version, or a newer one" in outcome.err


UNKNOWN: list[tuple[str, dict[str, Any], str]] = [
    ("decoding.json", {"magic": 1}, "decoding.magic"),
    ("decoding.json", {"beam": "wide"}, "decoding.beam = 'wide'"),
    ("training.json", {"training__magic": 1}, "training.magic"),
    ("training.json", {"training__optimizer": "magic"}, "training.optimizer = 'magic'"),
    ("training.json", {"training__keep_at": [1, "magic", "more"]}, "training.keep_at"),
    ("training.json", {"data__mix": [{"source": "a", "target": "b", "magic": 1, "more": 2}]}, "data.mix"),
    ("training.json", {"preset": "magic"}, "preset = 'magic'"),
    ("training.json", {"magic": {}}, "magic"),
    ("config.json", {"magic": {}}, "magic"),
    ("config.json", {"languages__pivot": "en"}, "data.pivot_language"),
    ("config.json", {"languages__source": "english"}, "data.source_language = 'english'"),
    (
        "decoding.json",
        {"n_best": 9, "beam": 2},
        "all of [decoding]: decoding.n_best = 9 is more than decoding.beam = 2: set that to 9",
    ),
]


@pytest.mark.parametrize(("file", "changes", "named"), UNKNOWN)
def test_what_inference_can_do_without_is_left_out_and_said(
    model: Path, file: str, changes: dict[str, Any], named: str
) -> None:
    before = load_config_of(model)
    rewrite(model, file, **changes)
    with pytest.warns(ZhuyiWarning) as caught:
        after = load_config_of(model)
    assert len(caught) == 1
    assert f"{model}: zhuyi {zhuyi.__version__} ignores {named}; zhuyi " in str(caught[0].message)
    assert after == before
    outcome = run("translate", model, stdin=b"a dog\n")
    assert outcome.code == 0
    warned = [line for line in outcome.err.splitlines() if "ignores" in line]
    assert len(warned) == 1
    assert warned[0].startswith("zhuyi: warning: ")
    assert named in warned[0]


def test_a_language_that_is_none_takes_nothing_else_with_it(model: Path) -> None:
    rewrite(model, "config.json", languages={"source": "english", "target": "de"})
    with pytest.warns(ZhuyiWarning, match=r"ignores data\.source_language = 'english'"):
        after = load_config_of(model)
    assert after.data == Config().data.model_copy(update={"target_language": "de"})
    rewrite(model, "training.json", data={"long_lines": "cut", "source": "a", "target": "b"})
    with pytest.warns(ZhuyiWarning, match=r"ignores data\.long_lines = 'cut'; data\.source_language"):
        after = load_config_of(model)
    assert (after.data.source, after.data.target_language) == ("a", "de")


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"model": {}}', b'"text"', b"{", b'{"languages": 3}'])
def test_what_is_no_configuration_at_all(model: Path, content: bytes) -> None:
    write_directory(model, {**read_directory(model), "config.json": content})
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        load_model(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"data": 3}', "data is not a JSON object"),
        (b'{"training": [1]}', "training is not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_does_not_say_how_a_model_was_trained(model: Path, content: bytes, what: str) -> None:
    write_directory(model, {**read_directory(model), "training.json": content})
    with pytest.raises(CheckpointError) as caught:
        load_model(model)
    assert str(caught.value) == f"{model / 'training.json'}: {what}"


# What stands where


def test_a_model_that_does_not_say_how_it_was_trained_is_whole(model: Path) -> None:
    before = zhuyi.load(model, device="cpu").translate(["a dog"])
    files = read_directory(model)
    del files["training.json"], files["decoding.json"]
    write_directory(model, files)
    assert zhuyi.load(model, device="cpu").translate(["a dog"]) == before
    assert load_config_of(model).training == Config().training
    assert run("config", model).code == 0


def test_config_json_has_what_inference_needs_and_nothing_else(tmp_path: Path) -> None:
    def with_languages(config: Config) -> Config:
        return build_config(
            {
                **config.model_dump(),
                "data": {"source_language": "en", "target_language": "pt-BR", "source": "a", "target": "b"},
            }
        )

    model = tiny_model(tmp_path / "model", with_languages)
    content = json.loads((model / "config.json").read_bytes())
    assert content.keys() == {"zhuyi", "model", "text", "languages"}
    assert content["zhuyi"] == zhuyi.__version__
    assert content["languages"] == {"source": "en", "target": "pt-BR"}
    run_file = json.loads((model / "training.json").read_bytes())
    assert run_file.keys() == {"preset", "data", "training"}
    assert "source_language" not in run_file["data"]
    config = load_config_of(model)
    assert (config.data.source_language, config.data.target_language, config.data.source) == ("en", "pt-BR", "a")


@pytest.mark.parametrize(
    "tag", ["en", "pt-BR", "zh-Hant-TW", "yue", "es-419", "de-1996", "sl-rozaj-biske", "x-dates", "en-x-ipa"]
)
def test_language_tags(tag: str) -> None:
    assert build_config({"data": {"source_language": tag}}).data.source_language == tag


@pytest.mark.parametrize("tag", ["", "e", "english", "en_US", "pt-", "-pt", "zh-Hant TW", "en\n", "ｅｎ", "x"])
def test_what_is_no_language_tag(tag: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.target_language = .* is not a language tag"):
        build_config({"data": {"target_language": tag}})


@pytest.mark.slow
def test_languages_may_be_given_to_a_run_that_goes_on(tmp_path: Path) -> None:
    """They change no weight; the card and the model have them."""
    out = Path(shutil.copytree(OLD / "shared/run", tmp_path / "out"))
    tags = ["data.source_language=en", "data.target_language=de"]
    zhuyi.train(load_config(OLD / "shared.toml", tags), out, resume=True)
    assert load_config_of(out).data.target_language == "de"
    assert "Languages: en → de." in (out / "README.md").read_text(encoding="utf-8")
