"""CTranslate2 gives zhuyi's answers from zhuyi's weights, for every configuration that it can express."""

import json
import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
import torch
from command_line import TINY, tiny_model
from command_line import zhuyi as run
from contracts.conftest import CONFIGS, of_shapes
from interop.sentencepiece_models import words
from tokenizers import Tokenizer as Engine

import zhuyi
from zhuyi.checkpoint import build_model
from zhuyi.config import Config, DecodingConfig, ModelConfig, build_config
from zhuyi.errors import CheckpointError, ConfigError, DataError, MissingExtra, ZhuyiError
from zhuyi.interop.export import made_lines
from zhuyi.interop.exports.ctranslate2 import EXPRESSIBLE
from zhuyi.interop.tokenizers.sentencepiece import tokenizer
from zhuyi.interop.tokenizers.vocabulary import Vocabulary
from zhuyi.loading import build_translator
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.translator import Translation, Translator

ALPHABET, CAPITALS = "abcdefgh", "ABCDEFGHI"
UNLIMITED = {"length_penalty": 0.0, "max_repetition": 0, "max_ratio": 0.0, "max_extra": 1_000_000}
"""Without what CTranslate2 does not know; only the longest output of the model ends a search."""


def randomised(config: Config, seed: int = 1) -> Translator:
    """A model of random weights whose outputs differ from line to line; its tokens are characters."""
    torch.manual_seed(seed)
    sources, targets = [ALPHABET], [ALPHABET if config.text.shared else CAPITALS]
    model = build_model(config, Tokenizers.train(config.text, sources, targets).with_templates_of(config.text))
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return build_translator(model, "cpu")


def characters(model: ModelConfig | dict[str, Any], shared: bool = True) -> Config:
    config = build_config({"text": {"kind": "character", "shared": shared}})
    if isinstance(model, dict):
        model = ModelConfig(**{**TINY["model"], **model})
    return config.model_copy(update={"model": model})


def lines(count: int, longest: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices(ALPHABET, k=rng.randint(1, longest))) for _ in range(count)]


def theirs(directory: Path, sources: Sequence[str], **options: Any) -> list[tuple[str, float]]:
    """The output and the score of each line in CTranslate2; tokens are characters."""
    translator = ctranslate2.Translator(str(directory), intra_threads=1)
    options = {"length_penalty": 0, "min_decoding_length": 0, "max_input_length": 0, "return_scores": True, **options}
    results = translator.translate_batch([list(source) for source in sources], **options)
    return [("".join(result.hypotheses[0]), result.scores[0]) for result in results]


def assert_alike(translator: Translator, directory: Path, sources: Sequence[str], beam: int, limit: int) -> None:
    decoding = DecodingConfig(beam=beam, **{**UNLIMITED, "max_extra": limit})
    ours = [best[0] for best in translator.hypotheses(sources, decoding)]
    found = theirs(directory, sources, beam_size=beam, max_decoding_length=limit)
    assert [text for text, _ in found] == [each.text for each in ours]
    assert [score for _, score in found] == pytest.approx([each.score for each in ours], abs=1e-4)


# What is computed


@of_shapes("encoder-decoder")
def test_every_configuration_gives_the_same_or_is_refused_by_its_key(config: ModelConfig, tmp_path: Path) -> None:
    translator, out = randomised(characters(config, shared=config.tie == "all")), tmp_path / "out"
    unknown = [key for key, known in EXPRESSIBLE.items() if getattr(config, key) not in known]
    if unknown:
        with pytest.raises(ConfigError, match=f'^model.{unknown[0]} = "') as refused:
            zhuyi.export_model(translator, out)
        assert "\n" not in str(refused.value)
        assert list(tmp_path.iterdir()) == []
    else:
        exported = zhuyi.export_model(translator, out)
        assert (exported.lines, exported.same) == (20, 20)
        assert exported.difference < 1e-4
        assert_alike(translator, out, lines(8, config.max_length - 1), beam=1, limit=config.max_length)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("preset", ["modern", "paper"])
def test_beams_agree_at_length_penalty_0(preset: str, shared: bool, tmp_path: Path) -> None:
    """Where the length limit did not come first; `zhuyi` ranks what it cut off with the others."""
    translator = randomised(characters(CONFIGS[preset], shared))
    zhuyi.export_model(translator, tmp_path / "out")
    finished = [source for source, best in beams(translator, lines(100, 10)) if best.finished]
    assert len(finished) > 4, "the model must be one that ends its outputs"
    assert_alike(translator, tmp_path / "out", finished, beam=4, limit=CONFIGS[preset].max_length)


