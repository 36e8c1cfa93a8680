"""onnxruntime gives zhuyi's answers from zhuyi's weights, for every configuration of attention."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from command_line import tiny_model
from command_line import zhuyi as run
from contracts.conftest import of_shapes
from interop.test_ctranslate2 import UNLIMITED, characters, lines, randomised

import zhuyi
from zhuyi.config import ModelConfig, build_config
from zhuyi.errors import ConfigError
from zhuyi.interop.exports import onnx as to_onnx
from zhuyi.interop.exports import onnx_graph
from zhuyi.text.special import BOS, PAD
from zhuyi.translator import Translator

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx"


def answers(translator: Translator, sources: list[str]) -> list[str]:
    return [best[0].text for best in translator.hypotheses(sources, translator.decoding(beam=1, **UNLIMITED))]


@of_shapes("encoder-decoder")
def test_every_configuration_gives_the_same_or_is_refused_by_its_key(config: ModelConfig, tmp_path: Path) -> None:
    translator, out = randomised(characters(config, shared=config.tie == "all")), tmp_path / "out"
    mixers = [key for key in ("encoder_mixer", "decoder_mixer") if getattr(config, key) != "attention"]
    if mixers:
        with pytest.raises(ConfigError, match=f'^model.{mixers[0]} = "') as refused:
            zhuyi.export_model(translator, out, "onnx")
        assert "\n" not in str(refused.value)
        assert list(tmp_path.iterdir()) == []
    else:
        exported = zhuyi.export_model(translator, out, "onnx", lines=lines(20, config.max_length - 1))
        assert (exported.lines, exported.same) == (20, 20)
        assert exported.difference < 1e-4


@pytest.fixture(params=["shared", "separate", "templated"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model of subwords."""
    text = {"kind": "bpe", "vocabulary": 300, "shared": request.param == "shared"}
    if request.param == "templated":
        text |= {"tags": [">>fra<<", ">>deu<<", "<de>"], "source_prefix": [">>fra<<"], "target_prefix": ["<de>"]}
    sizes = {"width": 16, "heads": 2, "feed_forward": 24, "encoder_layers": 1, "decoder_layers": 1, "max_length": 24}
    translator = randomised(build_config({"text": text, "model": sizes}))
    zhuyi.save(translator, tmp_path / "model")
    return tmp_path / "model"


SOURCES = ["abc", "", "two <s> cats </s>", "h\u00e9 👩‍👧", "abcdefgh " * 40]


def test_its_readme_is_a_program_that_translates(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    zhuyi.export_model(model, tmp_path / "out", "onnx")
    monkeypatch.chdir(tmp_path / "out")
    (code,) = re.findall(r"^```python\n(.*?)^```$", Path("README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert not re.search("zhuyi|torch", code)
    names: dict[str, Any] = {}
    exec(code, names)
    assert capsys.readouterr().out
    assert [names["translate"](line) for line in SOURCES] == answers(zhuyi.load(model, device="cpu"), SOURCES)


@pytest.mark.slow
def test_the_example_in_javascript(tmp_path: Path) -> None:
    if not (node := shutil.which("node")) or not (EXAMPLE / "node_modules").exists():
        pytest.skip("needs node, and npm ci in examples/onnx")
    text = {"source_kind": "bpe", "target_kind": "whitespace", "vocabulary": 300}
    text |= {"tags": [">>fra<<", "<de>"], "source_prefix": [">>fra<<"], "target_prefix": ["<de>"]}
    translator = randomised(build_config({"text": text, "model": {"width": 16, "heads": 2, "max_length": 24}}))
    zhuyi.export_model(translator, tmp_path / "out", "onnx")
    sources = [*lines(5, 9), "", "two <s> cats", "h\u00e9 👩‍👧", "abcdefgh " * 40]
    done = subprocess.run(
        [node, "translate.mjs", tmp_path / "out"],
        **{"cwd": EXAMPLE, "input": "".join(f"{line}\n" for line in sources)},
        **{"capture_output": True, "encoding": "utf-8", "timeout": 100},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.removesuffix("\n").split("\n") == answers(translator, sources)


def test_the_graphs_have_the_names_and_shapes_that_are_documented(model: Path, tmp_path: Path) -> None:
    zhuyi.export_model(model, tmp_path / "out", "onnx")
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for name in ("encoder", "decoder"):
        graph = onnx.load(tmp_path / "out" / f"{name}.onnx").graph
        for values, table in ((graph.input, onnx_graph.INPUTS), (graph.output, onnx_graph.OUTPUTS)):
            found = {each.name: [d.dim_param for d in each.type.tensor_type.shape.dim] for each in values}
            assert found == {key: list(dimensions) for key, (_, dimensions) in table[name].items()}
            assert all(f"`{key}`" in readme for key in found)


def test_pad_and_bos_have_no_probability(model: Path, tmp_path: Path) -> None:
    zhuyi.export_model(model, tmp_path / "out", "onnx")
    encoder, decoder = (
        onnxruntime.InferenceSession(tmp_path / "out" / name, providers=["CPUExecutionProvider"])
        for name in to_onnx.GRAPHS
    )
    mask = np.ones((1, 2), bool)
    keys, values = encoder.run(None, {"source": np.array([[9, 3]]), "source_mask": mask})
    past = {"past_keys": keys[:, :, :, :0], "past_values": values[:, :, :, :0]}
    memory = {"memory_keys": keys, "memory_values": values, "source_mask": mask}
    (log_probs, *_) = decoder.run(None, {"tokens": np.array([BOS]), **past, **memory})
    assert np.isneginf(log_probs[0, [PAD, BOS]]).all()
    assert np.exp(log_probs).sum() == pytest.approx(1, abs=1e-5)


def test_int8_is_smaller(tmp_path: Path) -> None:
    translator = randomised(characters({"width": 64, "feed_forward": 128}))
    large = zhuyi.export_model(translator, tmp_path / "float32", "onnx")
    small = zhuyi.export_model(translator, tmp_path / "int8", "onnx", precision="int8")
    sizes = [sum((each.directory / name).stat().st_size for name in to_onnx.GRAPHS) for each in (small, large)]
    assert sizes[0] < 0.5 * sizes[1]
    assert large.difference < 1e-4 < small.difference


def test_weights_of_a_large_model_are_in_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "LARGEST", 1000)
    translator = randomised(characters({}))
    for _ in range(2):  # the second replaces the first
        assert zhuyi.export_model(translator, tmp_path / "out", "onnx").same == 20
    assert {path.name for path in (tmp_path / "out").iterdir()} == to_onnx.FILES


def test_the_command(tmp_path: Path) -> None:
    done = run(
        "export", tiny_model(tmp_path / "model"), "--to", "onnx", "--out", tmp_path / "out", "--precision", "int8"
    )
    assert (done.code, done.err) == (0, "")
    assert "of 20 the same" in done.out
    wrong = run("export", tmp_path / "model", "--to", "onnx", "--out", tmp_path / "b", "--precision", "float16")
    assert wrong.code == 2
    assert "float32, int8" in wrong.err
