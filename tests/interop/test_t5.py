"""T5, mT5 and ByT5 translate as the originals do: small random ones, made here, against `transformers` itself."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from torch import nn

import zhuyi
from zhuyi.checkpoint import load_model
from zhuyi.errors import CheckpointError, ZhuyiWarning
from zhuyi.interop.importing import import_model, read_foreign
from zhuyi.text.special import BOS, EOS

transformers = pytest.importorskip("transformers")

WORDS = [first + vowel + last for first in "bdfgklmnprstvz" for vowel in "aeiou" for last in ("", "n", "sta")]
LIMIT = 41
SIZES = {"d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4, "d_kv": 8, "dropout_rate": 0.1}


def lines(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(count)]


@dataclass(frozen=True)
class Original:
    """A directory of Hugging Face, the model in it, and the same imported."""

    directory: Path
    model: Any
    imported: Path
    row_of: list[int]
    """The original's id of each of ours."""

    def answers(self, sources: Sequence[list[int]], **how: Any) -> list[list[int]]:
        """What its search finds, in the original's ids; without what begins it and EOS."""
        pad, eos = self.model.config.pad_token_id, self.model.config.eos_token_id
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(each) for each in sources], True, pad)
        found = self.model.generate(
            **{"input_ids": tokens, "attention_mask": (tokens != pad).long()},
            **{"do_sample": False, "max_length": LIMIT, "early_stopping": False, **how},
            **{"suppress_tokens": [pad], "renormalize_logits": True},  # zhuyi has no PAD in the softmax
        )
        answers = [answer[1:] for answer in found.tolist()]
        return [answer[: answer.index(eos)] if eos in answer else answer for answer in answers]


