"""Models of Hugging Face answer as the originals do: small random ones, made here, against `transformers` itself."""

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sentencepiece
import torch
import transformers
from command_line import zhuyi as run
from torch import nn

import zhuyi
from zhuyi.checkpoint import model_of
from zhuyi.errors import CheckpointError, ZhuyiError
from zhuyi.interop.families.bart_text import FAIRSEQ
from zhuyi.interop.families.foreign import as_stored
from zhuyi.interop.importing import import_model, read_foreign
from zhuyi.interop.reading.files import POINTER
from zhuyi.text.special import BOS

WORDS = [first + vowel + last for first in "bdfgklmnprstvz" for vowel in "aeiou" for last in ("", "n", "sta")]
LIMIT = 40


def lines(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) for _ in range(count)]


def train_sentencepiece(path: Path, text: Sequence[str], size: int, model_type: str = "unigram") -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_prefix=str(path.with_suffix("")),
        vocab_size=size,
        hard_vocab_limit=False,
        model_type=model_type,
        minloglevel=2,
    )
    path.with_suffix(".model").rename(path)


def randomise(model: nn.Module) -> None:
    """Weights at which answers differ from line to line, and of which none has a special value."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif name.endswith("bias"):
                parameter.copy_(0.2 * torch.randn_like(parameter))
            elif "embed_positions" not in name:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5 * 1.4)


@dataclass(frozen=True)
class Original:
    """A directory of Hugging Face, and what is in it."""

    directory: Path
    model: Any
    tokenizer: Any

    def answers(self, text: Sequence[str], **how: Any) -> list[str]:
        batch = self.tokenizer(list(text), return_tensors="pt", padding=True)
        without = {"suppress_tokens": [self.model.config.pad_token_id], "renormalize_logits": True}
        found = self.model.generate(**batch, do_sample=False, **without, **how)  # zhuyi has no PAD in the softmax
        return list(self.tokenizer.batch_decode(found, skip_special_tokens=True))


@pytest.fixture(scope="module")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return make_marian(tmp_path_factory.mktemp("marian") / "opus", "swish")


def make_marian(directory: Path, activation: str) -> Original:
    directory.mkdir()
    for side, text in (("source", lines(500)), ("target", [line.upper() for line in lines(500, 1)])):
        train_sentencepiece(directory / f"{side}.spm", text, 60)
    pieces = ["</s>", "<unk>"]
    for side in ("source", "target"):
        model = sentencepiece.SentencePieceProcessor(str(directory / f"{side}.spm"))
        found = [model.id_to_piece(i) for i in range(3, len(model))]
        pieces += [piece for piece in found[:-3] if piece not in pieces]  # some pieces are in no vocabulary
    pieces += [">>fra<<", ">>deu<<", "<pad>"]
    (directory / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    torch.manual_seed(0)
    config = transformers.MarianConfig(
        **{"vocab_size": len(pieces), "d_model": 32, "encoder_layers": 2, "decoder_layers": 2},
        **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
        **{"activation_function": activation, "scale_embedding": True, "max_position_embeddings": 64},
        **{"pad_token_id": len(pieces) - 1, "eos_token_id": 0, "decoder_start_token_id": len(pieces) - 1},
        **{"forced_eos_token_id": 0, "normalize_before": False, "normalize_embedding": False},
        static_position_embeddings=True,  # with the two others, in the first directories, and no longer read
    )
    model = transformers.MarianMTModel(config).eval()
    randomise(model)
    with torch.no_grad():
        model.final_logits_bias.copy_(0.5 * torch.randn(1, len(pieces)))
        model.final_logits_bias[0, 0] += 2  # outputs end
        model.model.shared.weight[-1] = 0
    model.generation_config.num_beams, model.generation_config.max_length = 1, LIMIT
    model.generation_config.bad_words_ids = [[len(pieces) - 1]]
    model.save_pretrained(directory)
    tokenizer = transformers.MarianTokenizer(
        source_spm=str(directory / "source.spm"),
        target_spm=str(directory / "target.spm"),
        vocab=str(directory / "vocab.json"),
    )
    (directory / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    return Original(directory, model, tokenizer)


@pytest.fixture(scope="module")
def imported(marian: Original, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "opus"
    assert import_model(marian.directory, out).licence == "apache-2.0"
    return out


def test_marian_has_the_originals_tokens(marian: Original, imported: Path) -> None:
    ours = zhuyi.load(imported).tokenizers
    text = [*lines(50, 2), "Unknown wörds, 猫 and x≥y"]
    theirs = marian.tokenizer.get_vocab()
    for line in text:
        ids = ours.source.encode([line])[0]
        assert [theirs.get(piece, 1) for piece in ours.source.pieces(ids)] == marian.tokenizer(line).input_ids[:-1]


def test_marian_is_told_the_language_as_the_original_is(marian: Original, imported: Path) -> None:
    translator, text = zhuyi.load(imported), lines(20, 4)
    translator = translator.with_decoding(translator.decoding(beam=1))
    for name in ("fra", "deu"):
        tagged = [f">>{name}<< {line}" for line in text]
        answers = marian.answers(tagged, num_beams=1)
        assert translator.translate(text, to=name) == translator.translate(tagged) == answers
    ids = translator.tokenizers.source.encode([">>ita<< a"])[0]
    assert not {*translator.config.text.tags} & {*translator.tokenizers.source.pieces(ids)}


def ensure_same_logits(original: Original) -> None:
    foreign, rng = read_foreign(original.directory, None, []), random.Random(1)
    ours, rows = model_of(as_stored(foreign, "theirs")).transformer, torch.tensor(foreign.text.source.rows)
    worst, spreads = 0.0, []
    with torch.inference_mode():
        for length in (1, 7, 40):
            source, target = (torch.tensor([rng.choices(range(4, len(rows)), k=length)]) for _ in range(2))
            found = ours(source, torch.ones_like(source, dtype=torch.bool), target)
            expected = original.model(input_ids=rows[source], decoder_input_ids=rows[target]).logits[..., rows]
            worst = max(worst, (found - expected).abs().max().item())
            spreads.append(expected.std().item())
    assert worst <= 2e-5 * max(spreads)


def test_logits_of_marian_are_the_originals(marian: Original) -> None:
    ensure_same_logits(marian)


@pytest.mark.parametrize("count", [50, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("beam", [1, 4, 6])
@pytest.mark.parametrize("alpha", [1.0, 0.6])
def test_marian_answers_as_the_original(
    marian: Original, imported: Path, engine: str, beam: int, alpha: float, count: int
) -> None:
    text = lines(count, 3)
    translator = zhuyi.load(imported, engine=engine)
    decoding = translator.config.decoding.model_copy(update={"beam": beam, "length_penalty": alpha})
    ours = [best[0].text for best in translator.hypotheses(text, decoding)]
    assert ours == marian.answers(text, num_beams=beam, length_penalty=alpha, early_stopping=False)


@dataclass(frozen=True)
class Kind:
    """A multilingual family: how its vocabulary lies in a directory, and what its languages are called."""

    model: Any
    config: Any
    tokenizer: Any
    algorithm: str
    languages: tuple[str, str]
    """Of source and target, as the tokenizer takes them."""
    tags: list[str]
    """Their tokens, in the order of the ids."""


KINDS = ("m2m-100", "nllb", "mbart-50")


def kind_of(name: str) -> Kind:
    """One of KINDS. Not before a test asks: `transformers` imports for seconds what is named."""
    if name == "mbart-50":
        from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES

        parts = (transformers.MBartForConditionalGeneration, transformers.MBartConfig, transformers.MBart50Tokenizer)
        return Kind(*parts, "unigram", ("en_XX", "fr_XX"), FAIRSEQ_LANGUAGE_CODES)
    parts = (transformers.M2M100ForConditionalGeneration, transformers.M2M100Config)
    if name == "nllb":
        from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

        return Kind(*parts, transformers.NllbTokenizer, "bpe", ("eng_Latn", "fra_Latn"), FAIRSEQ_LANGUAGE_CODES)
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    tags = [f"__{tag}__" for tag in FAIRSEQ_LANGUAGE_CODES["m2m100"]]
    return Kind(*parts, transformers.M2M100Tokenizer, "unigram", ("en", "fr"), tags)


@pytest.fixture(scope="module", params=KINDS)
def multilingual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Original, Kind]:
    kind = kind_of(request.param)
    return make_multilingual(tmp_path_factory.mktemp("multilingual") / request.param, kind), kind


def make_multilingual(directory: Path, kind: Kind) -> Original:
    directory.mkdir()
    path = directory / "sentencepiece.bpe.model"
    train_sentencepiece(path, lines(500), 80, model_type=kind.algorithm)
    model = sentencepiece.SentencePieceProcessor(str(path))
    size = len(model) + 1 + len(kind.tags) + (kind.tokenizer is not transformers.M2M100Tokenizer)
    if kind.tokenizer is transformers.M2M100Tokenizer:
        pieces = ["<s>", "<pad>", "</s>", "<unk>", *(model.id_to_piece(i) for i in range(3, len(model)))]
        (directory / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (directory / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": kind.tags}))
    tokenizer = kind.tokenizer.from_pretrained(directory, additional_special_tokens=kind.tags)
    if kind.tokenizer is transformers.NllbTokenizer:  # its <mask> is before the languages, which tokenizer.json says
        tokenizer.save_pretrained(directory)
    tokenizer.src_lang = kind.languages[0]
    torch.manual_seed(0)
    config = kind.config(
        **{"vocab_size": size, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "scale_embedding": True},
        **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
        **{"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2},
        **{"max_position_embeddings": 64, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "forced_eos_token_id": 2},
        **{"normalize_before": True, "normalize_embedding": True, "static_position_embeddings": False},  # of mBART
        tokenizer_class=kind.tokenizer.__name__,
    )
    model = kind.model(config).eval()
    randomise(model)
    with torch.no_grad():
        # Hugging Face leaves PAD in the softmax, and zhuyi does not: here it is as good as impossible.
        bias = model.model.decoder.layer_norm.bias
        bias.mul_(4)
        model.model.shared.weight[1] = -5 * bias
    model.generation_config.num_beams, model.generation_config.max_length = 4, LIMIT
    model.generation_config.bad_words_ids = [[1]]
    model.save_pretrained(directory)
    return Original(directory, model, tokenizer)


def test_logits_of_a_multilingual_model_are_the_originals(multilingual: tuple[Original, Kind]) -> None:
    ensure_same_logits(multilingual[0])


@pytest.mark.parametrize(
    ("beam", "alpha", "count"),
    [
        *((1, 1.0, 30), (4, 1.0, 30)),
        *(pytest.param(*each, marks=pytest.mark.long) for each in ((1, 1.0, 200), (4, 1.0, 150), (6, 1.0, 150))),
        *(pytest.param(beam, 0.6, 150, marks=pytest.mark.long) for beam in (4, 6)),
    ],
)
def test_a_multilingual_model_answers_as_the_original(
    multilingual: tuple[Original, Kind], beam: int, alpha: float, count: int, tmp_path: Path
) -> None:
    original, kind = multilingual
    import_model(original.directory, tmp_path / "out")
    translator = zhuyi.load(tmp_path / "out").with_languages(kind.languages[1], kind.languages[0])
    text = lines(count, 3)
    source = translator.tokenizers.source
    theirs = original.tokenizer.convert_ids_to_tokens(original.tokenizer(text[0]).input_ids)
    assert source.pieces(source.encode([text[0]])[0]) == theirs[:-1]
    decoding = translator.config.decoding.model_copy(update={"beam": beam, "length_penalty": alpha})
    ours = [best[0].text for best in translator.hypotheses(text, decoding)]
    forced = original.tokenizer.convert_tokens_to_ids(
        f"__{kind.languages[1]}__" if kind.tokenizer is transformers.M2M100Tokenizer else kind.languages[1]
    )
    assert ours == original.answers(text, num_beams=beam, length_penalty=alpha, forced_bos_token_id=forced)


def test_a_tokenizer_json_says_the_same_as_sentencepiece(multilingual: tuple[Original, Kind], tmp_path: Path) -> None:
    original, kind = multilingual
    place = tmp_path / "alone"
    shutil.copytree(original.directory, place)
    if kind.tokenizer is transformers.M2M100Tokenizer:  # of which `transformers` itself writes none
        convert_m2m(place, kind.tags)
    else:
        original.tokenizer.save_pretrained(place)
    (place / "sentencepiece.bpe.model").unlink()
    alone, of_file = (read_foreign(each, None, []) for each in (place, original.directory))
    assert alone.text.settings == of_file.text.settings
    ours, theirs = (each.text.tokenizers.source for each in (alone, of_file))
    unlike = {i for i, (one, other) in enumerate(zip(ours.names, theirs.names, strict=True)) if one != other}
    assert {ours.names[i] for i in unlike} <= {"<mask>"}, "which a model of SentencePiece does not name"
    text = [*lines(50, 3), "Unknown wörds, 猫", f"{kind.tags[0]} <s> </s> <mask>", "  two   spaces ", "ﬁ½"]
    assert ours.encode(text) == theirs.encode(text)
    assert (alone.weights["encoder.embedding.weight"] == of_file.weights["encoder.embedding.weight"]).all()


def convert_m2m(directory: Path, tags: Sequence[str]) -> None:
    """Put a tokenizer.json into the place of vocab.json, as the converters of `transformers` make them."""

    from transformers.convert_slow_tokenizer import NllbConverter

    class Converter(NllbConverter):  # whose first tokens are fairseq's, too
        def post_processor(self) -> None: ...

    engine = Converter(SimpleNamespace(vocab_file=directory / "sentencepiece.bpe.model")).converted()
    engine.add_special_tokens([*FAIRSEQ, *tags])
    engine.save(str(directory / "tokenizer.json"))
    (directory / "vocab.json").unlink()


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("engine", ["native", "torch"])
def test_the_first_mbart_whose_source_ends_in_its_language(tmp_path: Path, engine: str, beam: int) -> None:
    from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES

    parts = (
        transformers.MBartForConditionalGeneration,
        transformers.MBartConfig,
        transformers.MBartTokenizer,
        "unigram",
        ("en_XX", "fr_XX"),
    )
    original = make_multilingual(tmp_path / "theirs", Kind(*parts, FAIRSEQ_LANGUAGE_CODES))
    french = original.tokenizer.convert_tokens_to_ids("fr_XX")
    original.model.generation_config.decoder_start_token_id = french
    original.model.save_pretrained(original.directory)
    import_model(original.directory, tmp_path / "ours")
    translator, text = zhuyi.load(tmp_path / "ours", engine=engine), lines(30, 3)
    source = translator.tokenizers.source
    for line, ids in zip(text, source.encode(text), strict=True):
        assert source.pieces(ids) == original.tokenizer.convert_ids_to_tokens(original.tokenizer(line).input_ids)
    decoding = translator.config.decoding.model_copy(update={"beam": beam})
    ours = [best[0].text for best in translator.hypotheses(text, decoding)]
    assert ours == original.answers(text, num_beams=beam)
    assert len({*ours}) > 10
    cut = translator.hypotheses([" ".join(["ba"] * 90)], decoding)
    assert cut == translator.hypotheses([" ".join(["ba"] * 80)], decoding), "what is too long keeps its end"
    with pytest.raises(ZhuyiError, match="no tags"):
        translator.with_languages(from_language="fr_XX")
    original.model.generation_config.decoder_start_token_id = None
    original.model.save_pretrained(original.directory)
    config = json.loads((original.directory / "config.json").read_text())
    (original.directory / "config.json").write_text(json.dumps(config | {"decoder_start_token_id": None}))
    found = as_stored(read_foreign(original.directory, None, []), "theirs")  # from and to the same language
    rows = read_foreign(original.directory, None, []).text.source.rows
    english = found.tokenizers.source.template.suffix[1]
    assert rows[BOS] == rows[english] == original.tokenizer.convert_tokens_to_ids("en_XX")


def test_of_the_vocabulary_what_some_lines_need_is_kept(multilingual: tuple[Original, Kind], tmp_path: Path) -> None:
    original, kind = multilingual
    text = lines(10, 5)
    whole, some = (
        import_model(original.directory, tmp_path / name, keep=keep) for name, keep in (("a", None), ("b", text))
    )
    assert whole.left_out == 0 < some.left_out == whole.tokens[0] - some.tokens[0]
    assert some.parameters < whole.parameters
    first, second = (zhuyi.load(each.directory).with_languages(*kind.languages[::-1]) for each in (whole, some))
    decoding = first.config.decoding.model_copy(update={"beam": 1})
    for line in text:
        cut = (each.tokenizers.source.pieces(each.tokenizers.source.encode([line])[0]) for each in (first, second))
        assert next(cut) == next(cut)
    answers = [[best[0].pieces for best in each.hypotheses(text, decoding)] for each in (first, second)]
    assert answers[0] == answers[1]


def test_a_model_has_the_name_of_the_directory_unless_another_is_given(
    marian: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(marian.directory, tmp_path / "from" / "opus-1.1")
    (tmp_path / "to").mkdir()
    monkeypatch.chdir(tmp_path / "to")
    done = run("import", tmp_path / "from" / "opus-1.1")
    assert done.code == 0
    assert "Languages: fra, deu\nUse it:  zhuyi translate opus-1.1 --to LANGUAGE\n" in done.out
    assert zhuyi.load("opus-1.1").config.model.width == 32


def test_what_is_no_model_of_another_program_is_named(
    marian: Original, imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what can be done about it; nothing is written."""
    (tmp_path / "empty").mkdir()
    unknown = {"config.json": '{"model_type": "gpt2"}', "model.safetensors": POINTER.decode(), "source.spm": ""}
    for name, content in unknown.items():
        shutil.copytree(marian.directory, tmp_path / name)
        (tmp_path / name / name).write_text(content)
    (tmp_path / "source.spm" / "source.spm").unlink()
    (tmp_path / "blank").write_text("\n \n")
    (tmp_path / "opus.zip").write_bytes(b"PK")
    monkeypatch.chdir(marian.directory.parent)
    for arguments, what in (
        ([tmp_path / "empty"], "neither a directory of Hugging Face"),
        ([imported], "a model of zhuyi already"),
        ([marian.directory / "model.safetensors"], "name the directory"),
        ([tmp_path / "opus.zip"], "unpack it"),
        ([marian.directory, "--format", "marian"], "no model of Marian"),
        ([tmp_path / "config.json"], "model_type = 'gpt2' has no counterpart"),
        ([tmp_path / "model.safetensors"], "git lfs pull"),
        ([tmp_path / "source.spm"], "source.spm: no such file: copy it"),
        ([marian.directory, "--keep-vocabulary", tmp_path / "blank"], "all lines of the files are blank"),
    ):
        done = run("import", *arguments, "--out", tmp_path / "out")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert what in done.err
        assert not (tmp_path / "out").exists()
    assert "for the new model with --out" in run("import", marian.directory).err
    assert "zhuyi import first" in run("translate", marian.directory).err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"added_tokens_decoder": [1]}, "added_tokens_decoder is not an object"),
        ({"src_lang": ["en"]}, r"src_lang = \['en'\] is not a string"),
        ({"added_tokens_decoder": {"9" * 5000: {"content": "en_XX"}}, "extra_special_tokens": {"a": "b"}}, None),
    ],
)
def test_settings_of_another_type_are_named(
    multilingual: tuple[Original, Kind], tmp_path: Path, settings: dict[str, Any], message: str | None
) -> None:
    directory = tmp_path / "model"
    shutil.copytree(multilingual[0].directory, directory)
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    if message is None:  # what is not about languages is left out
        read_foreign(directory, None, [])
    else:
        with pytest.raises(CheckpointError, match=message):
            read_foreign(directory, None, [])
