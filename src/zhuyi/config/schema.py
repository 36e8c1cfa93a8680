"""The sections of a configuration: every setting, its type, its bounds, its default and what it means.

Each section goes to the package that bears its name, and to no other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    ValidationInfo,
    WrapValidator,
    field_validator,
    model_validator,
)

from zhuyi.config.presets import PRESETS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TokenKind = Literal["bpe", "unigram", "character", "whitespace"]
Normalization = Literal["nfc", "none"]
Whitespace = Literal["collapse", "keep"]
MixerKind = Literal["attention", "convolution", "recurrence"]
Part = Literal["mask", "positions", "residual", "norm", "scaling", "cross", "begin", "end", "shift", "warmup"]
Shape = Literal["encoder-decoder", "decoder", "encoder"]
Metric = Literal["bleu", "chrf", "wer", "per", "exact", "bits_per_byte", "accuracy", "macro_f1", "span_f1"]
METRICS_OF: Mapping[str, tuple[Metric, ...]] = {
    "pairs": ("bleu", "chrf", "wer", "per", "exact"),
    "labels": ("accuracy", "macro_f1", "span_f1"),
    "running text": ("bits_per_byte",),
    "masked tokens": ("accuracy",),
}
"""The metrics of what a model may write."""
SearchStrategy = Literal["beam", "sampling"]
EngineName = Literal["native", "torch"]
Precision = Literal["float32", "bf16", "int8"]

NOT_IN_SHAPE: dict[Shape, tuple[Part, ...]] = {
    "encoder-decoder": (),
    "decoder": ("cross",),
    "encoder": ("mask", "cross", "begin", "end", "shift"),
}
"""The parts that a shape has not, so that they cannot be taken away."""

# Numbers have bounds far outside of what any run wants, and well inside of what float32, float64, int64, the clock and
# the memory of a large machine can take: what a configuration lets through can be computed with.
MANY = 10**9
"""Most updates, and most of anything that is counted in updates or checkpoints."""


def _each_side(values: Mapping[str, Any], both: str, *sides: str, default: str) -> dict[str, Any]:
    """`values` with the setting for both sides in each side that has none of its own."""
    common = values.get(both, default)
    return {**values, **{side: common for side in sides if values.get(side) is None}}


class Section(BaseModel):
    """A part of the configuration: frozen, strict about types, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _note_what_was_set(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """In `model_fields_set` are the keys that were given, and not those that follow from others."""
        section = validate(values)
        if isinstance(values, Mapping):
            section.model_fields_set.intersection_update(values)
            for name, found in section:  # sections of the whole configuration: some keys follow from another section
                if isinstance(found, Section) and not isinstance(given := values.get(name) or {}, Section):
                    found.model_fields_set.intersection_update(given)
        return section


def readable(name: str) -> str:
    """A name as UTF-8 can hold it: a byte of it that is no character (PEP 383) is shown as `\\udc..`."""
    return name.encode(errors="backslashreplace").decode()


def _settings(section: Any) -> Mapping[str, Any] | None:
    """The settings of a section that has not been validated yet; None, if it is no section."""
    if isinstance(section, Section):
        return section.model_dump(exclude_unset=True)
    return section if isinstance(section, Mapping) else {} if section is None else None


FileSpec = Annotated[
    str,
    WrapValidator(lambda value, validate: value if isinstance(value, str) else validate(value)),
    PlainSerializer(readable, when_used="json"),
]
"""A file's name may be any bytes, which pydantic's strings may not; in JSON it is as readable as it can be."""


LANGUAGES = ("source_language", "target_language")
"""The keys of [data] that name languages."""
_LANGUAGE_TAG = re.compile(
    "[a-z]{2,3}(-[a-z]{3}){0,3}(-[a-z]{4})?(-([a-z]{2}|[0-9]{3}))?(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"
    "(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?|x(-[a-z0-9]{1,8})+",
    re.IGNORECASE | re.ASCII,
)
"""Language, script, region, variants, extensions, private use: RFC 5646, section 2.1, except for what is not in use."""


class DataConfig(Section):
    """Where the pairs or the running text come from, and what happens to pairs that cannot be trained on."""

    source: FileSpec | None = Field(
        None,
        description="Training source: a text file, one sentence a line (.gz, .xz, .zst too), or "
        "FILE#FIELD for a column of .tsv or .csv (number from 1, or header name), a field of .jsonl or "
        ".parquet, or hub:DATASET[/CONFIG]/SPLIT#FIELD. The last part of a path may be a pattern: "
        "shards/*.en.zst is all files that match, and each belongs to the target file for whose pattern the wildcards "
        "match the same. Relative to the file that says it.",
    )
    target: FileSpec | None = Field(None, description="Training target, aligned with the source.")
    dev_source: FileSpec | None = Field(None, description="Validation source (decides the best checkpoint).")
    dev_target: FileSpec | None = Field(None, description="Validation target.")
    test_source: FileSpec | None = Field(None, description="Test source: checked for leaks, scored once at the end.")
    test_target: FileSpec | None = Field(None, description="Test target.")
    text: FileSpec | None = Field(
        None,
        description="Running text to learn the language of, in place of pairs: files as for data.source. Every line "
        "ends with a line break, and so does every field (a document) of a table. It is learnt in windows of "
        "model.max_length - 1 tokens, across lines and files.",
    )
    dev_text: FileSpec | None = Field(None, description="Running text for validation. Unset: the end of data.text.")
    dev_share: float = Field(
        0.1,
        ge=0.0,
        lt=1.0,
        description="Share of data.text, in characters, that is left for validation where data.dev_text is unset: its "
        "end, from the first line that begins there. 0: none.",
    )
    long_lines: Literal["error", "skip", "truncate"] = Field(
        "skip", description="Training pairs longer than model.max_length: stop, leave out (counted), or cut (counted)."
    )

    source_language: str | None = Field(
        None, description="Language of the source (BCP 47: en, pt-BR, zh-Hant); kept in the model, and nothing more."
    )
    target_language: str | None = Field(None, description="Language of the target.")

    @field_validator(*LANGUAGES)
    @classmethod
    def _well_formed(cls, tag: str | None, info: ValidationInfo) -> str | None:
        if tag is not None and not _LANGUAGE_TAG.fullmatch(tag):
            key = f"data.{info.field_name}"
            raise ValueError(f"{key} = {tag!r} is not a language tag (BCP 47) such as en, pt-BR or zh-Hant")
        return tag

    @model_validator(mode="after")
    def _text_or_pairs(self) -> DataConfig:
        if self.dev_text is not None and self.text is None:
            raise ValueError("data.dev_text needs data.text: name the text to be trained on")
        for name in ("text", "dev_text"):
            if getattr(self, name) == "":
                raise ValueError(f"data.{name} is empty: name a file, or leave it out")
        for part in ("", "dev_", "test_"):
            if self.text is not None and getattr(self, f"{part}source") is not None:
                raise ValueError(
                    f"data.text and data.{part}source are both set: a run learns from running text or from pairs; "
                    "leave one of them out"
                )
        return self

    @model_validator(mode="after")
    def _sides_come_in_pairs(self) -> DataConfig:
        for name in ("", "dev_", "test_"):
            source, target = getattr(self, f"{name}source"), getattr(self, f"{name}target")
            if (source is None) != (target is None):
                missing = f"{name}target" if target is None else f"{name}source"
                raise ValueError(f"data.{missing} is missing: source and target come in pairs")
            if "" in (source, target):
                raise ValueError(
                    f"data.{name}{'target' if source else 'source'} is empty: name a file, or leave it out"
                )
        return self


class TextConfig(Section):
    """How a line becomes tokens."""

    kind: TokenKind = Field(
        "bpe",
        description="bpe (pieces learned by merging, bytes for the unseen), unigram (pieces of a language model), "
        "character, or whitespace (already segmented text, phones).",
    )
    source_kind: TokenKind | None = Field(None, description="Kind of the source side, if not text.kind.")
    target_kind: TokenKind | None = Field(None, description="Kind of the target side, if not text.kind.")
    vocabulary: int = Field(
        8000, ge=8, le=2**20, description="Most tokens in a vocabulary (both sides together when shared)."
    )
    shared: bool | None = Field(
        None, description="One vocabulary for both sides. Unset: true when both sides are of the same kind."
    )
    lowercase: bool = Field(False, description="Lower-case everything, in training and in use.")
    normalization: Normalization = Field(
        "nfc",
        description="nfc: characters are composed (Unicode NFC), so that one text is one sequence of tokens however it "
        "was typed. none: they are read and written as the data have them.",
    )
    whitespace: Whitespace | None = Field(
        None,
        description="collapse: a run of white space is one space, and there is none at the ends of a line. keep: white "
        "space is text like any other, line breaks and indentation too (but kind whitespace has no tokens for it). "
        "Unset: keep for running text (data.text), collapse for pairs.",
    )
    mask: bool = Field(False, description="The vocabulary has the token <mask>, as masked pre-training needs it.")
    bpe_dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of BPE merges left out at random, redrawn each epoch (Provilkov 2020)."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        filled = _each_side(values, "kind", "source_kind", "target_kind", default="bpe")
        if filled.get("shared") is None:
            filled["shared"] = filled["source_kind"] == filled["target_kind"]
        if filled.get("whitespace") is None:
            filled["whitespace"] = "collapse"
        return filled

    @model_validator(mode="after")
    def _possible(self) -> TextConfig:
        if self.shared and self.source_kind != self.target_kind:
            raise ValueError("text.shared = true needs text.source_kind and text.target_kind to be the same")
        if self.bpe_dropout and "bpe" not in (self.source_kind, self.target_kind):
            raise ValueError('text.bpe_dropout needs text.kind = "bpe" on at least one side')
        if self.whitespace == "keep" and self.source_kind == self.target_kind == "whitespace":
            raise ValueError(
                'text.whitespace = "keep" needs tokens of white space, which text.kind = "whitespace" has not: set '
                'text.whitespace = "collapse", or another kind'
            )
        return self


class ModelConfig(Section):
    """The Transformer and its options (Vaswani et al. 2017 and after)."""

    shape: Shape = Field(
        "encoder-decoder",
        description="Which stacks there are. encoder-decoder: source → target. decoder: one sequence, source BOS "
        "target (GPT), or running text (data.text). encoder: a label for each line, or each token, of the source "
        "(BERT).",
    )
    labels: Literal["line", "token"] = Field(
        "line", description="Shape encoder: one label a line (classification), or one a token (tagging)."
    )
    width: int = Field(256, ge=2, le=2**16, description="d_model: length of every vector between blocks.")
    heads: int = Field(4, ge=1, le=2**16, description="Attention heads; each is width / heads wide.")
    key_value_heads: int | None = Field(
        None, ge=1, le=2**16, description="Heads of keys and values (grouped-query attention). Unset: as many as heads."
    )
    encoder_layers: int = Field(4, ge=1, le=1000, description="Encoder blocks, in the shapes that have an encoder.")
    decoder_layers: int = Field(4, ge=1, le=1000, description="Decoder blocks, in the shapes that have a decoder.")
    feed_forward: int = Field(1024, ge=1, le=2**20, description="Inner width of the feed-forward layers.")
    activation: Literal["relu", "gelu", "swiglu"] = Field("swiglu", description="Non-linearity of the feed-forward.")
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="Dropout on embeddings and on every residual branch.")
    attention_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout on the attention weights.")
    feed_forward_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout inside the feed-forward.")
    positions: Literal["sinusoidal", "learned", "rotary", "alibi", "none"] = Field(
        "rotary",
        description="How order enters: sinusoids or a learned table added to the embeddings, rotated queries and keys, "
        "attention scores that fall with the distance (alibi: the encoder knows no direction), or not at all.",
    )
    norm: Literal["pre", "post"] = Field(
        "pre", description="Normalise before each sublayer, or after its residual sum (2017)."
    )
    norm_kind: Literal["layer", "rms"] = Field("rms", description="LayerNorm or RMSNorm.")
    bias: Literal["all", "feed_forward", "none"] = Field("none", description="Which linear maps have a bias.")
    tie: Literal["none", "output", "all"] = Field(
        "all",
        description="Which embeddings are one matrix: none; output (target embedding = output projection); all "
        "(source embedding too, where the vocabulary is shared).",
    )
    mixer: MixerKind = Field(
        "attention", description="What mixes the positions of a sequence: attention, convolution or recurrence."
    )
    encoder_mixer: MixerKind | None = Field(None, description="Mixer of the encoder, if not model.mixer.")
    decoder_mixer: MixerKind | None = Field(None, description="Mixer of the decoder, if not model.mixer.")
    kernel: int = Field(3, ge=1, le=2**16, description="Window of the convolution mixer, in positions.")
    max_length: int = Field(
        256,
        ge=2,
        le=2**16,
        description="Longest sequence in tokens, with its BOS or EOS: the one length limit, everywhere.",
    )
    without: tuple[Part, ...] = Field(
        (),
        strict=False,  # TOML and JSON have lists
        description="Parts that are taken away, to see what they are for: "
        f"{', '.join(get_args(Part))}. Such a model is broken on purpose, and torch computes it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        filled = _each_side(values, "mixer", "encoder_mixer", "decoder_mixer", default="attention")
        if filled.get("key_value_heads") is None:
            filled["key_value_heads"] = filled.get("heads", cls.model_fields["heads"].default)
        return filled

    @model_validator(mode="after")
    def _possible(self) -> ModelConfig:
        if self.width % self.heads:
            raise ValueError(f"model.width = {self.width} is not a multiple of model.heads = {self.heads}")
        if self.key_value_heads is not None and self.heads % self.key_value_heads:
            raise ValueError(
                f"model.heads = {self.heads} is not a multiple of model.key_value_heads = {self.key_value_heads}"
            )
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(
                f'model.positions = "rotary" needs an even width per head, not {self.head_width}: change model.width'
            )
        if "recurrence" in (self.encoder_mixer, self.decoder_mixer) and self.width % 2:
            raise ValueError(f'model.mixer = "recurrence" needs an even model.width, not {self.width}')
        if self.encoder_mixer == "convolution" and self.kernel % 2 == 0:
            raise ValueError(f"model.kernel = {self.kernel} must be odd, so that the encoder's window is centred")
        if absent := [part for part in self.without if part in NOT_IN_SHAPE[self.shape]]:
            raise ValueError(f'model.without names {absent[0]}, which model.shape = "{self.shape}" has not')
        if "mask" in self.without and self.decoder_mixer != "attention":
            raise ValueError(f'model.without names mask, which model.decoder_mixer = "{self.decoder_mixer}" has not')
        return self

    @field_validator("without", mode="before")
    @classmethod
    def _known_parts(cls, parts: Any) -> Any:
        if isinstance(parts, str):
            raise ValueError(f'model.without = {parts!r} is not a list of parts, such as ["mask"]')
        for part in parts if isinstance(parts, list | tuple) else ():
            if part not in get_args(Part):
                raise ValueError(f"model.without has no part {part!r}: the parts are {', '.join(get_args(Part))}")
        return parts

    @field_validator("without")
    @classmethod
    def _each_once(cls, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """In the order of `Part`: the order in which they are named means nothing."""
        if twice := [part for part in get_args(Part) if parts.count(part) > 1]:
            raise ValueError(f"model.without names {', '.join(twice)} twice")
        return tuple(sorted(parts, key=get_args(Part).index))

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    @property
    def groups(self) -> int:
        """Heads of keys and values: `key_value_heads`, or as many as `heads`."""
        return self.key_value_heads or self.heads

    @property
    def positions_limit(self) -> int:
        """Number of positions of a sequence: the decoder shape has a source and a target in one."""
        return self.max_length * (2 if self.shape == "decoder" else 1)

    def mixer_of(self, causal: bool) -> MixerKind:
        """The mixer of a causal stack (the decoder's), or of one that sees both directions (the encoder's)."""
        return (self.decoder_mixer if causal else self.encoder_mixer) or self.mixer


class TrainingConfig(Section):
    """One run: how long, how fast, and what is kept."""

    start_from: FileSpec | None = Field(
        None,
        description="A zhuyi model directory, whose weights and tokenizers the run begins with, and whose model and "
        "text settings it has where they are not set. Relative to the file that says it.",
    )
    steps: int | None = Field(
        None, ge=1, le=MANY, description="Budget in updates. The first budget reached ends the run."
    )
    epochs: float | None = Field(None, ge=1e-9, le=1e6, description="Budget in passes over the data.")
    minutes: float | None = Field(None, ge=1e-6, le=1e7, description="Budget in minutes. With no budget at all: 30.")
    tokens_per_batch: int = Field(
        8192,
        ge=1,
        le=MANY,
        description="Source + target tokens of a batch, padding counted; batches hold lines of like length.",
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


class DecodingConfig(Section):
    """How translations are searched for."""

    strategy: SearchStrategy = Field(
        "beam",
        description="beam: the most probable output that a search finds. sampling: each token is drawn at random from "
        "the model's distribution.",
    )
    beam: int = Field(
        5, ge=1, le=1024, description="Hypotheses kept at each step; 1 is greedy search. Sampling keeps none."
    )
    length_penalty: float = Field(
        1.0,
        ge=0.0,
        le=5,
        description="α of Wu et al. 2016: scores are divided by ((5 + length) / 6)^α. 0: not at all.",
    )
    n_best: int = Field(
        1, ge=1, le=1024, description="Translations given for a line: the best of the beam, or so many samples."
    )
    temperature: float = Field(
        1.0,
        ge=0.01,
        le=100,
        description="Sampling: log-probabilities are divided by it; below 1 the probable tokens gain.",
    )
    top_k: int = Field(
        0, ge=0, le=2**20, description="Sampling: only the k most probable tokens are drawn (Fan et al. 2018). 0: all."
    )
    top_p: float = Field(
        1.0,
        ge=1e-6,
        le=1,
        description="Sampling: only the fewest most probable tokens whose probabilities sum to p are drawn (Holtzman "
        "et al. 2020). 1: all.",
    )
    seed: int = Field(
        1,
        ge=0,
        le=2**32 - 1,
        description="Sampling: seed of the draws. With the line's number in the text it fixes them, in any batch.",
    )
    no_repeat_ngram: int = Field(
        0, ge=0, le=2**16, description="No output has the same n tokens in a row twice (Paulus et al. 2018). 0: it may."
    )
    max_repetition: int = Field(
        64,
        ge=0,
        le=2**16,
        description="An output ends where its last max_repetition tokens only repeat those before them: each is the "
        "token n places before it, for an n of at most max_repetition / 4. 0: it continues to the length limit.",
    )
    max_ratio: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="An output has at most max_ratio · source tokens + max_extra tokens, EOS counted on both sides, "
        "and never more than model.max_length. Unset: training chooses it, so that all but one in a thousand of its "
        "pairs fit.",
    )
    max_extra: int | None = Field(None, ge=0, le=1_000_000, description="See max_ratio. Unset: training chooses it.")
    engine: Literal["auto", "native", "torch"] = Field(
        "auto",
        description="What computes. native: zhuyi's own loop, on CPUs. torch: any model, on CPUs and GPUs. auto: "
        "native, but torch where there is a GPU, and for what native cannot do.",
    )
    precision: Precision = Field(
        "float32",
        description="Of weights and activations in the native engine. bf16 and int8 are faster and need less memory, "
        "but change some outputs: score them with zhuyi evaluate. Torch computes in float32.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Threads of the native engine, each with sentences of its own: no output depends on their number. "
        "Unset: one a core.",
    )

    @model_validator(mode="after")
    def _possible(self) -> DecodingConfig:
        if self.strategy == "beam":
            if self.n_best > self.beam:
                few = f"decoding.beam = {self.beam}"
                raise ValueError(f"decoding.n_best = {self.n_best} is more than {few}: set that to {self.n_best}")
            for key in ("temperature", "top_k", "top_p"):
                if (value := getattr(self, key)) != type(self).model_fields[key].default:
                    raise ValueError(f'decoding.{key} = {value} needs decoding.strategy = "sampling"')
        if self.engine == "torch" and self.precision != "float32":
            raise ValueError(
                f'decoding.precision = "{self.precision}" needs the native engine: set decoding.engine = "native", or '
                'decoding.precision = "float32" for torch'
            )
        return self

    @property
    def rows(self) -> int:
        """Hypotheses of a sentence that are continued side by side, each a row of the batch."""
        return self.beam if self.strategy == "beam" else self.n_best

    def limits(self, source_tokens: npt.NDArray[np.integer[Any]], max_length: int) -> npt.NDArray[np.int64]:
        """Most tokens of the output for each number of source tokens: the one length limit of decoding.

        EOS counts on both sides. A model made before `max_extra` was a setting has 3 · source + 20.
        """
        ratio = 3.0 if self.max_ratio is None else self.max_ratio
        extra = 20 if self.max_extra is None else self.max_extra
        return (ratio * source_tokens + extra).clip(min=1, max=max_length).astype("int64")


class Config(Section):
    """Everything that makes a run, resolved."""

    preset: str = Field(
        "modern", description="The table of settings under these; what is set here wins: modern, paper, tiny."
    )
    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    decoding: DecodingConfig = DecodingConfig()

    @property
    def continues(self) -> bool:
        """Whether the model is a language model, which continues running text."""
        return self.model.shape == "decoder" and self.data.text is not None

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """What a shape or an objective says of text and metric, where these are not set: an encoder writes labels."""
        if not isinstance(values, Mapping):
            return values
        sections = (_settings(values.get(name)) for name in ("data", "model", "training", "text"))
        data, model, training, text = sections
        if data is None or model is None or training is None or text is None:
            return values
        if data.get("text") is not None and text.get("whitespace") is None:
            text = {**text, "whitespace": "keep"}
        if training.get("objective") == "masked":
            text, model = {"mask": True, **text}, {"labels": "token", **model}
        elif model.get("shape") == "encoder":
            text = {"shared": False, "target_kind": "whitespace", **text}
        if model.get("shape") == "encoder":
            training = {"metric": "accuracy", **training}
        elif data.get("text") is not None:
            training = {"metric": "bits_per_byte", **training}
        return {**values, "model": model, "training": training, "text": text}

    @model_validator(mode="after")
    def _possible(self) -> Config:
        shape, masked = self.model.shape, self.training.objective == "masked"
        gives_labels = shape == "encoder" and not masked and not (self.text.shared and self.text.mask)
        if self.data.text is not None and shape != "decoder" and not masked:
            raise ValueError(
                'data.text is running text: set model.shape = "decoder" (a language model), or model.shape = "encoder" '
                'and training.objective = "masked" (pre-training)'
            )
        if masked and (shape != "encoder" or self.model.labels != "token"):
            raise ValueError('training.objective = "masked" needs model.shape = "encoder" and model.labels = "token"')
        if (shape == "decoder" or masked) and not self.text.shared:
            needs = 'training.objective = "masked"' if masked else 'model.shape = "decoder"'
            raise ValueError(
                f"{needs} has one vocabulary: set text.shared = true, and text.source_kind and text.target_kind the "
                "same"
            )
        what = "labels" if shape == "encoder" else "pairs"
        if self.data.text is not None:
            what = "masked tokens" if masked else "running text"
        if self.training.metric not in (possible := METRICS_OF[what]):
            raise ValueError(f'training.metric = "{self.training.metric}": of {what} there is {", ".join(possible)}')
        if self.data.text is not None and (ends := sorted({"begin", "end"} & set(self.model.without))):
            raise ValueError(
                f"model.without = {ends[0]}: running text has no such token to be taken away: leave it out, or train "
                "on pairs"
            )
        if masked and (self.data.source is not None or not self.text.mask):
            raise ValueError(
                'training.objective = "masked" learns from running text, with the token <mask>: set data.text in place '
                "of data.source, and leave text.mask unset"
            )
        if gives_labels and (self.text.shared or self.text.target_kind != "whitespace"):
            raise ValueError(
                'model.shape = "encoder" writes labels: set text.target_kind = "whitespace" and text.shared = false'
            )
        if gives_labels and self.model.labels == "token" and self.text.source_kind not in ("whitespace", "character"):
            raise ValueError(
                'model.labels = "token" gives each token a label: set text.source_kind = "whitespace" (words) or '
                '"character"'
            )
        return self

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str) -> str:
        if preset not in PRESETS:
            raise ValueError(f"preset = {preset!r} is not one of {', '.join(PRESETS)}")
        return preset
