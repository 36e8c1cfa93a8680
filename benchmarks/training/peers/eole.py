"""eole: its own trainer on text that is segmented already; batches by tokens, sorted within a bucket.

eole         float32
eole-bf16    compute_dtype: bf16
"""

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


def configuration(run: Run, bf16: bool) -> dict[str, Any]:
    """What would be in the YAML file."""
    size = run.sizes
    vocabulary = str(run.scratch / "vocabulary.txt")
    return {
        "data": {"train": {"path_src": str(run.data / "train.source"), "path_tgt": str(run.data / "train.target")}},
        "src_vocab": vocabulary,
        "tgt_vocab": vocabulary,
        "share_vocab": True,
        "src_vocab_size": 10**6,
        "tgt_vocab_size": 10**6,
        "transforms": [],
        "seed": run.seed,
        "report_every": 100,
        "model": {
            "architecture": "transformer",
            "layers": size.layers,
            "heads": size.heads,
            "hidden_size": size.width,
            "transformer_ff": size.feed_forward,
            "share_embeddings": True,
            "share_decoder_embeddings": True,
            "embeddings": {"word_vec_size": size.width, "position_encoding_type": "SinusoidalInterleaved"},
        },
        "training": {
            "model_path": str(run.scratch / "model"),
            "world_size": int(run.device == "cuda"),
            "gpu_ranks": [0] if run.device == "cuda" else [],
            "compute_dtype": "bf16" if bf16 else "fp32",
            "dropout": [size.dropout],
            "dropout_steps": [0],
            "attention_dropout": [0.0],
            "label_smoothing": SMOOTHING,
            "optim": "adam",
            "adam_beta2": 0.98,
            "decay_method": "noam",
            "warmup_steps": WARMUP,
            "learning_rate": 2,
            "batch_type": "tokens",
            "batch_size": run.tokens,
            "batch_size_multiple": 1,
            "normalization": "tokens",
            "bucket_size": 262144,
            "num_workers": 0,
            "accum_count": [1],
            "accum_steps": [0],
            "train_steps": 10**6,
            "save_checkpoint_steps": 10**6,
            "valid_steps": 10**6,
        },
    }


def main() -> None:
    run = arguments()
    pieces = Corpus(run.data).vocabulary
    (run.scratch / "vocabulary.txt").write_text("".join(f"{piece}\t1\n" for piece in pieces[4:]), encoding="utf-8")

    from eole.bin.run.train import train
    from eole.config.run import TrainConfig
    from eole.models.model import EncoderDecoderModel

    bf16 = run.system.endswith("-bf16") or run.device == "cuda"
    meter = Meter(run)
    parameters = 0

    def count(
        model: Any, source: torch.Tensor, target: torch.Tensor, lengths: torch.Tensor, *_: Any, **__: Any
    ) -> None:
        # The source has no EOS here; it is counted as one token all the same, as for everybody.
        nonlocal parameters
        parameters = parameters or sum(each.numel() for each in model.parameters())
        pairs, written = target.shape[0], target.shape[1] - 1
        used = (target[:, 1:] != model.tgt_pad_idx).sum()
        meter.count(lengths.sum() + pairs, used, pairs * (source.shape[1] + 1 + written))

    before_each_forward(EncoderDecoderModel, count)
    after_each_update(meter)
    try:
        train(TrainConfig(**configuration(run, bf16)))
    except TimeUp:
        flags = "by tokens, sorted in buckets of 262,144, tied embeddings"
        meter.report(parameters, "bf16" if bf16 else "float32", flags, "eole")
        leave()


if __name__ == "__main__":
    main()
