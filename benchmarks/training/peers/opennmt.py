"""OpenNMT-py: its own trainer on text that is segmented already; batches by tokens, sorted within a bucket."""

import sys
from pathlib import Path
from typing import Any

import torch
from peers.common import (
    SMOOTHING,
    WARMUP,
    Corpus,
    Meter,
    Run,
    TimeUp,
    after_each_update,
    arguments,
    before_each_forward,
    leave,
)


def command(run: Run, vocabulary: Path) -> list[str]:
    """The options of onmt_train."""
    size = run.sizes
    config = run.scratch / "data.yaml"
    config.write_text(
        f"data:\n  train:\n    path_src: {run.data / 'train.source'}\n    path_tgt: {run.data / 'train.target'}\n"
    )
    options: dict[str, Any] = {
        "config": config,
        "src_vocab": vocabulary,
        "tgt_vocab": vocabulary,
        "save_model": run.scratch / "model",
        "encoder_type": "transformer",
        "decoder_type": "transformer",
        "enc_layers": size.layers,
        "dec_layers": size.layers,
        "heads": size.heads,
        "hidden_size": size.width,
        "word_vec_size": size.width,
        "transformer_ff": size.feed_forward,
        "dropout": size.dropout,
        "attention_dropout": 0,
        "label_smoothing": SMOOTHING,
        "param_init": 0,
        "optim": "adam",
        "adam_beta2": 0.98,
        "decay_method": "noam",
        "warmup_steps": WARMUP,
        "learning_rate": 2,
        "batch_type": "tokens",
        "batch_size": run.tokens,
        "normalization": "tokens",
        "bucket_size": 262144,
        "bucket_size_init": -1,
        "num_workers": 0,
        "accum_count": 1,
        "train_steps": 10**6,
        "save_checkpoint_steps": 10**6,
        "valid_steps": 10**6,
        "report_every": 100,
        "seed": run.seed,
    }
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    flags = [
        "--share_vocab",
        "--share_embeddings",
        "--share_decoder_embeddings",
        "--position_encoding",
        "--param_init_glorot",
    ]
    if run.device == "cuda":
        flags += ["--world_size", "1", "--gpu_ranks", "0", "--model_dtype", "fp16"]
    return [*words, *flags]


def main() -> None:
    run = arguments()
    vocabulary = run.scratch / "vocabulary.txt"
    pieces = Corpus(run.data).vocabulary
    vocabulary.write_text("".join(f"{piece}\t1\n" for piece in pieces[4:]), encoding="utf-8")

    from onmt.bin.train import _get_parser, train
    from onmt.models.model import NMTModel

    meter = Meter(run)
    parameters = 0

    def count(model: torch.nn.Module, source: Any, target: Any, lengths: Any, *_: Any, **__: Any) -> None:
        # The source has no EOS here; it is counted as one token all the same, as for everybody.
        nonlocal parameters
        parameters = parameters or sum({id(each): each.numel() for each in model.parameters()}.values())
        pairs, written = source.shape[0], target.shape[1] - 1
        used = (target[:, 1:] != pad).sum()
        meter.count(lengths.sum() + pairs, used, pairs * (source.shape[1] + 1 + written))

    pad = 1
    before_each_forward(NMTModel, count)
    after_each_update(meter)
    sys.argv = ["onmt_train"]
    options, _ = _get_parser().parse_known_args(command(run, vocabulary))
    try:
        train(options)
    except TimeUp:
        precision = "fp16" if run.device == "cuda" else "float32"
        flags = "by tokens, sorted in buckets of 262,144, tied embeddings"
        meter.report(parameters, precision, flags, "OpenNMT-py")
        leave()


if __name__ == "__main__":
    main()
