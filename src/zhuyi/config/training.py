"""The section [training]: the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zhuyi.config.data import FileSpec
from zhuyi.config.section import MANY, Section

Metric = Literal["bleu", "chrf", "wer", "per", "exact", "bits_per_byte", "accuracy", "macro_f1", "span_f1"]

METRICS_OF: Mapping[str, tuple[Metric, ...]] = {
    "pairs": ("bleu", "chrf", "wer", "per", "exact"),
    "labels": ("accuracy", "macro_f1", "span_f1"),
    "running text": ("bits_per_byte",),
    "masked tokens": ("accuracy",),
}
"""The metrics of what a model may write."""


class TrainingConfig(Section):
    """One run: how long, how fast, and what is kept."""

    start_from: FileSpec | None = Field(
        None,
        description="A zhuyi model directory, whose weights and tokenizers the run begins with. Where they are not "
        "set, the settings of model, text and decoding are that model's, and so are optimizer (with beta1, beta2, "
        "epsilon and weight_decay), label_smoothing and metric; learning_rate is a tenth of that model's, and warmup "
        "50. Relative to the file that says it.",
    )
    freeze: tuple[str, ...] = Field(
        (),
        strict=False,  # TOML and JSON have lists
        description="Parts of the model that stay as they are: encoder, decoder, embeddings, projection, a block such "
        'as "decoder.blocks.0" (the first one), or anything that has a name in model.safetensors. A tied matrix is '
        "frozen under each of its names.",
    )
    steps: int | None = Field(
        None, ge=1, le=MANY, description="Budget in updates. The first budget reached ends the run."
    )
    epochs: float | None = Field(None, ge=1e-9, le=1e6, description="Budget in passes over the data.")
    minutes: float | None = Field(None, ge=1e-6, le=1e7, description="Budget in minutes. With no budget at all: 30.")
    tokens_per_batch: int = Field(
        2048,
        ge=1,
        le=MANY,
        description="Source + target tokens of a batch, padding counted; batches hold lines of similar length. The "
        "default suits a CPU and 8,000 to 30,000 pairs, where more updates gain more than larger batches. Raise it for "
        "a GPU, which small batches do not keep busy.",
    )
    accumulate: int = Field(
        1,
        ge=1,
        le=10**6,
        description="Batches whose gradients make one update, in one process or dealt out to many (torchrun): "
        "with N GPUs, N here keeps each of them as busy as one GPU alone.",
    )
    shard: bool = Field(
        False,
        description="Of several processes each keeps a part of weights and optimiser (FSDP2), not all of them (DDP): "
        "for models that are too large for one GPU.",
    )
    objective: Literal["likelihood", "masked"] = Field(
        "likelihood",
        description="likelihood: the target's tokens, or the labels. masked: tokens of the source that are masked "
        "(Devlin et al. 2019), to pre-train the encoder shape on data.text; a run with start_from goes on from there.",
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "muon", description="Muon for the matrices of the blocks and AdamW for the rest, or AdamW for all weights."
    )
    learning_rate: float = Field(1e-3, ge=1e-12, le=10, description="Peak learning rate.")
    warmup: int = Field(400, ge=0, le=MANY, description="Updates until the peak.")
    schedule: Literal["inverse_sqrt", "cosine", "linear", "constant"] = Field(
        "cosine", description="After the peak: ∝ 1/√step (Noam), cosine or line to zero at the end of the budget, flat."
    )
    label_smoothing: float = Field(0.1, ge=0.0, lt=1.0, description="Mass spread evenly over the vocabulary.")
    clip: float = Field(1.0, ge=0.0, le=1e6, description="Largest norm of the gradient; 0: no clipping.")
    beta1: float = Field(0.9, ge=0.0, lt=1.0, description="AdamW: decay of the first moment (β₁).")
    beta2: float = Field(0.98, ge=0.0, lt=1.0, description="AdamW: decay of the second moment (β₂).")
    epsilon: float = Field(1e-9, ge=1e-30, le=1, description="AdamW: added to the root of the squared gradient.")
    weight_decay: float = Field(
        0.5,
        ge=0.0,
        le=10,
        description="Decay of matrices (not of norms and biases), times the learning rate. The default was chosen on "
        "8,000 to 30,000 pairs and many epochs over them.",
    )
    save_every: int | None = Field(
        None,
        ge=1,
        le=MANY,
        description="Updates between checkpoints; each is validated. Unset: a twentieth of the budget.",
    )
    keep: int = Field(
        5,
        ge=1,
        le=MANY,
        description="Newest checkpoints kept on disk. The best, and those to be averaged, are kept besides.",
    )
    keep_at: tuple[Annotated[int, Field(ge=0, le=MANY)], ...] = Field(
        (),
        strict=False,  # TOML and JSON have lists
        description="Updates with a checkpoint of their own, which is kept: [0, 10, 20, 40, 80] shows what is learnt "
        "first. 0 is before the first update.",
    )
    average: int = Field(
        5,
        ge=1,
        le=MANY,
        description="Checkpoints whose weights are averaged at the end; used if it scores better. 1: none.",
    )
    average_of: Literal["last", "best"] = Field("last", description="Average the last checkpoints, or the best ones.")
    metric: Metric = Field(
        "bleu",
        description="The decoded score on the dev set that chooses the best checkpoint: bleu, chrf, wer, per or exact; "
        "of labels accuracy, macro_f1 or span_f1. Unset: bleu; accuracy in the encoder shape; bits_per_byte of running "
        "text.",
    )
    ema: float = Field(
        0.998,
        ge=0.0,
        lt=1.0,
        description="Decay of an exponential moving average of the weights (EMA): it is validated and kept. 0: none.",
    )
    patience: int | None = Field(
        None, ge=1, le=MANY, description="Validations without a better score before the run ends. Unset: never."
    )
    log_every: int = Field(50, ge=1, le=MANY, description="Updates between lines of metrics.jsonl.")
    tensorboard: bool = Field(False, description="Write TensorBoard events too (extra: tensorboard).")
    seed: int = Field(1, ge=0, le=2**63 - 1, description="Seed of initialisation, dropout and the order of the data.")
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto", description="Matrix products in bf16 where the machine has them, or float32."
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="CPU threads. Unset: as many as a short trial finds fastest (often one, for a small model). Set it "
        "where two runs must give the same bytes: sums depend on it in their last bits.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train. auto: the GPU if there is one.")
    deterministic: bool = Field(
        False,
        description="The same bytes from the same run on a GPU too, at some cost in speed. On a CPU they are, with the "
        "same training.threads.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        if isinstance(values, dict) and all(values.get(key) is None for key in ("steps", "epochs", "minutes")):
            return {**values, "minutes": 30.0}
        return values
