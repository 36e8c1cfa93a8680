"""A whole configuration: its sections, and what must fit between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from zhuyi.config.data import DataConfig
from zhuyi.config.decoding import DecodingConfig
from zhuyi.config.model import ModelConfig
from zhuyi.config.presets import PRESETS
from zhuyi.config.section import Section, settings
from zhuyi.config.text import PIECES, TEMPLATE, TextConfig
from zhuyi.config.training import METRICS_OF, TrainingConfig


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
        sections = (settings(values.get(name)) for name in ("data", "model", "training", "text"))
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
        self._check_template()
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
        if shape == "encoder" and self.data.mix:
            raise ValueError("data.mix is of pairs of text, and not of labels: put their lines into one file")
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

    def _check_template(self) -> None:
        """See that lines can have what stands around them."""
        text, most = self.text, self.model.max_length - 2  # a piece of the line, and EOS
        for key in PIECES:
            if getattr(text, key) and (self.data.text is not None or self.model.shape == "encoder"):
                what = "running text" if self.data.text is not None else 'model.shape = "encoder"'
                raise ValueError(f"text.{key} is of pairs that are translated, and {what} has none: leave it out")
        if text.source_suffix and self.model.shape == "decoder":
            raise ValueError('text.source_suffix needs an encoder, which model.shape = "decoder" has not: leave it out')
        for key in TEMPLATE:
            if len(getattr(text, key)) > most:
                raise ValueError(
                    f"text.{key} has too many pieces: with model.max_length = {most + 2} there are {most} at most"
                )

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str) -> str:
        if preset not in PRESETS:
            raise ValueError(f"preset = {preset!r} is not one of {', '.join(PRESETS)}")
        return preset