@pytest.mark.slow
def test_where_beams_differ_zhuyi_kept_the_better_one(tmp_path: Path) -> None:
    """A beam of CTranslate2 may lose the prefix of greedy search; on a model as flat as this one it happens."""
    config = CONFIGS["modern"]
    translator = randomised(characters(config), seed=2)
    zhuyi.export_model(translator, tmp_path / "out")
    found = [(source, best) for source, best in beams(translator, lines(100, 10)) if best.finished]
    others = theirs(
        tmp_path / "out", [source for source, _ in found], beam_size=4, max_decoding_length=config.max_length
    )
    differing = [
        (best.score, score) for (_, best), (text, score) in zip(found, others, strict=True) if best.text != text
    ]
    assert len(differing) < 0.1 * len(found)
    assert all(ours > score for ours, score in differing)


def beams(translator: Translator, sources: Sequence[str]) -> list[tuple[str, Translation]]:
    answers = translator.hypotheses(sources, DecodingConfig(beam=4, **UNLIMITED))
    return [(source, best[0]) for source, best in zip(sources, answers, strict=True)]


@pytest.mark.parametrize("positions", EXPRESSIBLE["positions"])
def test_limits(positions: str, tmp_path: Path) -> None:
    """An output may have as many tokens as in zhuyi, and a source as many."""
    translator = randomised(characters({"positions": positions, "max_length": 12}))
    zhuyi.export_model(translator, tmp_path / "out")
    sources = [*ALPHABET[:3], "abcdefghabc"]
    for limit in (1, 2, 11, 12):
        assert_alike(translator, tmp_path / "out", sources, beam=1, limit=limit)


def test_a_blank_line_stays_blank(tmp_path: Path) -> None:
    translator = randomised(characters({}))
    assert zhuyi.export_model(translator, tmp_path / "out", lines=["a", "", "\t"]).lines == 1
    assert theirs(tmp_path / "out", ["", "a"])[0] == ("", 0.0)
    with pytest.raises(DataError, match="all are blank"):
        zhuyi.export_model(translator, tmp_path / "out", lines=["", " "])


def test_pad_and_bos_are_never_written(tmp_path: Path) -> None:
    translator = randomised(characters({"tie": "none"}))
    with torch.no_grad():
        weight = translator.engine.transformer.projection.weight
        weight[[0, 2]] = 10 * weight[[0, 2]].abs()
    zhuyi.export_model(translator, tmp_path / "out")
    for text, _ in theirs(tmp_path / "out", lines(8, 8)):
        assert not re.search("<pad>|<s>", text)


def test_int8_is_smaller_and_changes_nothing_of_the_model_itself(tmp_path: Path) -> None:
    translator = randomised(characters({"width": 64, "feed_forward": 64}))
    before = translator.translate(lines(8, 8))
    large = zhuyi.export_model(translator, tmp_path / "float32")
    small = zhuyi.export_model(translator, tmp_path / "int8", precision="int8")
    sizes = [(each.directory / "model.bin").stat().st_size for each in (small, large)]
    assert sizes[0] < 0.35 * sizes[1]
    # How much more is the processor's: without VNNI, CTranslate2's sums of two products stop at 16 bits.
    assert large.difference < 1e-4 < small.difference
    assert translator.translate(lines(8, 8)) == before


@pytest.mark.parametrize("precision", ["int16", "float16"])
def test_half_the_bits_are_about_half_the_size(precision: str, tmp_path: Path) -> None:
    translator = randomised(characters({"width": 64, "feed_forward": 64}))
    large = zhuyi.export_model(translator, tmp_path / "float32")
    small = zhuyi.export_model(translator, tmp_path / precision, precision=precision)
    sizes = [(each.directory / "model.bin").stat().st_size for each in (small, large)]
    assert 0.4 * sizes[1] < sizes[0] < 0.6 * sizes[1]


