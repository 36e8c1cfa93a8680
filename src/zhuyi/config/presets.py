"""The presets: tables of settings under a user's own."""

from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Our choice, and the defaults above.
    "modern": {},
    # The base model of Vaswani et al. 2017, sections 3 and 5: exactly.
    "paper": {
        "text": {"kind": "bpe", "vocabulary": 37000, "shared": True},
        "model": {
            "width": 512,
            "heads": 8,
            "encoder_layers": 6,
            "decoder_layers": 6,
            "feed_forward": 2048,
            "activation": "relu",
            "dropout": 0.1,
            "positions": "sinusoidal",
            "norm": "post",
            "norm_kind": "layer",
            "bias": "feed_forward",
            "tie": "all",
        },
        "training": {
            "steps": 100_000,
            "tokens_per_batch": 50_000,
            "learning_rate": 512**-0.5 * 4000**-0.5,
            "warmup": 4000,
            "schedule": "inverse_sqrt",
            "label_smoothing": 0.1,
            "clip": 0.0,
            "beta1": 0.9,
            "beta2": 0.98,
            "epsilon": 1e-9,
            "weight_decay": 0.0,
            "optimizer": "adamw",
            "ema": 0.0,
            "average": 5,
            "average_of": "last",
        },
        "decoding": {"beam": 4, "length_penalty": 0.6},
    },
    # The size that Wu et al. 2021 found best for Multi30k: 2.6 million parameters with 10k pieces.
    "tiny": {
        "model": {
            "width": 128,
            "heads": 4,
            "encoder_layers": 4,
            "decoder_layers": 4,
            "feed_forward": 256,
            "activation": "relu",
            "dropout": 0.3,
        },
    },
}
