"""What the page and its server say to one another, as types: `frontend/wire.py` writes them in TypeScript.

JSON has no infinity and no NaN: None stands for both where a number may be missing, and nothing else can be sent.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from zhuyi.config import DecodingConfig, MixerKind, ModelConfig

Precision = Literal["float32", "float16"]

MAX_BEAM = 64
"""Its tree holds twice as many candidates a step."""


Refusal = Literal[
    "empty_sentence",
    "empty_reference",
    "long_sentence",
    "long_reference",
    "labels_of_tokens",
    "label_of_sentence",
    "checkpoint",
    "other",
]
"""Why a sentence cannot be looked at. `other`: the English sentence says it."""


BESIDE = "beside"
"""In the place of a checkpoint's name: the other model of `zhuyi look MODEL --beside OTHER`."""


class Message(BaseModel):
    """A part of what is sent."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Tokens(Message):
    """A sequence of tokens."""

    ids: list[int]
    pieces: list[str]
    """Each token as people read it."""
    characters: list[tuple[int, int, str]]
    """Runs of byte pieces that are one character: (first, end, character)."""


class Choice(Message):
    """One token of a distribution."""

    id: int
    piece: str
    log_prob: float


class Step(Message):
    """The distribution at one position."""

    top: list[Choice]
    """The most probable of the tokens that may be written, best first."""
    allowed: float
    """log Σ p of all tokens that may be written, where p is of the whole vocabulary, as in the loss: it makes each
    `log_prob`, which is of these tokens alone, one of the whole vocabulary."""
    tempered: list[tuple[float, float]]
    """At each of the model's temperatures, log Σ p^(1/T) and the entropy in nats."""
    eos: float | None
    """The log-probability of EOS; None, where it is never written."""


class Replay(Message):
    """One pass over a whole target."""

    target_in: Tokens
    target_out: Tokens
    decoder_in: Tokens
    """As `trace.Replay.decoder_in`."""
    steps: list[Step]
    losses: list[float]
    """Cross entropy at each position in nats."""
    smoothed: list[float]
    """The same with label smoothing."""
    ranks: list[int]


class Candidate(Message):
    """A node of the search's tree, as `decoding.hypothesis.Candidate`."""

    number: int
    parent: int | None
    step: int
    token: int
    piece: str
    log_prob: float
    total: float
    score: float
    fate: Literal["kept", "finished", "pruned"]


class Hypothesis(Message):
    """One output of the search."""

    text: str
    score: float | None
    finished: bool


class WhatIf(Message):
    """What was changed while looking, as `trace.WhatIf`."""

    heads_off: list[tuple[str, int]]
    positions_off: bool
    mask_lifted: bool
    prefix: list[int]


class Trace(Message):
    """All of a trace but its tensors."""

    id: str = ""
    """By which the server knows it."""
    checkpoint: str = ""
    """Of the training, or `BESIDE`; empty for the model itself."""
    text: str
    source: Tokens
    normalised: str
    output: str
    hypotheses: list[Hypothesis]
    candidates: list[Candidate]
    decoding: DecodingConfig
    """How the sentence was searched."""
    difference: float | None
    given: int
    """How many of the first tokens of every output are given, and no choice (`text.target_prefix`)."""
    what_if: WhatIf
    replay: Replay
    reference: Replay | None
    shapes: dict[str, list[int]]
    """Of every tensor that may be asked for, by name."""


class Architecture(ModelConfig):
    """The settings of a model, those that follow from others filled in."""

    key_value_heads: int
    encoder_mixer: MixerKind
    decoder_mixer: MixerKind


class Example(Message):
    """A sentence to begin with."""

    text: str
    target: str
    """The right answer; empty where none is known."""


class Curve(Message):
    """What was measured in the course of a run."""

    steps: list[int]
    values: list[float]


class Curves(Message):
    """How a run went, in at most `run.MAX_POINTS` points a curve."""

    loss: Curve
    """Of training, in nats a token: the mean since the point before."""
    dev_loss: Curve
    metric: str
    """The name of the score; empty where nothing was validated."""
    score: Curve
    """On the dev set."""


class Model(Message):
    """What the page knows before there is a sentence."""

    zhuyi: str
    """The version."""
    name: str
    config: Architecture
    decoding: DecodingConfig
    smoothing: float
    """Label smoothing in training."""
    parameters: int
    """How many there are."""
    precision: Precision
    """Of the weights that the page's numbers come from."""
    temperatures: list[float]
    checkpoints: list[str]
    """Of its training, oldest first."""
    examples: list[Example]
    """The first of them is what the page opens with."""
    curves: Curves | None
    """Of its training, where its record is there."""
    beside: "Model | None" = None
    """Another model, which the page shows beside this one; it answers under the name `BESIDE`."""


class HeadEffect(Message):
    """What one head does for one token of the output."""

    name: str
    """Of its attention: `encoder.0.self`."""
    head: int
    loss: float
    """Change of the token's loss in nats when the head is switched off."""


class HeadEffects(Message):
    """Those of all heads, by stack and layer."""

    heads: list[HeadEffect]


class Occlusion(Message):
    """What hiding each token of the source changes."""

    losses: list[float]
    """Change of a token's loss in nats, for each token that the model reads."""


class Template(Message):
    """What stands around the lines of one side, as `text.template.Template`."""

    prefix: list[int]
    tags: list[int]
    own: dict[str, int]
    suffix: list[int]


class Embedded(Message):
    """A model that the page itself computes with, all but its weights, which stand one after another in bytes."""

    model: Model
    continues: bool
    """Whether it is a language model, which continues running text."""
    tokenizers: list[str]
    """The content of `tokenizer.json`: of source and target, or of the one that both share."""
    templates: list[Template]
    """Of source and target."""
    shapes: dict[str, list[int]]
    """Of the weights, in their order; a tied matrix has one name."""


class Numbers(Message):
    """A tensor in a file, in base64; see `wire.roots` and `wire.floats`."""

    roots: str | None = None
    floats: str | None = None


class Held(Message):
    """What a page that is one file holds."""

    model: Model
    trace: Trace
    tensors: dict[str, Numbers]


class Stored(Message):
    """What a checkpoint of the training answered, where its weights are not in the file."""

    target: str
    """The reference that it was given; empty without one."""
    trace: Trace
    tensors: dict[str, Numbers]


class Request(Message):
    """What a request to look may say; see `zhuyi.look` and `trace.WhatIf`."""

    model_config = ConfigDict(strict=True)

    text: str
    target: str | None = None
    beam: int | None = Field(None, le=MAX_BEAM)
    length_penalty: float | None = None
    heads_off: frozenset[tuple[str, int]] = frozenset()
    positions_off: bool = False
    mask_lifted: bool = False
    prefix: tuple[int, ...] = ()
    checkpoint: str = ""


class Place(Request):
    """One position of the target, of what a request looks at."""

    position: int
    """From 0."""
    reference: bool = False
    """Of the reference, and not of the model's own output."""


class Failure(Message):
    """The answer to a request that could not be answered; the page says it in its own language."""

    error: str
    """In English."""
    code: Refusal = "other"
    values: dict[str, int] = {}
    """What the sentence of this code in `en.json` and `zh.json` has in braces."""