def test_a_program_that_computes_something_else_is_noticed(tmp_path: Path) -> None:
    """Here: norms of which one has another ε than the others, which no configuration can say."""
    translator = randomised(characters({"norm_kind": "rms"}))
    translator.engine.transformer.decoder.norm.epsilon = 1.0
    with pytest.raises(ZhuyiError, match="computes other log-probabilities") as failed:
        zhuyi.export_model(translator, tmp_path / "out")
    assert "\n" not in str(failed.value)
    assert list(tmp_path.iterdir()) == []


# What is written


@pytest.fixture(params=[True, False], ids=["shared", "separate"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tiny_model(
        tmp_path / "model",
        lambda config: config.model_copy(
            update={
                "text": config.text.model_copy(update={"shared": request.param}),
                "decoding": DecodingConfig(beam=1),
            }
        ),
    )


def test_the_command(model: Path, tmp_path: Path) -> None:
    out, source = tmp_path / "deep" / "out", tmp_path / "source"
    source.write_text("a dog\n\ntwo cats\n", encoding="utf-8")
    done = run("export", model, "--to", "ctranslate2", "--out", out)
    assert (done.code, done.err) == (0, "")
    assert f"{out}: 20 of 20 the same" in done.out
    assert "README.md" in done.out
    assert "2 of 2 the same" in run("export", model, "--to", "ctranslate2", "--out", out, "--source", source).out
    vocabularies = {"shared_vocabulary.json"}
    tokenizers = {path.name for path in model.glob("tokenizer*.json")}
    if len(tokenizers) == 2:
        vocabularies = {"source_vocabulary.json", "target_vocabulary.json"}
    names = {path.name for path in out.iterdir()}
    assert names == {"model.bin", "config.json", "README.md", *vocabularies, *tokenizers}
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert all((out / name).read_bytes() == (model / name).read_bytes() for name in tokenizers)
    assert json.loads((out / "config.json").read_text())["zhuyi"] == zhuyi.__version__


def test_its_readme_is_a_program_that_translates(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    zhuyi.export_model(model, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    (code,) = re.findall(r"^```python\n(.*?)^```$", Path("README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert not re.search("zhuyi|torch", code)
    names: dict[str, Any] = {}
    exec(code, names)
    assert capsys.readouterr().out
    translator = zhuyi.load(model, device="cpu")
    texts = ["a dog runs", "", "two <s> cats", "👩‍👩‍👧", "dogs " * 40]
    wanted = translator.hypotheses(texts, translator.decoding(beam=1, **UNLIMITED))
    assert names["translate"](texts) == [best[0].text for best in wanted]


def test_tokens_that_are_looked_up_are_so_by_the_readme_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The source's engine has not all tokens, the target's has others, and the embeddings are shared."""
    listed = ["</s>", "<unk>", "▁a", "b", "c", "▁b", "é", "<pad>"]
    vocabulary = Vocabulary.of("vocab.json", listed, unk=1, eos=0, pad=7)
    tokenizers = Tokenizers(
        tokenizer(words("▁a", "▁", "c", "x"), vocabulary), tokenizer(words("▁b", "▁", "c"), vocabulary)
    )
    torch.manual_seed(2)
    model = build_model(characters({}), tokenizers)
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    translator = build_translator(model, "cpu")
    zhuyi.export_model(translator, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    (code,) = re.findall(r"^```python\n(.*?)^```$", Path("README.md").read_text(encoding="utf-8"), re.M | re.S)
    names: dict[str, Any] = {}
    exec(code, names)
    assert capsys.readouterr().out
    texts = ["ab", "a c x", "é bb", "aéa ca", "q"]
    wanted = translator.hypotheses(texts, translator.decoding(beam=1, **UNLIMITED))
    assert names["translate"](texts) == [best[0].text for best in wanted]


@pytest.mark.parametrize("min_length", [0, 9])
@pytest.mark.parametrize("shared", [True, False])
def test_what_stands_before_every_line(
    shared: bool, min_length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = {"tags": [">>fra<<", ">>deu<<", "<de>"], "source_prefix": [">>fra<<"]}
    text |= {"target_prefix": ["<de>", "▁"], "kind": "bpe", "shared": shared, "vocabulary": 300}
    config = build_config({**TINY, "text": text, "decoding": {"min_length": min_length}})
    translator = randomised(config)
    assert zhuyi.export_model(translator, tmp_path / "out").same == 20
    monkeypatch.chdir(tmp_path / "out")
    readme = Path("README.md").read_text(encoding="utf-8")
    assert "Tags: `>>fra<<`, `>>deu<<`, `<de>`." in readme
    (code,) = re.findall(r"^```python\n(.*?)^```$", readme, re.M | re.S)
    names: dict[str, Any] = {}
    exec(code, names)
    capsys.readouterr()
    texts = ["abc", "", "hgfedcba " * 9]
    decoding = translator.decoding(beam=1, **UNLIMITED)
    assert names["translate"](texts) == [best[0].text for best in translator.hypotheses(texts, decoding)]
    names["source_prefix"][:] = [">>deu<<"]
    german = translator.with_languages("deu").hypotheses(texts, decoding)
    assert names["translate"](texts) == [best[0].text for best in german]


def test_the_lines_that_are_made_are_the_same_each_time(model: Path) -> None:
    source = zhuyi.load(model, device="cpu").tokenizers.source
    assert made_lines(source) == made_lines(source)
    assert len(set(made_lines(source))) > 5


@pytest.mark.parametrize(("kind", "size"), [("character", 4), ("bpe", 261)])
def test_lines_can_be_made_of_an_empty_vocabulary(kind: str, size: int) -> None:
    smallest = Tokenizers.train(build_config({"text": {"kind": kind}}).text, [], []).source
    assert len(smallest) == size
    assert all(smallest.encode(made_lines(smallest)))


def test_vocabularies_are_those_of_the_tokenizers(model: Path, tmp_path: Path) -> None:
    zhuyi.export_model(model, tmp_path / "out")
    shared = (model / "tokenizer.json").exists()
    for side in ("source", "target"):
        engine = Engine.from_file(str(tmp_path / "out" / ("tokenizer.json" if shared else f"tokenizer.{side}.json")))
        file = tmp_path / "out" / f"{'shared' if shared else side}_vocabulary.json"
        vocabulary = json.loads(file.read_text(encoding="utf-8"))
        assert vocabulary == [engine.id_to_token(i) for i in range(engine.get_vocab_size())]


def test_a_directory_is_whole_or_not_there(tmp_path: Path) -> None:
    model, out = tiny_model(tmp_path / "model"), tmp_path / "out"
    (model / "LICENSE").write_text("MIT")
    for occupied in (model, tmp_path):
        with pytest.raises(CheckpointError, match="holds other files"):
            zhuyi.export_model(model, occupied)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="a file, not a directory"):
        zhuyi.export_model(model, tmp_path / "file")
    out.mkdir()
    zhuyi.export_model(model, out)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert first["LICENSE"] == b"MIT"
    alibi = tiny_model(
        tmp_path / "alibi",
        lambda config: config.model_copy(update={"model": config.model.model_copy(update={"positions": "alibi"})}),
    )
    done = run("export", alibi, "--to", "ctranslate2", "--out", out)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert 'model.positions = "alibi"' in done.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    zhuyi.export_model(model, out, precision="int8")
    assert (out / "model.bin").read_bytes() != first["model.bin"]
    (out / "notes").touch()
    with pytest.raises(CheckpointError, match="holds other files"):
        zhuyi.export_model(model, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alibi", "file", "model", "out"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "pickle"], "'pickle' is not one of ctranslate2"),
        (["--to", "ctranslate2", "--precision", "int4"], "'int4' is not one of float32, int8"),
        (["--to", "ctranslate2", "--source", "none"], "none"),
    ],
)
def test_wrong_options(options: list[str], says: str, tmp_path: Path) -> None:
    done = run("export", tiny_model(tmp_path / "model"), "--out", tmp_path / "out", *options)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert says in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_no_such_model(tmp_path: Path) -> None:
    done = run("export", tmp_path / "none", "--to", "ctranslate2", "--out", tmp_path / "out")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no such model directory" in done.err


def test_an_engine_without_weights_that_can_be_read(tmp_path: Path) -> None:
    translator = zhuyi.load(tiny_model(tmp_path / "model"), device="cpu")
    other = Translator(translator.config, translator.tokenizers, object(), "")
    with pytest.raises(ConfigError, match="load one model with engine='torch'"):
        zhuyi.export_model(other, tmp_path / "out")


def test_ctranslate2_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'zhuyi\[ctranslate2\]'"):
        zhuyi.export_model(tiny_model(tmp_path / "model"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
