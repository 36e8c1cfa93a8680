"""The options of Marian in our terms: the model's, which lie in its file, and those of the decoder's search.

Two are refused because Marian decodes otherwise than it trains. With a norm before each sublayer
(`transformer-preprocess: n`) the keys and values of the decoder's self-attention are computed from vectors that are not
normalised: in old versions always, in 1.12 from the second token of an output on. Of learned positions
(`transformer-train-positions`) each token of an output has the first, and 1.12 ends with an error.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zhuyi.errors import CheckpointError
from zhuyi.interop.reading.yaml import options

EPSILON = 1e-6
LONGEST = 1000
"""Tokens of a source (`max-length` of Marian's decoder)."""

SUPPORTED: Mapping[str, tuple[str, ...]] = {
    "type": ("transformer",),
    "input-types": ("", "sequence sequence"),
    "right-left": ("false",),
    "ulr": ("false",),
    "lemma-dim-emb": ("0",),
    "lemma-dependency": ("",),
    "factors-combine": ("sum",),
    "transformer-decoder-autoreg": ("self-attention",),
    "transformer-tied-layers": ("",),
    "transformer-ffn-depth": ("2",),
    "transformer-decoder-ffn-depth": ("0", "2"),
    "transformer-no-projection": ("false",),
    "transformer-preprocess": ("", "d"),
    "transformer-train-positions": ("false",),
    "transformer-no-bias": ("false",),
    "transformer-no-affine": ("false",),
    "transformer-pool": ("false",),
    "transformer-attention-mask": ("default",),
}
"""Options of the model that have a counterpart with these values alone, the first of which is Marian's default."""
ACTIVATIONS = {"swish": "silu", "relu": "relu"}
NORMS = {"n": "layer", "r": "rms"}


@dataclass(frozen=True)
class Options:
    """Options of Marian, each checked where it is asked for."""

    where: str
    values: Mapping[str, str | list[str]]

    @classmethod
    def parse(cls, where: str, data: bytes) -> "Options":
        """Read them; NULs at the end are no part of them."""
        try:
            return cls(where, options(data.rstrip(b"\0").decode()))
        except ValueError as error:  # UnicodeDecodeError is one too
            raise CheckpointError(f"{where}: not options of Marian: {error}".replace("\n", " ")) from error

    def text(self, key: str, default: str = "") -> str:
        """The value of an option that is a string; a list is joined by spaces."""
        value = self.values.get(key, default)
        return value if isinstance(value, str) else " ".join(value)

    def several(self, key: str) -> list[str]:
        """The value of an option that is a list."""
        value = self.values.get(key, [])
        return ([value] if value else []) if isinstance(value, str) else value

    def flag(self, key: str) -> bool:
        """The value of an option that is true or false, which is the default."""
        value = self.text(key, "false").lower()
        if value not in ("true", "false"):
            raise self.unsupported(key)
        return value == "true"

    def real(self, key: str, default: float, most: float) -> float:
        """The value of an option that is a number from 0 to `most`."""
        try:
            value = float(self.text(key, str(default)))
        except ValueError:
            value = math.nan
        if not 0 <= value <= most:
            raise self.unsupported(key)
        return value

    def number(self, key: str, default: int, most: int = 1 << 20) -> int:
        """The value of an option that is a whole number."""
        value = self.real(key, default, most)
        if not value.is_integer():
            raise self.unsupported(key)
        return int(value)

    def unsupported(self, key: str) -> CheckpointError:
        """That zhuyi has nothing of the kind."""
        return CheckpointError(f"{self.where}: {key} = {self.text(key)!r} has no counterpart in zhuyi"[:1000])


def model_settings(written: Options) -> dict[str, Any]:
    """The section [model] of what a model's options describe, but for its ties and its limit.

    Raises:
        CheckpointError: naming the option that has no counterpart.
    """
    for key, values in SUPPORTED.items():
        if written.text(key, values[0]) not in values:
            raise written.unsupported(key)
    if len(written.several("dim-vocabs")) > 2:
        raise written.unsupported("dim-vocabs")
    inner = written.number("transformer-dim-ffn", 2048)
    if written.number("transformer-decoder-dim-ffn", 0) not in (0, inner):
        raise written.unsupported("transformer-decoder-dim-ffn")
    activation = ACTIVATIONS.get(written.text("transformer-ffn-activation", "swish"))
    if activation is None:
        raise written.unsupported("transformer-ffn-activation")
    has_positions = not written.flag("transformer-disable-position-embeddings")
    return {
        "width": written.number("dim-emb", 512),
        "heads": written.number("transformer-heads", 8),
        "encoder_layers": written.number("enc-depth", 1),
        "decoder_layers": written.number("dec-depth", 1),
        "feed_forward": inner,
        "activation": activation,
        "positions": "tensor2tensor" if has_positions else "none",
        "embedding_scale": has_positions,
        **_norms(written),
        "bias": "all",
        "output_bias": not written.flag("output-omit-bias"),
    }


def _norms(written: Options) -> dict[str, Any]:
    """The norms after the sublayers, the embeddings and the stacks."""
    after, emb, top = (
        written.text(f"transformer-postprocess{key}", default).replace("d", "")
        for key, default in (("", "dan"), ("-emb", "d"), ("-top", ""))
    )
    if after not in ("an", "ar"):
        raise written.unsupported("transformer-postprocess")
    norm = after[-1]
    for key, value in (("-emb", emb), ("-top", top)):
        if value not in ("", norm):
            raise written.unsupported(f"transformer-postprocess{key}")
    return {
        "norm": "post",
        "norm_kind": NORMS[norm],
        "norm_epsilon": EPSILON,
        "embedding_norm": bool(emb),
        "final_norm": bool(top),
    }


def search_settings(decoder: Options) -> tuple[dict[str, Any], int]:
    """The section [decoding] of the decoder's options, and the most tokens of a source or an output.

    A factor that is no whole number may allow one token more in Marian, which rounds up.

    Raises:
        CheckpointError: naming the option that has no counterpart.
    """
    factor = decoder.real("max-length-factor", 3, 1000)
    if decoder.real("word-penalty", 0, math.inf):
        raise decoder.unsupported("word-penalty")
    longest = min(LONGEST, decoder.number("max-length", LONGEST)) + 1
    settings = {
        "beam": max(decoder.number("beam-size", 12, 1024), 1),
        "penalty": "power",
        "length_penalty": decoder.real("normalize", 0, 5),
        "stop": "marian",
        "allow_unknown": decoder.flag("allow-unk"),
        "max_repetition": 0,
        "max_ratio": factor,
        "max_extra": 0,
    }
    return settings, max(longest, min(math.ceil(factor * longest), 1 << 16))
