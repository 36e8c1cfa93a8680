"""The section [text]: tokenizers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from zhuyi.config.section import Section, each_side

TokenKind = Literal["bpe", "unigram", "character", "whitespace", "bytes"]

Normalization = Literal["nfc", "none"]

Whitespace = Literal["collapse", "keep"]


TEMPLATE = ("source_prefix", "source_suffix", "target_prefix")
"""The keys of [text] whose pieces stand around every line."""

PIECES = ("tags", *TEMPLATE)
"""The keys of [text] that list pieces."""


class TextConfig(Section):
    """How a line becomes tokens."""

    kind: TokenKind = Field(
        "bpe",
        description="bpe (pieces learned by merging, bytes for the unseen), unigram (pieces of a language model), "
        "character, whitespace (already segmented text, phones), or bytes (of UTF-8; nothing is learnt or unseen).",
    )
    source_kind: TokenKind | None = Field(None, description="Kind of the source side, if not text.kind.")
    target_kind: TokenKind | None = Field(None, description="Kind of the target side, if not text.kind.")
    vocabulary: int = Field(
        8000,
        ge=8,
        le=2**20,
        description="Most tokens in a vocabulary (both sides together when shared). One of bytes has 260 in any case.",
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
    add_pieces: tuple[str, ...] = Field(
        (),
        strict=False,  # TOML and JSON have lists
        description="Words (or, of kind character, characters) that become a token each, in a run that begins with "
        "another model (training.start_from). Its rows of embedding and projection are means of those of its parts.",
    )
    tags: tuple[str, ...] = Field(
        (),
        strict=False,  # TOML and JSON have lists
        description="Pieces that no text makes, such as the language tags >>fra<< and >>deu<<: training adds them to "
        "the vocabularies, those of a model that it begins with (training.start_from) too. A source line may begin "
        "with its own tag of the form >>NAME<<; it stands in the place of "
        "the one in text.source_prefix. --to NAME chooses a tag in use.",
    )
    source_prefix: tuple[str, ...] = Field(
        (),
        strict=False,
        description="Pieces before every source line, as the vocabulary spells them: a tag, a special token such as "
        "<s>, or the words of a task. They count among its tokens.",
    )
    source_suffix: tuple[str, ...] = Field(
        (),
        strict=False,
        description="Pieces after every source line, EOS among them: </s> and a tag, as in the first mBART. Unset: EOS "
        "alone.",
    )
    target_prefix: tuple[str, ...] = Field(
        (),
        strict=False,
        description="Pieces with which every target begins. They are learned as the others are; in use they are given, "
        "and not searched for.",
    )
    bpe_dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of BPE merges left out at random, redrawn each epoch (Provilkov 2020)."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        filled = each_side(values, "kind", "source_kind", "target_kind", default="bpe")
        if filled.get("shared") is None:
            filled["shared"] = filled["source_kind"] == filled["target_kind"]
        if filled.get("whitespace") is None:
            filled["whitespace"] = "collapse"
        return filled

    @field_validator(*PIECES, mode="before")
    @classmethod
    def _lists(cls, pieces: Any, info: ValidationInfo) -> Any:
        if isinstance(pieces, str):
            raise ValueError(f'text.{info.field_name} = {pieces!r} is not a list of pieces, such as [">>fra<<"]')
        return pieces

    @field_validator(*PIECES)
    @classmethod
    def _not_empty(cls, pieces: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "" in pieces:
            raise ValueError(f"text.{info.field_name} has an empty piece: leave it out")
        if info.field_name == "tags" and (twice := [tag for tag in pieces if pieces.count(tag) > 1]):
            raise ValueError(f"text.tags names {twice[0]} twice")
        if info.field_name == "source_suffix" and pieces and "</s>" not in pieces:
            raise ValueError('text.source_suffix has no "</s>", which every source has: name where it stands')
        return pieces

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
