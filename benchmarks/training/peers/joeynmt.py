"""Joey NMT: its own trainer on segmented text; batches by tokens in random order (it has no sorting)."""

from typing import Any

from peers.common import (
    BETAS,
    SMOOTHING,
    WARMUP,
    Meter,
    Run,
    TimeUp,
    after_each_update,
    arguments,
    before_each_forward,
    leave,
)


def configuration(run: Run) -> dict[str, Any]:
    """What would be in the YAML file."""
    size = run.sizes
    side = {
        "embeddings": {"embedding_dim": size.width, "scale": True, "dropout": size.dropout},
        "type": "transformer",
        "num_layers": size.layers,
        "num_heads": size.heads,
        "hidden_size": size.width,
        "ff_size": size.feed_forward,
        "dropout": size.dropout,
        "layer_norm": "pre",
    }
    text = {"level": "word", "max_length": 512, "voc_file": str(run.data / "vocabulary.txt")}
    train, dev = f"{run.data}/train", f"{run.data}/dev"
    return {
        "name": "comparison",
        "model_dir": str(run.scratch),
        "use_cuda": run.device == "cuda",
        "fp16": run.device == "cuda",
        "random_seed": run.seed,
        "normalization": "tokens",
        "data": {
            "train": train,
            "dev": dev,
            "dataset_type": "plain",
            "src": {"lang": "source", **text},
            "trg": {"lang": "target", **text},
            "special_symbols": {
                "unk_token": "<unk>",
                "pad_token": "<pad>",
                "bos_token": "<s>",
                "eos_token": "</s>",
                "unk_id": 0,
                "pad_id": 1,
                "bos_id": 2,
                "eos_id": 3,
            },
        },
        "testing": {"eval_metrics": ["bleu"]},
        "training": {
            "optimizer": "adam",
            "adam_betas": list(BETAS),
            "learning_rate": run.rate,
            "learning_rate_warmup": WARMUP,
            "scheduling": "warmupinversesquareroot",
            "learning_rate_min": 1e-12,
            "normalization": "tokens",
            "label_smoothing": SMOOTHING,
            "clip_grad_norm": 1.0,
            "batch_type": "token",
            "batch_size": run.tokens,
            "epochs": 10**6,
            "updates": 10**6,
            "logging_freq": 10**6,
            "validation_freq": 10**6,
            "shuffle": True,
        },
        "model": {
            "initializer": "xavier_uniform",
            "embed_initializer": "xavier_uniform",
            "tied_embeddings": True,
            "tied_softmax": True,
            "encoder": side,
            "decoder": side,
        },
    }


def main() -> None:
    run = arguments()

    from joeynmt.model import Model
    from joeynmt.training import train

    meter = Meter(run)
    parameters = 0

    def count(model: Any, src: Any = None, src_length: Any = None, trg: Any = None, **_: Any) -> None:
        nonlocal parameters
        parameters = parameters or sum(each.numel() for each in model.parameters())
        meter.count(src_length.sum(), (trg != model.pad_index).sum(), src.numel() + trg.numel())

    before_each_forward(Model, count)
    after_each_update(meter)
    try:
        train(rank=0, world_size=0, cfg=configuration(run), skip_test=True)
    except TimeUp:
        precision = "fp16" if run.device == "cuda" else "float32"
        meter.report(parameters, precision, "by tokens, random order, tied embeddings", "joeynmt")
        leave()


if __name__ == "__main__":
    main()
