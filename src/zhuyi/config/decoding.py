"""The section [decoding]: the search, and what computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from zhuyi.config.section import Section

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SearchStrategy = Literal["beam", "sampling"]

PenaltyName = Literal["wu", "power"]

StoppingRule = Literal["bound", "huggingface", "huggingface-early", "marian"]

EngineName = Literal["native", "torch"]

Precision = Literal["float32", "bf16", "int8"]


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
        description="α: scores are divided by this power of the length, as penalty says. 0: not at all.",
    )
    penalty: PenaltyName = Field(
        "wu",
        description="What scores are divided by. wu: ((5 + length) / 6)^α (Wu et al. 2016). power: length^α, as in "
        "Hugging Face and Marian. EOS counts.",
    )
    stop: StoppingRule = Field(
        "bound",
        description="When a beam search ends, and what it can find. bound: when no live prefix can beat the worst "
        "hypothesis that is kept; greedy search's prefix stays in the beam. huggingface: when `beam` hypotheses are "
        "finished and the best live prefix, at its present length, is no better than the worst of them; "
        "huggingface-early (early_stopping in Hugging Face): when `beam` are finished; what is forced has no part in "
        "either's scores. marian: when all have ended; each that ends makes the beam one narrower.",
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
    min_length: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="An output has at least so many tokens, EOS counted, unless the limit comes first (min_length in "
        "Hugging Face, which counts the token that begins an output instead of EOS).",
    )
    end_at_limit: bool = Field(
        False, description="The last token that the limit allows is EOS (forced_eos_token_id in Hugging Face)."
    )
    allow_unknown: bool = Field(
        True, description="Whether an output may have UNK, which stands for what the vocabulary lacks."
    )
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
