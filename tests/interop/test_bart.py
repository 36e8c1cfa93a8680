"""BART answers as the original does: small random ones, made here, against `transformers` itself."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from interop.byte_level_models import SPECIAL, write_byte_level
from interop.sentencepiece_models import LINES
from interop.test_huggingface import LIMIT, Original, lines, randomise

import zhuyi
from zhuyi.checkpoint import load_model
from zhuyi.errors import CheckpointError
from zhuyi.interop.importing import import_model, read_foreign
from zhuyi.text.special import BOS, EOS

BEGIN = 4
"""Our id of the original's <s>."""
OLD_SETTINGS = {
    **{"add_bias_logits": False, "add_final_layer_norm": False, "normalize_before": False, "normalize_embedding": True},
    **{"static_position_embeddings": False, "extra_pos_embeddings": 2},
}
"""Which the first directories have, and which `transformers` no longer reads."""


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Original:
    directory = tmp_path_factory.mktemp("bart") / "bart"
    directory.mkdir()
    write_byte_level(directory, [*lines(500), *LINES], 420)
    tokenizer = transformers.BartTokenizer.from_pretrained(directory)
    torch.manual_seed(0)
    config = transformers.BartConfig(
        **{"vocab_size": len(tokenizer), "d_model": 32, "encoder_layers": 2, "decoder_layers": 2},
        **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
        **{"max_position_embeddings": 64, "forced_bos_token_id": 0, **OLD_SETTINGS},
    )
    model = transformers.BartForConditionalGeneration(config).eval()
    randomise(model)
    with torch.no_grad():
        for stack in (model.model.encoder, model.model.decoder):  # without them, a token asks for itself again
            stack.embed_positions.weight.normal_(std=1.2)
        model.final_logits_bias.copy_(0.2 * torch.randn(1, len(tokenizer)))
        model.final_logits_bias[0, 2] += 3  # outputs end
        # Hugging Face leaves PAD in the softmax, and zhuyi does not: here it is as good as impossible.
        model.final_logits_bias[0, 1] = -1e4
    model.generation_config.num_beams, model.generation_config.max_length = 4, LIMIT
    model.generation_config.forced_bos_token_id = 0
    model.save_pretrained(directory)
    return Original(directory, model, tokenizer)


