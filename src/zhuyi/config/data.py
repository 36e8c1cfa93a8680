"""The section [data]: files, and what is done with their lines."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, ValidationInfo, WrapValidator, field_validator, model_validator

from zhuyi.config.section import Section, readable

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


def is_bcp47(tag: object) -> bool:
    """Whether this is a well-formed language tag (BCP 47), such as en, pt-BR or zh-Hant."""
    return isinstance(tag, str) and _LANGUAGE_TAG.fullmatch(tag) is not None


class MixedCorpus(Section):
    """One corpus of `data.mix`."""

    source: FileSpec = Field(description="As data.source.")
    target: FileSpec = Field(description="As data.target.")
    weight: float = Field(1.0, ge=1e-6, le=1000, description="Its pairs in an epoch, for each pair of data.source.")

    @model_validator(mode="after")
    def _names_files(self) -> MixedCorpus:
        if "" in (self.source, self.target):
            raise ValueError(f"data.mix: {'target' if self.source else 'source'} is empty: name a file")
        return self


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
    mix: tuple[MixedCorpus, ...] = Field(
        (),
        strict=False,  # TOML and JSON have lists
        description="Further corpora, each with source, target and weight (1 unless set): every epoch has all pairs of "
        "data.source, and weight times as many of each of these, drawn in turn. Old pairs that are mixed in keep a "
        "model that is fine-tuned from forgetting them.",
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
        if tag is not None and not is_bcp47(tag):
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
    def _mixed_into_pairs(self) -> DataConfig:
        if self.mix and self.source is None:
            raise ValueError("data.mix is mixed into pairs: name them, as data.source and data.target")
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
