"""transformers gives zhuyi's answers from zhuyi's weights, and what went there comes home to the same."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import zhuyi as run
from contracts.conftest import SMALL, of_shapes
from foreign_models import make_opus_mt
from interop.sentencepiece_models import words
from interop.test_ctranslate2 import UNLIMITED, characters, lines, randomised

import zhuyi
from zhuyi.checkpoint import build_model
from zhuyi.config import DecodingConfig, ModelConfig, build_config
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.interop.exports import transformers as to_transformers
from zhuyi.interop.exports.joint_tokenizer import joint_tokenizer
from zhuyi.interop.importing import import_model
from zhuyi.interop.tokenizers.sentencepiece import tokenizer
from zhuyi.interop.tokenizers.vocabulary import Vocabulary
from zhuyi.loading import build_translator
from zhuyi.text.special import EOS
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.translator import Translator

transformers = pytest.importorskip("transformers")

LAYER = {"norm_kind": "layer", "bias": "all"}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "marian": ("marian", {**LAYER, "norm": "post", "positions": "sinusoidal", "activation": "relu"}),
    "marian, 2 vocabularies": (
        "marian",
        {
            **LAYER,
            "norm": "post",
            "positions": "sinusoidal",
            "activation": "silu",
            "tie": "output",
            "output_bias": True,
        },
    ),
    "pegasus, groups": (
        "pegasus",
        {**LAYER, "positions": "sinusoidal", "activation": "gelu", "bias": "feed_forward", "key_value_heads": 2},
    ),
    "pegasus, nothing tied": (
        "pegasus",
        {**LAYER, "positions": "sinusoidal", "activation": "gelu", "bias": "none", "tie": "none"},
    ),
    "blenderbot": ("blenderbot", {**LAYER, "positions": "learned", "activation": "gelu"}),
    "mbart, not scaled": (
        "mbart",
        {
            **LAYER,
            **{"positions": "tensor2tensor", "activation": "gelu", "embedding_norm": True, "embedding_scale": False},
        },
    ),
    "bart, no positions": (
        "bart",
        {**LAYER, "norm": "post", "positions": "none", "activation": "gelu", "embedding_norm": True},
    ),
    "t5": ("t5", {"positions": "relative"}),
    "t5, no positions": ("t5", {"positions": "none", "activation": "geglu", "head_width": 6, "key_value_heads": 1}),
    "t5, 2 vocabularies": ("t5", {"positions": "relative", "tie": "output", "activation": "relu"}),
    "t5, nothing tied": ("t5", {"positions": "relative", "tie": "none", "encoder_layers": 3, "decoder_layers": 1}),
    "t5, not scaled": ("t5", {"positions": "relative", "embedding_scale": False}),
}


def small(name: str, **decoding: Any) -> Translator:
    """A random model of the class with this name, whose search can be that of transformers."""
    config = ModelConfig(**{**SMALL, **MODELS[name][1]})
    whole = characters(config, shared=config.tie == "all")
    decoding = {**UNLIMITED, "penalty": "power", "stop": "huggingface", "end_at_limit": True, **decoding}
    translator = randomised(whole.model_copy(update={"decoding": DecodingConfig(**decoding)}), seed=5)
    with torch.no_grad():  # outputs do not end at once
        translator.engine.transformer.projection.weight[EOS] *= 0.2
    return translator


class Theirs:
    """A directory as a user of transformers opens it."""

    def __init__(self, directory: Path) -> None:
        self.model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(directory)

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text).input_ids)

    def answers(self, sources: Sequence[str], **options: Any) -> list[str]:
        tokens = self.tokenizer(list(sources), return_tensors="pt", padding=True, truncation=True)
        found = self.model.generate(**tokens, **options)
        return list(self.tokenizer.batch_decode(found, skip_special_tokens=True))


def texts(translator: Translator, sources: Sequence[str], **changes: Any) -> list[str]:
    """Our answers; transformers leaves UNK out of a text, together with the other special tokens."""
    decoding = translator.config.decoding.model_copy(update=changes)
    return [best[0].text.replace("<unk>", "") for best in translator.hypotheses(sources, decoding)]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_goes_there_and_comes_home(name: str, tmp_path: Path) -> None:
    translator, sources = small(name, beam=3, length_penalty=0.6), lines(12, 10)
    exported = zhuyi.export_model(translator, tmp_path / "there", "huggingface")
    assert (exported.lines, exported.same) == (20, 20)
    assert exported.difference < 1e-4
    theirs = Theirs(tmp_path / "there")
    assert theirs.model.config.model_type == MODELS[name][0]
    ours = texts(translator, sources)
    greedy = texts(translator, sources, beam=1)
    assert len({*ours, *greedy}) > 2, "the model must be one whose answers differ"
    assert theirs.answers(sources) == ours
    assert theirs.answers(sources, num_beams=1) == greedy
    import_model(tmp_path / "there", tmp_path / "home")
    home = zhuyi.load(tmp_path / "home", device="cpu", engine="torch")
    assert texts(home, sources) == ours
    assert texts(home, sources, beam=1, stop="bound") == texts(translator, sources, beam=1, stop="bound")
    assert home.tokenizers.shared == translator.tokenizers.shared


def test_a_least_length_goes_there_and_comes_home(tmp_path: Path) -> None:
    translator, sources = small("bart, no positions", beam=1, min_length=9), lines(12, 10)
    with torch.no_grad():  # many outputs would end at once
        translator.engine.transformer.projection.weight[EOS] *= -5
    zhuyi.export_model(translator, tmp_path / "there", "huggingface")
    ours = texts(translator, sources)
    assert texts(translator, sources, min_length=0) != ours
    assert Theirs(tmp_path / "there").answers(sources) == ours
    import_model(tmp_path / "there", tmp_path / "home")
    assert zhuyi.load(tmp_path / "home", device="cpu").config.decoding.min_length == 9


@of_shapes("encoder-decoder")
def test_every_configuration_is_one_of_these_or_refused_by_its_key(config: ModelConfig, tmp_path: Path) -> None:
    translator = randomised(characters(config, shared=config.tie == "all"))
    problem = refusal(translator, tmp_path / "out")
    if problem is not None:
        key = re.match(r"model\.(\w+) = ", problem)
        assert key
        assert json.dumps(getattr(config, key[1])) in problem
        assert "\n" not in problem
        assert list(tmp_path.iterdir()) == []


def refusal(translator: Translator, out: Path) -> str | None:
    """Why there is no class for a model; None if there is one, which gives the same answers."""
    try:
        exported = zhuyi.export_model(translator, out, "huggingface")
    except ConfigError as refused:
        return str(refused)
    assert exported.same == 20
    assert exported.difference < 1e-4
    return None


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", ["bpe", "unigram", "character", "whitespace", "bytes"])
def test_the_tokenizer_has_our_ids_and_our_text(kind: str, shared: bool, tmp_path: Path) -> None:
    sources, targets = ["a dog runs <b> </s>", "two dogs, 12 cats é"] * 3, ["ein Hund läuft", "zwei Hunde, 12 Ä"] * 3
    text = build_config({"text": {"kind": kind, "vocabulary": 290, "shared": shared}}).text
    tokenizers = Tokenizers.train(text, sources, targets)
    made = joint_tokenizer(tokenizers, together=shared)
    (tmp_path / "tokenizer.json").write_text(json.dumps(made.content))
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), split_special_tokens=True, clean_up_tokenization_spaces=False
    )
    tried = [*sources[:2], "<pad> a<unk> </s></s> <s>", "e\u0301 \u4f60\U0001f469", "  a   dog ", "Hund \uffff"]
    for line, ids in zip(tried, tokenizers.source.encode(tried), strict=True):
        assert theirs(line).input_ids == [*(made.first + i for i in ids), made.first + EOS]
    for ids in tokenizers.target.encode(targets[:2]):
        assert theirs.decode(ids, skip_special_tokens=True) == tokenizers.target.decode([ids])[0]


def test_pieces_that_are_looked_up_have_the_row_of_unk_there(tmp_path: Path) -> None:
    """The source's engine has pieces that the model lacks, and the target's joins the tokens."""
    listed = ["</s>", "<unk>", "▁a", "b", "c", "▁b", "é", "<pad>"]
    vocabulary = Vocabulary.of("vocab.json", listed, unk=1, eos=0, pad=7)
    tokenizers = Tokenizers(
        tokenizer(words("▁a", "▁", "c", "x", "ab"), vocabulary), tokenizer(words("▁b", "▁", "c"), vocabulary)
    )
    torch.manual_seed(2)
    model = build_model(characters(ModelConfig(**{**SMALL, **MODELS["marian"][1]})), tokenizers)
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    translator = build_translator(model, "cpu")
    zhuyi.export_model(translator, tmp_path / "out", "huggingface")
    sources = ["ab", "a c x", "abab ca", "x", "</s> c"]
    theirs = Theirs(tmp_path / "out")
    assert theirs.ids("x")[-2] >= len(tokenizers.target)
    assert theirs.answers(sources, num_beams=1) == texts(
        translator, sources, **{**UNLIMITED, "max_extra": 99, "beam": 1}
    )


def test_opus_mt_goes_out_again(tmp_path: Path) -> None:
    """It was imported, its sides are cut by different rules, and a line may begin with its language."""
    import_model(make_opus_mt(tmp_path / "opus"), tmp_path / "model")
    exported = zhuyi.export_model(tmp_path / "model", tmp_path / "there", "huggingface")
    assert exported.same == 20
    theirs, translator = Theirs(tmp_path / "there"), zhuyi.load(tmp_path / "model", device="cpu")
    sources = [">>deu<< a dog runs.", ">>fra<< two cats", "a cat", "a dog </s> sleeps"]
    assert theirs.answers(sources) == texts(translator, sources)
    import_model(tmp_path / "there", tmp_path / "home")
    assert texts(zhuyi.load(tmp_path / "home", device="cpu"), sources) == texts(translator, sources)


@pytest.mark.parametrize("shared", [True, False])
def test_what_stands_before_every_line(shared: bool, tmp_path: Path) -> None:
    text = {"tags": [">>fra<<", "<de>"], "source_prefix": [">>fra<<"], "target_prefix": ["<de>"]}
    text |= {"kind": "bpe", "shared": shared, "vocabulary": 300}
    tie = {} if shared else {"tie": "output"}
    config = build_config({"text": text, "model": {**SMALL, **MODELS["marian"][1], **tie}, "decoding": {"beam": 1}})
    translator = randomised(config)
    assert zhuyi.export_model(translator, tmp_path / "out", "huggingface").same == 20
    sources = ["abc", "hgfe", "a"]
    ours = texts(translator, sources, **{**UNLIMITED, "max_extra": 99})
    assert Theirs(tmp_path / "out").answers(sources) == ours
    import_model(tmp_path / "out", tmp_path / "home")
    assert texts(zhuyi.load(tmp_path / "home", device="cpu"), sources, **{**UNLIMITED, "max_extra": 99}) == ours
    several = randomised(build_config({**config.model_dump(), "text": {**text, "target_prefix": ["<de>", "▁"]}}))
    with pytest.raises(ConfigError, match=r"text\.target_prefix has 2 pieces"):
        zhuyi.export_model(several, tmp_path / "several", "huggingface")


def test_its_readme_is_a_program_that_translates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    translator = small("marian", beam=2)
    zhuyi.export_model(translator, tmp_path / "out", "huggingface")
    monkeypatch.chdir(tmp_path / "out")
    (code,) = re.findall(r"^```python\n(.*?)^```$", Path("README.md").read_text(encoding="utf-8"), re.M | re.S)
    names: dict[str, Any] = {}
    exec(code, names)
    assert capsys.readouterr().out
    assert names["translate"](lines(5, 8)) == texts(translator, lines(5, 8))


def test_the_command_and_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    zhuyi.save(small("marian"), tmp_path / "model")
    done = run("export", tmp_path / "model", "--to", "huggingface", "--out", out)
    assert (done.code, done.err) == (0, "")
    assert f"{out}: 20 of 20 the same" in done.out
    assert {path.name for path in out.iterdir()} <= to_transformers.FILES
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(to_transformers, "_generation", interrupted)
    with pytest.raises(KeyboardInterrupt):
        zhuyi.export_model(tmp_path / "model", out, "huggingface")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"model", "out"}


def test_a_directory_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    theirs = make_opus_mt(tmp_path / "opus")
    (theirs / "vocab.json").unlink()
    for name in ("source.spm", "target.spm"):
        (theirs / name).unlink()
    with pytest.raises(CheckpointError, match="holds other files"):
        zhuyi.export_model(small("marian"), theirs, "huggingface")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zhuyi": {"first": -1, "text": {}}}, "zhuyi is not what zhuyi export writes"),
        ({"zhuyi": {"first": 10**5, "text": {}}}, "matrix only"),
        ({"zhuyi": {"first": 0, "text": {"kind": "words"}}}, "zhuyi has no such model"),
        ({"zhuyi": []}, "zhuyi is not an object"),
    ],
)
def test_a_damaged_export_is_refused_in_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    zhuyi.export_model(small("marian"), tmp_path / "out", "huggingface")
    file = tmp_path / "out" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(CheckpointError, match=message) as refused:
        import_model(tmp_path / "out", tmp_path / "home")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "home").exists()