def randomise(model: Any) -> None:
    """Weights at which answers differ from line to line, and of which none has a special value."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "relative" in name:
                parameter.copy_(torch.randn_like(parameter))
            else:
                gain = 2.0 if "shared" in name else 0.5 if ".q." in name else 1.2
                parameter.copy_(torch.randn_like(parameter) * gain * parameter.shape[-1] ** -0.5)
        model.lm_head.weight[1] *= 1.5  # some outputs end


def write_pieces(directory: Path) -> int:
    """The number of pieces of a spiece.model."""
    sentencepiece.SentencePieceTrainer.train(
        **{"sentence_iterator": iter(lines(500)), "model_prefix": str(directory / "spiece"), "vocab_size": 90},
        **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "minloglevel": 2, "hard_vocab_limit": False},
    )
    return len(sentencepiece.SentencePieceProcessor(str(directory / "spiece.model")))


def t5(directory: Path) -> Any:
    """As the first ones: relu, and one matrix of embeddings for everything."""
    rows = write_pieces(directory) + 100 + 28
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(vocab_size=rows, **SIZES, decoder_start_token_id=0)
    )


def t5_1_1(directory: Path) -> Any:
    """Gated, with a projection of its own, a head width that is not width / heads, and fewer layers in the decoder.

    (With more of them than in the encoder, generation fails in transformers 5.24.)
    """
    rows = write_pieces(directory) + 100
    sizes = SIZES | {"d_kv": 12, "num_layers": 3, "num_decoder_layers": 2}
    config = transformers.T5Config(
        **sizes, vocab_size=rows, feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0
    )
    return untied(transformers.T5ForConditionalGeneration(config))


def mt5(directory: Path) -> Any:
    rows = write_pieces(directory)
    (directory / "tokenizer_config.json").write_text('{"extra_ids": 0}')
    config = transformers.MT5Config(vocab_size=rows + 12, **(SIZES | {"num_heads": 3}), feed_forward_proj="gated-silu")
    return untied(transformers.MT5ForConditionalGeneration(config))


def byt5(directory: Path) -> Any:
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer", "extra_ids": 125}')
    config = transformers.T5Config(
        **SIZES, vocab_size=384, feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0
    )
    return untied(transformers.T5ForConditionalGeneration(config))


def untied(model: Any) -> Any:
    """With a projection of its own, as the files of these models have."""
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    model.all_tied_weights_keys.pop("lm_head.weight", None)
    return model


MODELS = {"T5": t5, "T5 1.1": t5_1_1, "mT5": mt5, "ByT5": byt5}


@pytest.fixture(scope="module", params=MODELS)
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Original:
    return made(request.param, tmp_path_factory.mktemp("original"))


def made(name: str, place: Path) -> Original:
    directory, out = place / "theirs", place / "ours"
    directory.mkdir()
    model = MODELS[name](directory).eval()
    randomise(model)
    model.generation_config.max_length = LIMIT
    model.save_pretrained(directory)
    found = import_model(directory, out)
    assert found.program.split()[0] == name.split()[0]
    unk, rows = 2, model.config.vocab_size
    row_of = [0, unk, 0, 1, *(row for row in range(rows) if row not in (0, 1, unk))]
    return Original(directory, model, out, row_of)


def theirs(original: Original, ids: Sequence[int]) -> list[int]:
    return [original.row_of[i] for i in ids]


def test_logits_are_the_originals(original: Original) -> None:
    ours = load_model(original.imported).transformer
    random_ids = random.Random(1)
    worst, spreads = 0.0, []
    with torch.inference_mode():
        for length in (1, 7, 40, 150):
            source = [*random_ids.choices(range(4, len(original.row_of)), k=length), EOS]
            target = [BOS, *random_ids.choices(range(4, len(original.row_of)), k=140)]
            mask = torch.ones(1, len(source), dtype=torch.bool)
            found = ours(torch.tensor([source]), mask, torch.tensor([target]))[0]
            expected = original.model(
                input_ids=torch.tensor([theirs(original, source)]),
                decoder_input_ids=torch.tensor([theirs(original, target)]),
            ).logits[0]
            worst = max(worst, (found - expected[:, original.row_of]).abs().max().item())
            spreads.append(expected.std().item())
    assert worst <= 2e-5 * max(spreads)


def test_one_embedding_is_stored_once(original: Original) -> None:
    model = load_model(original.imported)
    assert model.config.model.tie == (
        "all" if original.model.lm_head.weight is original.model.shared.weight else "embeddings"
    )
    assert "decoder.embedding.weight" not in model.stored().weights


@pytest.mark.parametrize(
    ("beam", "alpha", "count"),
    [
        *((1, 1.0, 100), (4, 0.6, 30)),
        *(pytest.param(*each, marks=pytest.mark.long) for each in ((1, 1.0, 200), (4, 1.0, 150), (6, 1.0, 150))),
        *(pytest.param(beam, 0.6, 150, marks=pytest.mark.long) for beam in (4, 6)),
    ],
)
def test_a_search_finds_what_the_original_finds(original: Original, beam: int, alpha: float, count: int) -> None:
    translator, rng = zhuyi.load(original.imported, engine="torch"), random.Random(2)
    decoding = translator.config.decoding.model_copy(update={"beam": beam, "length_penalty": alpha})
    sources = [rng.choices(range(4, len(original.row_of)), k=rng.randint(1, 29)) for _ in range(count)]
    found = [theirs(original, best.tokens) for [best, *_] in translator.engine.decode(sources, decoding)]
    sources = [[*theirs(original, source), 1] for source in sources]
    answers = original.answers(sources, num_beams=beam, length_penalty=alpha)
    assert len({tuple(answer) for answer in answers}) > count / 2, "a model whose answers tell something"
    assert beam > 1 or {len(answer) == LIMIT - 1 for answer in answers} == {False, True}
    assert found == answers


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return made("T5", tmp_path_factory.mktemp("t5"))


def test_a_line_is_cut_as_sentencepiece_cuts_it(text_model: Original) -> None:
    ours = zhuyi.load(text_model.imported, engine="torch").tokenizers.source
    pieces = sentencepiece.SentencePieceProcessor(str(text_model.directory / "spiece.model"))
    text = [*lines(100, 3), "Unknown wörds, 猫", "<extra_id_0> </s> <pad>", "  two   spaces "]
    assert [theirs(text_model, ids) for ids in ours.encode(text)] == [pieces.encode(line) for line in text]
    sentinels = [text_model.row_of.index(len(pieces) + 99 - i) for i in range(3)]
    assert ours.pieces(sentinels) == ["<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]
    assert ours.decode([sentinels]) == [""]


def test_a_tokenizer_json_says_the_same_as_spiece_model(text_model: Original, tmp_path: Path) -> None:
    place = rewritten(text_model, tmp_path / "alone")
    transformers.T5Tokenizer.from_pretrained(place).save_pretrained(place)
    (place / "spiece.model").unlink()
    import_model(place, tmp_path / "out")
    alone, of_file = (load_model(each).tokenizers.source for each in (tmp_path / "out", text_model.imported))
    text = [*lines(100, 3), "Unknown wörds, 猫", "<extra_id_0> </s> <pad>", "  two   spaces ", "ﬁ½"]
    assert alone.names == of_file.names
    assert alone.encode(text) == of_file.encode(text)
    assert alone.decode(alone.encode(text)) == of_file.decode(of_file.encode(text))
    content = json.loads((place / "tokenizer.json").read_text())
    content["pre_tokenizer"] = {"type": "Whitespace"}
    (place / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(
        CheckpointError, match=r"tokenizer.json: .* its pre_tokenizer has 'Whitespace', which zhuyi has not"
    ):
        read_foreign(place, None, [])


def test_bytes_are_those_of_byt5(tmp_path: Path) -> None:
    original = made("ByT5", tmp_path)
    ours = zhuyi.load(original.imported, engine="torch").tokenizers.source
    original_tokenizer = transformers.ByT5Tokenizer()
    text = ["A dog  runs.", "你好，猫", " e\u0301 é\t", "<extra_id_0>x"]
    for line, ids in zip(text[:3], ours.encode(text[:3]), strict=True):
        assert theirs(original, ids) == original_tokenizer(line).input_ids[:-1]
    assert ours.decode(ours.encode(text)) == text, "in a text, the name of a sentinel is text"


def test_what_is_imported_translates_and_is_looked_into(text_model: Original) -> None:
    with pytest.warns(ZhuyiWarning, match="torch computes"):
        translator, line = zhuyi.load(text_model.imported), lines(1, 4)[0]
    decoding = translator.config.decoding
    assert (decoding.beam, decoding.max_extra, decoding.penalty) == (1, LIMIT - 1, "power")
    [[best]] = translator.hypotheses([line])
    trace = zhuyi.look(translator, line)
    assert trace.output == best.text
    assert trace["encoder.0.self.bias"].shape[0] == 4
    assert torch.equal(trace["encoder.0.self.bias"], trace["encoder.1.self.bias"])


def rewritten(original: Original, place: Path, **settings: Any) -> Path:
    """The same directory with other settings; None leaves one out."""
    place.mkdir()
    for file in original.directory.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    config = json.loads((place / "config.json").read_text()) | settings
    (place / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return place


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"feed_forward_proj": "gated-relu"}, "feed_forward_proj = 'gated-relu' has no counterpart"),
        ({"relative_attention_num_buckets": 16}, "relative_attention_num_buckets = 16"),
        ({"relative_attention_max_distance": 64}, "relative_attention_max_distance = 64"),
        ({"d_model": 0}, "no such model"),
        ({"d_kv": "8"}, "d_kv = '8' is not a whole number"),
        ({"layer_norm_epsilon": "tiny"}, "layer_norm_epsilon = 'tiny' is not a number"),
        ({"num_layers": 3}, "tensor encoder.block.2.layer.0.SelfAttention.q.weight is missing"),
        ({"num_decoder_layers": 1}, "has no counterpart"),
        ({"d_ff": 47}, "feed_forward"),
        ({"eos_token_id": [1, 2]}, "eos_token_id"),
        ({"pad_token_id": 9999}, "9999"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_zhuyi_has_not_is_refused_in_one_line(
    text_model: Original, tmp_path: Path, settings: dict[str, Any], complaint: str
) -> None:
    broken = rewritten(text_model, tmp_path / "broken", **settings)
    with pytest.raises(CheckpointError) as error:
        import_model(broken, tmp_path / "out")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_configurations_of_old_versions_mean_the_same(text_model: Original, tmp_path: Path) -> None:
    """Before transformers 5, `tie_word_embeddings` alone said whether logits are scaled; T5's own had no such key."""
    import_model(
        rewritten(text_model, tmp_path / "old", scale_decoder_outputs=None, tie_word_embeddings=None), tmp_path / "a"
    )
    import_model(
        rewritten(text_model, tmp_path / "unscaled", scale_decoder_outputs=None, tie_word_embeddings=False),
        tmp_path / "b",
    )
    new, old, unscaled = (load_model(place) for place in (text_model.imported, tmp_path / "a", tmp_path / "b"))
    source, mask, target = torch.tensor([[7, 8, EOS]]), torch.ones(1, 3, dtype=torch.bool), torch.tensor([[BOS, 9]])
    logits, as_old, larger = (each.transformer(source, mask, target) for each in (new, old, unscaled))
    assert torch.equal(logits, as_old)
    torch.testing.assert_close(larger, logits * 32**0.5, rtol=1e-4, atol=1e-4)


def test_how_long_an_output_may_be(text_model: Original, tmp_path: Path) -> None:
    for number, (stated, most) in enumerate(
        [({"max_length": 30}, 29), ({"max_new_tokens": 12}, 12), ({"max_length": 2000}, 1023), ({}, 1023)]
    ):
        place = rewritten(text_model, tmp_path / str(number))
        (place / "generation_config.json").write_text(json.dumps(stated))
        import_model(place, tmp_path / f"{number} out")
        config = load_model(tmp_path / f"{number} out").config
        assert config.decoding.max_extra == most < config.model.max_length


def test_pickles_hold_plain_tensors(text_model: Original, tmp_path: Path) -> None:
    place = rewritten(text_model, tmp_path / "bin")
    (place / "model.safetensors").unlink()
    state = dict(text_model.model.state_dict())
    torch.save(state, place / "pytorch_model.bin")
    import_model(place, tmp_path / "out")
    weights, expected = (load_model(each).transformer.state_dict() for each in (tmp_path / "out", text_model.imported))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
