"""The section [model]: the architecture."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from zhuyi.config.section import Section, each_side

MixerKind = Literal["attention", "convolution", "recurrence"]

Part = Literal["mask", "positions", "residual", "norm", "scaling", "cross", "begin", "end", "shift", "warmup"]

Shape = Literal["encoder-decoder", "decoder", "encoder"]

UNSET: Any = None
"""The default of what follows from other settings: each model has a value."""

NOT_IN_SHAPE: dict[Shape, tuple[Part, ...]] = {
    "encoder-decoder": (),
    "decoder": ("cross",),
    "encoder": ("mask", "cross", "begin", "end", "shift"),
}
"""The parts that a shape has not, so that they cannot be taken away."""


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
    heads: int = Field(4, ge=1, le=2**16, description="Attention heads.")
    head_width: int = Field(
        UNSET, ge=1, le=2**16, description="Width of each head's queries, keys and values. Unset: width / heads."
    )
    key_value_heads: int | None = Field(
        None, ge=1, le=2**16, description="Heads of keys and values (grouped-query attention). Unset: as many as heads."
    )
    encoder_layers: int = Field(4, ge=1, le=1000, description="Encoder blocks, in the shapes that have an encoder.")
    decoder_layers: int = Field(4, ge=1, le=1000, description="Decoder blocks, in the shapes that have a decoder.")
    feed_forward: int = Field(1024, ge=1, le=2**20, description="Inner width of the feed-forward layers.")
    activation: Literal["relu", "gelu", "silu", "swiglu", "geglu"] = Field(
        "swiglu",
        description="Non-linearity of the feed-forward. swiglu and geglu are applied to a gate, a third linear map; "
        "the gelu in geglu is its approximation with tanh, as in T5.",
    )
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="Dropout on embeddings and on every residual branch.")
    attention_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout on the attention weights.")
    feed_forward_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout inside the feed-forward.")
    positions: Literal["sinusoidal", "tensor2tensor", "learned", "rotary", "alibi", "relative", "none"] = Field(
        "rotary",
        description="How order enters: sinusoids or a learned table added to the embeddings (tensor2tensor: sinusoids "
        "with the wavelengths of that library, as in Marian), rotated queries and keys, attention scores that fall "
        "with the distance (alibi: the encoder knows no direction) or to which a learned number is added for each "
        "distance (relative, as in T5; torch computes it), or not at all.",
    )
    embedding_scale: bool = Field(True, description="Embeddings are multiplied by √width.")
    embedding_norm: bool = Field(False, description="A norm after embeddings and positions, as in BART.")
    norm: Literal["pre", "post"] = Field(
        "pre", description="Normalise before each sublayer, or after its residual sum (2017)."
    )
    norm_kind: Literal["layer", "rms"] = Field("rms", description="LayerNorm or RMSNorm.")
    norm_epsilon: float = Field(
        UNSET,
        gt=0,
        le=1,
        description="Added to the variance or mean square that a norm divides by. Unset: 1e-5 (layer), 1e-6 (rms).",
    )
    final_norm: bool = Field(UNSET, description="A norm after the last block. Unset: with pre-norm only.")
    bias: Literal["all", "feed_forward", "none"] = Field("none", description="Which linear maps have a bias.")
    output_bias: bool = Field(False, description="The output projection has a bias, a number for each token.")
    tie: Literal["none", "embeddings", "output", "all"] = Field(
        "all",
        description="Which matrices over a vocabulary are one: none; embeddings (those of source and target, where the "
        "vocabulary is shared); output (target embedding = output projection); all (both).",
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
        filled = each_side(values, "mixer", "encoder_mixer", "decoder_mixer", default="attention")
        width, heads, norm, kind = (
            filled.get(key, cls.model_fields[key].default) for key in ("width", "heads", "norm", "norm_kind")
        )
        follows = {
            "key_value_heads": heads,
            "norm_epsilon": 1e-6 if kind == "rms" else 1e-5,
            "final_norm": norm == "pre",
        }
        if isinstance(width, int) and isinstance(heads, int) and heads > 0:
            if width % heads and filled.get("head_width") is None:
                raise ValueError(f"model.width = {width} is not a multiple of model.heads = {heads}")
            follows["head_width"] = max(width // heads, 1)
        return {**filled, **{key: value for key, value in follows.items() if filled.get(key) is None}}

    @model_validator(mode="after")
    def _possible(self) -> ModelConfig:
        if self.key_value_heads is not None and self.heads % self.key_value_heads:
            raise ValueError(
                f"model.heads = {self.heads} is not a multiple of model.key_value_heads = {self.key_value_heads}"
            )
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(
                'model.positions = "rotary" needs an even model.head_width (model.width / model.heads), '
                f"not {self.head_width}"
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
    def ties_embeddings(self) -> bool:
        """Whether the embeddings of source and target are one matrix, where the vocabulary is shared."""
        return self.tie in ("embeddings", "all")

    @property
    def ties_output(self) -> bool:
        """Whether the output projection is the embedding of what is written."""
        return self.tie in ("output", "all")

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
