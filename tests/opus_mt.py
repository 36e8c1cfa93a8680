"""A directory as those of OPUS-MT, with random weights: what `zhuyi import` can be tried on without `transformers`."""

import io
import json
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file

from zhuyi.config import build_config
from zhuyi.interop.huggingface import NAMES
from zhuyi.model.transformer import Transformer

LINES = [f"{who} {what} {where}" for who in ("a dog", "two cats") for what in ("runs", "sleeps") for where in ("", ".")]


def make_opus_mt(directory: Path) -> Path:
    """Write a MarianMT model with two languages as targets."""
    directory.mkdir()
    pieces = ["</s>", "<unk>"]
    for side in ("source", "target"):
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([line if side == "source" else line.upper() for line in LINES]),
            model_writer=written,
            **{"vocab_size": 60, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1},
        )
        (directory / f"{side}.spm").write_bytes(written.getvalue())
        model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
        found = [model.id_to_piece(i) for i in range(3, len(model))]
        pieces += [piece for piece in found if piece not in pieces]
    pieces += [">>deu<<", ">>fra<<", "<pad>"]
    pad, width = len(pieces) - 1, 16
    config = {
        **{"model_type": "marian", "vocab_size": len(pieces), "d_model": width, "activation_function": "swish"},
        **{f"{side}_{key}": n for side in ("encoder", "decoder") for key, n in (("layers", 1), ("attention_heads", 2))},
        **{"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "scale_embedding": True, "max_position_embeddings": 64},
        **{"pad_token_id": pad, "eos_token_id": 0, "decoder_start_token_id": pad, "forced_eos_token_id": 0},
        **{"num_beams": 2, "max_length": 20},
    }
    for name, content in (("vocab.json", {piece: i for i, piece in enumerate(pieces)}), ("config.json", config)):
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    (directory / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# A model\n", encoding="utf-8")
    section = {"width": width, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 24}
    section |= {"norm": "post", "norm_kind": "layer", "bias": "all", "activation": "silu", "positions": "sinusoidal"}
    shape = build_config({"model": section}).model
    draw = torch.Generator().manual_seed(0)
    weights = {
        f"{NAMES.ours_to_theirs(shape)[part]}.{kind}": torch.randn(parameter.shape, generator=draw) * 0.3
        for name, parameter in Transformer(shape, len(pieces)).named_parameters()
        for part, kind in [name.rsplit(".", 1)]
        if part in NAMES.ours_to_theirs(shape)
    }
    weights["model.shared.weight"] = torch.randn(len(pieces), width, generator=draw)
    weights["final_logits_bias"] = torch.randn(1, len(pieces), generator=draw)
    save_file(weights, directory / "model.safetensors")
    return directory