@pytest.fixture(scope="module")
def imported(bart: Original, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "bart"
    assert import_model(bart.directory, out).program == "BART of Hugging Face"
    return out


def rows(directory: Path) -> list[int]:
    """The original's row of each of our tokens."""
    found = [1, 3, 2, 2, 0, *range(4, len(load_model(directory).tokenizers.source) - 1)]
    assert load_model(directory).tokenizers.source.find("<bos>") == BEGIN
    return found


def test_a_line_is_cut_as_by_the_original(bart: Original, imported: Path) -> None:
    ours, row_of = zhuyi.load(imported).tokenizers.source, rows(imported)
    text = [*lines(100, 3), *(line for line in LINES if line and not any(name in line for name in SPECIAL))]
    for line, ids in zip(text, ours.encode(text), strict=True):
        assert [*(row_of[i] for i in ids), 2] == bart.tokenizer(line).input_ids, line
    assert ours.decode(ours.encode(text)) == text
    [named] = ours.encode(["<s> a</s><pad><mask>"])
    assert not {row_of[i] for i in named[1:]} & {0, 1, 2, 4}, "in a text, the name of a special token is text"


def test_pieces_are_shown_as_the_text_they_are(bart: Original, imported: Path) -> None:
    ours = zhuyi.load(imported).tokenizers.source
    [ids] = ours.encode(["un bé 猫\n"])
    assert ours.pieces(ids) == ["<bos>", "un", "▁b", "<0xC3>", "<0xA9>", "▁", *("<0xE7>", "<0x8C>", "<0xAB>"), "⏎"]
    for token in range(len(ours)):
        [piece] = ours.pieces([token])
        assert "<0x" in piece or ours.find(piece) == token


def test_logits_are_the_originals(bart: Original, imported: Path) -> None:
    ours, row_of, rng = load_model(imported).transformer, rows(imported), random.Random(1)
    worst, spreads = 0.0, []
    with torch.inference_mode():
        for length in (1, 7, 40):
            source = [BEGIN, *rng.choices(range(5, len(row_of)), k=length), EOS]
            target = [BOS, BEGIN, *rng.choices(range(5, len(row_of)), k=length)]
            found = ours(torch.tensor([source]), torch.ones(1, len(source), dtype=torch.bool), torch.tensor([target]))
            expected = bart.model(
                input_ids=torch.tensor([[row_of[i] for i in source]]),
                decoder_input_ids=torch.tensor([[row_of[i] for i in target]]),
            ).logits[0]
            worst = max(worst, (found[0] - expected[:, row_of]).abs()[:, 1:].max().item())
            spreads.append(expected[:, row_of[1:]].std().item())
    assert worst <= 2e-5 * max(spreads)


@pytest.mark.parametrize("count", [30, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("beam", [1, 4, 6])
@pytest.mark.parametrize("alpha", [1.0, 0.6])
def test_bart_answers_as_the_original(
    bart: Original, imported: Path, engine: str, beam: int, alpha: float, count: int
) -> None:
    text, row_of = lines(count, 3), rows(imported)
    translator = zhuyi.load(imported, engine=engine)
    decoding = translator.config.decoding.model_copy(update={"beam": beam, "length_penalty": alpha})
    sources = translator.tokenizers.source.encode(text)
    found = [best for [best, *_] in translator.engine.decode(sources, decoding, prefix=[BEGIN])]
    ours = [[row_of[i] for i in best.tokens] for best in found]
    batch = bart.tokenizer(text, return_tensors="pt", padding=True)
    answers = bart.model.generate(**batch, do_sample=False, num_beams=beam, length_penalty=alpha, early_stopping=False)
    assert len({tuple(tokens) for tokens in ours}) > count / 5, "a model whose answers tell something"
    assert {len(tokens) == LIMIT - 2 for tokens in ours} == {False, True}
    assert ours == [answer[1 : [*answer, 2].index(2, 1)] for answer in answers.tolist()]


@pytest.mark.parametrize("settings", [{"min_length": 14}, {"min_length": 3, "min_new_tokens": 13}], ids=str)
@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("beam", [1, 4])
def test_no_summary_is_shorter_than_the_originals(
    bart: Original, tmp_path: Path, settings: dict[str, int], engine: str, beam: int
) -> None:
    """`min_length` counts the token that begins an output there, and EOS here; `min_new_tokens` counts neither."""
    directory = tmp_path / "theirs"
    shutil.copytree(bart.directory, directory)
    path = directory / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    import_model(directory, tmp_path / "ours")
    translator, text, row_of = zhuyi.load(tmp_path / "ours", engine=engine), lines(30, 3), rows(tmp_path / "ours")
    assert translator.config.decoding.min_length == 14
    decoding = translator.config.decoding.model_copy(update={"beam": beam})
    sources = translator.tokenizers.source.encode(text)
    found = [best for [best, *_] in translator.engine.decode(sources, decoding, prefix=[BEGIN])]
    batch = bart.tokenizer(text, return_tensors="pt", padding=True)
    answers = bart.model.generate(**batch, do_sample=False, num_beams=beam, early_stopping=False, **settings)
    assert [[row_of[i] for i in best.tokens] for best in found] == [
        answer[1 : [*answer, 2].index(2, 1)] for answer in answers.tolist()
    ]
    free = decoding.model_copy(update={"min_length": 0})
    shortest = min(len(best.tokens) for [best, *_] in translator.engine.decode(sources, free, prefix=[BEGIN]))
    assert shortest + 1 < 14 == min(len(best.tokens) for best in found) + 1


def test_of_the_vocabulary_what_some_lines_need_is_kept(bart: Original, imported: Path, tmp_path: Path) -> None:
    text = lines(8, 5)
    assert import_model(bart.directory, tmp_path / "some", keep=text).left_out > 0
    whole, some = zhuyi.load(imported), zhuyi.load(tmp_path / "some")
    assert len(some.tokenizers.source) < len(whole.tokenizers.source)
    greedy = whole.config.decoding.model_copy(update={"beam": 1})
    found = [[best[0].pieces for best in each.hypotheses(text, greedy)] for each in (whole, some)]
    assert found[0] == found[1]
    assert some.tokenizers.source.decode(some.tokenizers.source.encode(["a 猫"])) == ["a 猫"]


@pytest.mark.parametrize("tie", ["embeddings", "none"])
def test_a_projection_of_its_own(bart: Original, tmp_path: Path, tie: str) -> None:
    torch.manual_seed(1)
    config = transformers.BartConfig(**{**bart.model.config.to_dict(), "tie_word_embeddings": False})
    model = transformers.BartForConditionalGeneration(config).eval()
    model.load_state_dict(bart.model.state_dict())
    with torch.no_grad():
        model.lm_head.weight.normal_()
        if tie == "none":
            model.model.decoder.embed_tokens.weight.normal_()
    shutil.copytree(bart.directory, tmp_path / "theirs")
    model.save_pretrained(tmp_path / "theirs")
    import_model(tmp_path / "theirs", tmp_path / "ours")
    ours, row_of = load_model(tmp_path / "ours"), rows(tmp_path / "ours")
    assert ours.config.model.tie == tie
    assert ("decoder.embedding.weight" in ours.stored().weights) == (tie == "none")
    source, target = torch.tensor([[BEGIN, 7, 9, EOS]]), torch.tensor([[BOS, BEGIN, 8]])
    with torch.inference_mode():
        found = ours.transformer(source, source != 0, target)[0]
        theirs = (torch.tensor(row_of)[each] for each in (source, target))
        expected = model(input_ids=next(theirs), decoder_input_ids=next(theirs)).logits[0, :, row_of]
    torch.testing.assert_close(found[:, 1:], expected[:, 1:], rtol=0, atol=1e-4)  # not of PAD


def test_a_tokenizer_json_says_the_same(bart: Original, imported: Path, tmp_path: Path) -> None:
    directory = alone(bart, tmp_path)
    found = read_foreign(directory, None, [])
    assert found.text.tokenizers.files() == load_model(imported).tokenizers.files()
    import_model(directory, tmp_path / "out")
    text = lines(10, 4)
    assert zhuyi.load(tmp_path / "out").translate(text) == zhuyi.load(imported).translate(text)


def alone(bart: Original, place: Path) -> Path:
    """The directory as `transformers` 5 writes it, with a tokenizer.json instead of vocab.json and merges.txt."""
    directory = place / "alone"
    shutil.copytree(bart.directory, directory)
    for name in ("vocab.json", "merges.txt"):
        (directory / name).unlink()
    bart.tokenizer.save_pretrained(directory)
    assert not (directory / "vocab.json").exists()
    return directory


@pytest.mark.parametrize(
    ("part", "value", "complaint"),
    [
        ("normalizer", {"type": "NFKC"}, "its normalizer has 'NFKC', which zhuyi has not"),
        ("pre_tokenizer", {"type": "BertPreTokenizer"}, "its pre_tokenizer has 'BertPreTokenizer'"),
        ("pre_tokenizer", {"type": "ByteLevel", "use_regex": False}, "is not ByteLevel alone"),
        ("pre_tokenizer", None, "is not ByteLevel alone"),
        ("model", {"type": "WordPiece"}, "its model is 'WordPiece', not BPE"),
        ("model", {"ignore_merges": True}, "its model has ignore_merges = True"),
        ("model", {"merges": ["a"]}, "'a' is no merge"),
        ("model", {"merges": [["a", "☃"]]}, "'a ☃' has a token that the vocabulary lacks"),
        ("model", {"merges": None}, "no merges"),
        ("model", {"vocab": [1]}, "a token has no name"),
        ("model", {"vocab": {"a": 2**40}}, "is not below"),
        ("model", {"vocab": {"a": 0}}, "'a' and '<s>' have the same id 0"),
        ("added_tokens", [{"id": 5, "content": "dog", "special": False}], "'dog', which is no special token"),
        ("added_tokens", ["dog"], "a token has no name"),
    ],
)
def test_what_a_tokenizer_has_that_zhuyi_has_not_is_named(
    bart: Original, tmp_path: Path, part: str, value: Any, complaint: str
) -> None:
    directory = alone(bart, tmp_path)
    content = json.loads((directory / "tokenizer.json").read_text())
    content[part] = {**content[part], **value} if part == "model" else value
    (directory / "tokenizer.json").write_text(json.dumps(content))
    refused(directory, complaint, directory / "tokenizer.json")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"activation_function": "gelu_new" * 10**6}, "has no counterpart"),
        ({"bos_token_id": 9999}, "bos_token_id = 9999 is no row"),
        ({"forced_bos_token_id": 9999}, "forced_bos_token_id = 9999 is no row"),
        ({"vocab_size": 10**12}, "vocab_size"),
        ({"vocab_size": 2**31 - 1}, "vocab_size is 2,147,483,647"),  # a list of so many would take the memory
        ({"encoder_ffn_dim": 47}, "encoder.blocks.0.feed_forward"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_zhuyi_has_not_is_refused_in_one_line(
    bart: Original, tmp_path: Path, settings: dict[str, Any], complaint: str
) -> None:
    directory = tmp_path / "bart"
    shutil.copytree(bart.directory, directory)
    config = json.loads((directory / "config.json").read_text()) | settings
    (directory / "config.json").write_text(json.dumps({**config, "decoder_ffn_dim": config["encoder_ffn_dim"]}))
    (directory / "generation_config.json").unlink()
    refused(directory, complaint, directory)


def refused(directory: Path, complaint: str, where: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        import_model(directory, directory.parent / "out")
    message = str(error.value)
    assert message.startswith(str(where))
    assert complaint in message
    assert "\n" not in message
    assert len(message) < 400
    assert not (directory.parent / "out").exists()


@pytest.mark.parametrize("text", ["#version: 0.2\na\n", "#version: 0.2\na b c\n", "\xff", "☃ ☃\n"])
def test_damaged_merges_are_refused(bart: Original, tmp_path: Path, text: str) -> None:
    directory = tmp_path / "bart"
    shutil.copytree(bart.directory, directory)
    (directory / "merges.txt").write_bytes(text.encode("latin-1", "xmlcharrefreplace"))
    refused(directory, "", directory / "merges.txt")
