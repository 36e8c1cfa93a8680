"""Small models as other programs write them, with random weights: what can be imported without these programs."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from interop import marian_models
from interop.byte_level_models import SPECIAL, write_byte_level
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer, Regex, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Engine
from torch import Tensor

import zhuyi
from zhuyi.config import build_config
from zhuyi.interop import from_state_dict
from zhuyi.interop.families import bart, t5
from zhuyi.interop.families.bart_text import FAIRSEQ
from zhuyi.interop.families.weights import Names
from zhuyi.model.transformer import Transformer
from zhuyi.translator import Translator

LINES = [f"{who} {what} {where}" for who in ("a dog", "two cats") for what in ("runs", "sleeps") for where in ("", ".")]
WIDTH, HEADS, INNER, LONGEST = 16, 2, 24, 64
T5 = ("t5", "mt5", "byt5")
LANGUAGES = {
    "m2m-100": ["__en__", "__fr__"],
    "nllb": ["eng_Latn", "fra_Latn"],
    "mbart-25": ["en_XX", "fr_XX"],
    "mbart-50": ["en_XX", "fr_XX"],
}


def make_opus_mt(directory: Path) -> Path:
    """Write a MarianMT model with two languages as targets."""
    directory.mkdir()
    torch.manual_seed(0)
    pieces = ["</s>", "<unk>"]
    for side, lines in (("source", LINES), ("target", [line.upper() for line in LINES])):
        pieces += [piece for piece in train_pieces(directory / f"{side}.spm", lines)[3:] if piece not in pieces]
    pieces += [">>deu<<", ">>fra<<", "<pad>"]
    pad = len(pieces) - 1
    write_json(directory / "vocab.json", {piece: i for i, piece in enumerate(pieces)})
    ids = {"pad_token_id": pad, "eos_token_id": 0, "decoder_start_token_id": pad, "forced_eos_token_id": 0}
    write_json(directory / "config.json", bart_config("marian", len(pieces), activation_function="swish", **ids))
    (directory / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# A model\n", encoding="utf-8")
    shape = {"norm": "post", "norm_kind": "layer", "bias": "all", "activation": "silu", "positions": "sinusoidal"}
    weights = random_weights(shape, bart.NAMES, len(pieces))
    weights["model.shared.weight"] = torch.randn(len(pieces), WIDTH)
    weights["final_logits_bias"] = torch.randn(1, len(pieces))
    save_file(weights, directory / "model.safetensors")
    return directory


def make_multilingual(directory: Path, kind: str) -> Path:
    """Write an M2M-100, NLLB or mBART with two languages."""
    directory.mkdir()
    torch.manual_seed(0)
    tags = LANGUAGES[kind]
    algorithm = "bpe" if kind == "nllb" else "unigram"
    options = {"model_type": algorithm, "normalization_rule_name": "identity"}  # the usual one takes longer to check
    learnt = train_pieces(directory / "sentencepiece.bpe.model", LINES, **options)[3:]
    if kind == "m2m-100":
        pieces = [*FAIRSEQ, *learnt]
        write_json(directory / "vocab.json", {piece: i for i, piece in enumerate(pieces)})
    write_json(directory / "special_tokens_map.json", {"additional_special_tokens": tags})
    named = {"src_lang": tags[0], **({"tokenizer_class": "MBart50Tokenizer"} if kind == "mbart-50" else {})}
    write_json(directory / "tokenizer_config.json", named)
    rows = len(FAIRSEQ) + len(learnt) + len(tags)
    forced = {"forced_bos_token_id": rows - 1, "decoder_start_token_id": 2}
    begun = {"decoder_start_token_id": rows - 1} if kind == "mbart-25" else forced
    family = "mbart" if kind.startswith("mbart") else "m2m_100"
    write_json(directory / "config.json", bart_config(family, rows, **begun))
    shape = {"norm": "pre", "norm_kind": "layer", "bias": "all", "activation": "relu", "positions": "learned"}
    weights = random_weights({**shape, "embedding_norm": family == "mbart"}, bart.NAMES, rows)
    weights["model.shared.weight"] = 0.3 * torch.randn(rows, WIDTH)
    weights["model.shared.weight"][2] *= 0.1  # an output, which begins with it, would end with it
    if family == "mbart":
        weights |= random_positions()
    save_file(weights, directory / "model.safetensors")
    return directory


def make_bart(directory: Path) -> Path:
    """Write a BART."""
    directory.mkdir()
    torch.manual_seed(0)
    rows = write_byte_level(directory, LINES, 290)
    ids = {"forced_bos_token_id": 0, "decoder_start_token_id": 2, "scale_embedding": False}
    write_json(directory / "config.json", bart_config("bart", rows, activation_function="gelu", **ids))
    shape = {"norm": "post", "norm_kind": "layer", "bias": "all", "activation": "gelu", "positions": "learned"}
    weights = random_weights({**shape, "embedding_norm": True}, bart.NAMES, rows) | random_positions()
    weights["model.shared.weight"] = torch.randn(rows, WIDTH)
    save_file(weights, directory / "model.safetensors")
    return directory


def random_positions() -> dict[str, Tensor]:
    return {f"model.{side}.embed_positions.weight": torch.randn(LONGEST + 2, WIDTH) for side in ("encoder", "decoder")}


def bart_config(family: str, rows: int, **settings: Any) -> dict[str, Any]:
    return {
        **{"model_type": family, "vocab_size": rows, "d_model": WIDTH, "scale_embedding": True},
        **{f"{side}_{key}": n for side in ("encoder", "decoder") for key, n in (("layers", 1), ("ffn_dim", INNER))},
        **{f"{side}_attention_heads": HEADS for side in ("encoder", "decoder")},
        **{"max_position_embeddings": LONGEST, "num_beams": 2, "max_length": 20, **settings},
    }


def make_t5(directory: Path, kind: str) -> Path:
    """Write a T5 (one matrix of embeddings for everything), an mT5 or a ByT5 (gated, with its own projection)."""
    directory.mkdir()
    torch.manual_seed(0)
    gated = kind != "t5"
    rows = 384
    if kind != "byt5":
        options = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "normalization_rule_name": "identity"}
        rows = len(train_pieces(directory / "spiece.model", LINES, **options)) + (0 if gated else 100)
    named = {"t5": {}, "mt5": {"extra_ids": 0}, "byt5": {"tokenizer_class": "ByT5Tokenizer"}}[kind]
    write_json(directory / "tokenizer_config.json", named)
    config = {
        **{"model_type": "mt5" if kind == "mt5" else "t5", "vocab_size": rows, "d_model": WIDTH, "d_ff": INNER},
        **{"d_kv": 6, "num_heads": HEADS, "num_layers": 1, "decoder_start_token_id": 0, "max_length": 20},
        **{"feed_forward_proj": "gated-gelu" if gated else "relu", "tie_word_embeddings": not gated},
    }
    write_json(directory / "config.json", config)
    shape = {"head_width": 6, "activation": "geglu" if gated else "relu", "positions": "relative", "norm": "pre"}
    weights = random_weights(shape, t5.NAMES, rows)
    if gated:
        weights = {name.replace("DenseReluDense.wi.", "DenseReluDense.wi_1."): each for name, each in weights.items()}
        weights |= {name.replace(".wi_1.", ".wi_0."): each * -1 for name, each in weights.items() if ".wi_1." in name}
        weights["lm_head.weight"] = torch.randn(rows, WIDTH)
    for side in ("encoder", "decoder"):
        table = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        weights[table] = torch.randn(32, HEADS)
    weights["shared.weight"] = torch.randn(rows, WIDTH)
    save_file(weights, directory / "model.safetensors")
    return directory


def make_marian(directory: Path) -> Path:
    """Write a Marian model, and the options of its search."""
    marian_models.make(directory)
    options = {"models": ["model.npz"], "vocabs": ["vocab.yml"] * 2, "beam-size": 6, "normalize": 0.6}
    (directory / "decoder.yml").write_text(marian_models.as_yaml(options))
    return directory


DIRECTORIES: dict[str, Callable[[Path], Path]] = {
    "marianmt": make_opus_mt,
    "marian": make_marian,
    **{kind: lambda directory, kind=kind: make_multilingual(directory, kind) for kind in LANGUAGES},
    "bart": make_bart,
    **{kind: lambda directory, kind=kind: make_t5(directory, kind) for kind in T5},
}
"""What writes a directory of each family."""
FAMILIES = (*DIRECTORIES, "nn.Transformer")


def make_with_tokenizer_json(directory: Path, family: str) -> Path:
    """Write a BART, an M2M-100 or a T5 whose tokenizer is in a tokenizer.json alone."""
    DIRECTORIES[family](directory)
    if family == "bart":
        replaced = ["vocab.json", "merges.txt"]
        engine = ByteLevelBPETokenizer(*(str(directory / name) for name in replaced))
        engine.add_special_tokens(SPECIAL)
    elif family == "t5":
        replaced = ["spiece.model"]
        pieces = read_pieces(directory / replaced[0])
        engine = unigram(pieces, [name for name, _ in pieces[:3]])
    else:
        replaced = ["vocab.json", "sentencepiece.bpe.model"]
        first = [(name, 0.0) for name in FAIRSEQ]
        engine = unigram([*first, *read_pieces(directory / replaced[1])[3:]], [*FAIRSEQ, *LANGUAGES[family]])
    for name in replaced:
        (directory / name).unlink()
    engine.save(str(directory / "tokenizer.json"))
    return directory


def unigram(pieces: Sequence[tuple[str, float]], special: Sequence[str]) -> Engine:
    """As `transformers` converts a unigram SentencePiece model."""
    engine = Engine(models.Unigram([*pieces], [name for name, _ in pieces].index("<unk>")))
    engine.normalizer = normalizers.Sequence([normalizers.Replace(Regex(" {2,}"), " ")])
    engine.pre_tokenizer = pre_tokenizers.Metaspace()
    engine.add_special_tokens([*special])
    return engine


def imported(family: str, folder: Path) -> Translator:
    """A model of the family, imported into a folder."""
    if family == "nn.Transformer":
        made = from_state_dict(state_dict(), heads=HEADS, source_tokens=WORDS)
        zhuyi.save(made, folder / "imported")
    else:
        zhuyi.import_model(DIRECTORIES[family](folder / "original"), folder / "imported")
    # The native engine has no relative positions.
    return zhuyi.load(folder / "imported", engine="torch" if family in T5 else "native", device="cpu")


def lines_of(family: str) -> list[str]:
    """Some that a model of the family has words for."""
    if family == "marian":
        return marian_models.lines(3)
    return ["a dog", "dog a dog", "dog"] if family == "nn.Transformer" else LINES[:3]


WORDS = ["<pad>", "<unk>", "<bos>", "<eos>", "a", "dog"]


def state_dict() -> dict[str, Tensor]:
    """Of `torch.nn.Transformer`, with an embedding and a projection of `WORDS`."""
    torch.manual_seed(0)
    blocks = torch.nn.Transformer(WIDTH, HEADS, 1, 1, INNER, batch_first=True)
    ends = {f"{name}.weight": torch.randn(len(WORDS), WIDTH) for name in ("embedding", "generator")}
    return {**blocks.state_dict(), **ends, "generator.bias": torch.randn(len(WORDS))}


def train_pieces(path: Path, lines: Sequence[str], **options: Any) -> list[str]:
    """Write a SentencePiece model that was learnt from these lines, and give its pieces."""
    written = io.BytesIO()
    few = {"vocab_size": 60, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=written, **{**few, **options})
    path.write_bytes(written.getvalue())
    return [name for name, _ in read_pieces(path)]


def read_pieces(path: Path) -> list[tuple[str, float]]:
    """The pieces of a SentencePiece model, and their scores."""
    model = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    return [(model.id_to_piece(i), model.get_score(i)) for i in range(len(model))]


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def random_weights(shape: dict[str, Any], names: Names, rows: int) -> dict[str, Tensor]:
    """Of the maps and norms of a model, by the other program's names."""
    sizes = {"width": WIDTH, "heads": HEADS, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": INNER}
    model = build_config({"model": sizes | shape}).model
    theirs = names.ours_to_theirs(model)
    return {
        f"{theirs[part]}.{kind}": 0.3 * torch.randn_like(parameter) + (part.endswith("norm") and kind == "weight")
        for name, parameter in Transformer(model, rows).named_parameters()
        for part, kind in [name.rsplit(".", 1)]
        if part in theirs
    }
