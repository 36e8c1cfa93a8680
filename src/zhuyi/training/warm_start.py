"""Warm start: a run that starts from the weights and tokenizers of another model (`training.start_from`).

The vocabulary, the architecture, the decoding settings and some training settings (`OF_THE_MODEL`) are those of that
model. The moments of the optimiser, the moving average, the schedule and the random state are new. The warm-up is
short, and the peak learning rate is a tenth of the model's own, since a high rate would undo what it has learnt. If
labels are learnt after masked pre-training (Devlin et al. 2019, section 3.2), the vocabulary of the labels and the
projection to them are new as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zhuyi.checkpoint import load_model
from zhuyi.config import LANGUAGES, PRESETS, TEMPLATE, Config, DecodingConfig, TextConfig, TrainingConfig, changed
from zhuyi.data.prepare import learn_labels
from zhuyi.errors import ConfigError
from zhuyi.hub import fetched, licence_of
from zhuyi.model.transformer import Network
from zhuyi.text.pieces import NoPieceError
from zhuyi.text.tokenizer import Tokenizer, Tokenizers

MAY_DIFFER = {
    *("model.dropout", "model.attention_dropout", "model.feed_forward_dropout", "model.max_length", "model.tie"),
    *("text.bpe_dropout", "text.add_pieces", "text.tags", *(f"text.{key}" for key in TEMPLATE)),
}
"""Settings of [model] and [text] that may differ from the model's, since most of its weights still fit."""
OF_LABELS = {"model.labels", "text.shared", "text.target_kind"}
"""Settings that are always those of the run if labels are learnt after masked pre-training."""
MAY_DIFFER_WITH_LABELS = MAY_DIFFER | OF_LABELS | {"text.kind", "text.whitespace"}

OF_THE_MODEL = ("optimizer", "beta1", "beta2", "epsilon", "weight_decay", "label_smoothing", "metric")
"""Settings of [training] that are the model's unless they are set, since its learning rate depends on them."""
RATE_SHARE = 0.1
"""The peak learning rate, as a share of the model's own."""
WARMUP = 50
"""Updates of the warm-up, in which Adam's second moment, a mean over about 1 / (1 - β₂) updates, is built up."""
LIMITS = ("max_ratio", "max_extra")
"""Settings of [decoding] that are the model's only if the pairs of the run fit: see `limits_of_model`."""


@dataclass(frozen=True)
class WarmStart:
    """What a run takes from the model that it starts from."""

    config: Config
    """Of the run, with the settings of the model."""
    tokenizers: Tokenizers
    """Of the model, except for new labels."""
    weights: dict[str, Tensor]
    """Of the model, under every name that a matrix has: a tied one has several. Those that fit are used."""
    new_labels: bool
    """Whether labels are learnt after masked pre-training."""
    limits: DecodingConfig
    """The decoding settings of the model, with its limits: see `limits_of_model`."""
    licence: str | None
    """Of the model, according to its card."""
    rate: float
    """The peak learning rate of the model's training; if that is not known, the one assumed."""


def warm_start(config: Config, directory: str | Path) -> WarmStart:
    """The settings, tokenizers and weights of a run that starts from the model in `directory`.

    Raises:
        ConfigError: if a setting contradicts the model's, naming it and both values.
        DataError: if the labels of the training data cannot be read.
        CheckpointError: if the model is missing, incomplete or damaged.
    """
    model = load_model(directory)
    weights = {name: each.detach() for name, each in model.transformer.named_parameters(remove_duplicate=False)}
    tokenizers, new_labels = model.tokenizers, _are_labels_new(model.config, config)
    unlimited = model.config.decoding.model_copy(update=dict.fromkeys(LIMITS))
    training = fine_tuning(model.config.training)
    begins = model.config.model_copy(update={"training": training, "decoding": unlimited})
    config = with_settings_of(begins, config, str(directory))
    if new_labels:
        tokenizers = Tokenizers(tokenizers.source, learn_labels(config))
        del weights["projection.weight"]
    if config.text.add_pieces or config.text.tags:
        tokenizers, weights = with_pieces(config, tokenizers, weights)
    return WarmStart(
        config,
        tokenizers,
        weights,
        new_labels,
        model.config.decoding,
        licence_of(fetched(directory)),
        training.learning_rate / RATE_SHARE,
    )


def fine_tuning(model: TrainingConfig) -> TrainingConfig:
    """The training settings for fine-tuning a model that was trained with the settings `model`.

    If none of them is set, the model was imported. It is then treated as trained with the preset `paper`: with Adam,
    and without weight decay.
    """
    trained = model if model.model_fields_set else TrainingConfig(**PRESETS["paper"]["training"])
    return trained.model_copy(update={"learning_rate": RATE_SHARE * trained.learning_rate, "warmup": WARMUP})


def _are_labels_new(model: Config, config: Config) -> bool:
    """Whether the model was pre-trained on masked tokens, so that its outputs are tokens, and the run learns labels."""
    pre_trained = model.model.shape == "encoder" and model.text.shared
    return bool(pre_trained and config.training.objective != "masked")


def with_settings_of(model: Config, config: Config, name: str) -> Config:
    """`config` with the settings of `model` where it sets none.

    These are [model], [text], [decoding], the languages and, of [training], the learning rate, its warm-up and
    `OF_THE_MODEL`.

    Args:
        model: the configuration of the model that a run starts from, or of the run that is resumed.
        config: of the new run.
        name: of the model, for error messages.

    Raises:
        ConfigError: if a setting that must not differ does.
    """
    new_labels = _are_labels_new(model, config)
    if new_labels and config.model.shape != "encoder":
        raise ConfigError(
            f'{name} was pre-trained on masked tokens: set model.shape = "encoder", model.labels = "line" or "token"'
        )
    same_task = not new_labels and (model.data.text is None) == (config.data.text is None)
    keys = {"learning_rate", "warmup", *OF_THE_MODEL} - (set() if same_task else {"metric"})
    training = {key: getattr(model.training, key) for key in keys - config.training.model_fields_set}
    languages = {key: getattr(config.data, key) or getattr(model.data, key) for key in LANGUAGES}
    return config.model_copy(
        update={
            **{section: _section(section, model, config, new_labels, name) for section in ("model", "text")},
            "data": changed(config.data, languages),
            "training": config.training.model_copy(update=training),
            "decoding": changed(model.decoding, config.decoding.model_dump(exclude_unset=True)),
        }
    )


def _section(section: str, model: Config, config: Config, new_labels: bool, name: str) -> Any:
    """[model] or [text] of `model` with the settings of `config`; tags and new pieces are added to the model's."""
    theirs, ours = getattr(model, section), getattr(config, section)
    given = ours.model_dump(exclude_unset=True)
    for key in given.keys() & {"add_pieces", "tags"}:
        given[key] = tuple(dict.fromkeys((*getattr(theirs, key), *given[key])))
    given = {key: value for key, value in given.items() if value not in (None, getattr(theirs, key))}
    may_differ = MAY_DIFFER_WITH_LABELS if new_labels else MAY_DIFFER
    if refused := [key for key in given if f"{section}.{key}" not in may_differ]:
        key = refused[0]
        raise ConfigError(
            f"{section}.{key} = {given[key]!r}, but {name} has {getattr(theirs, key)!r}: leave it out, or begin with "
            "another model"
        )
    own = {key: getattr(ours, key) for key in type(ours).model_fields if new_labels and f"{section}.{key}" in OF_LABELS}
    return changed(theirs, {**given, **own})


def with_pieces(
    config: Config, tokenizers: Tokenizers, weights: dict[str, Tensor]
) -> tuple[Tokenizers, dict[str, Tensor]]:
    """`tokenizers` and `weights` with the pieces of `text.add_pieces` and `text.tags`.

    The embedding of a new piece is the mean of the embeddings of its former parts. If each side has its own vocabulary,
    a piece is added to every one that can have it, but not to labels. If both sides look pieces up in a common list,
    the parts are those of the side that divides the piece into fewer.

    Raises:
        ConfigError: naming a piece that no vocabulary can have, or a tag that could be text.
    """
    encoder_only = config.model.shape == "encoder"
    one = encoder_only or tokenizers.source.tokenises_as(tokenizers.target)
    source, *others = [tokenizers.source] if one else [tokenizers.source, tokenizers.target]
    refused: dict[str, list[str]] = {}
    extended = [_with_possible(side, config.text, refused) for side in (source, *others)]
    for reasons in refused.values():
        if len(reasons) == len(extended):
            raise ConfigError(f"text.add_pieces: {reasons[0]}")
    new = Tokenizers(extended[0][0], tokenizers.target if encoder_only else extended[-1][0])
    if tokenizers.shared and not new.shared:
        raise ConfigError("text.add_pieces: source and target share a vocabulary, but divide these pieces differently")
    parts = [of_side for _, of_side in extended]
    if tokenizers.shared:
        parts = [[min(divisions, key=len) for divisions in zip(*parts, strict=True)]]
    longer = {
        name: _with_rows(weight, parts[0 if name.startswith("encoder.") else -1])
        for name, weight in weights.items()
        if name.endswith(".embedding.weight") or (name.startswith("projection.") and not encoder_only)
    }
    return new, {**weights, **longer}


def _with_possible(
    tokenizer: Tokenizer, text: TextConfig, refused: dict[str, list[str]]
) -> tuple[Tokenizer, list[list[int]]]:
    """`Tokenizer.with_pieces` with the pieces that it can have; `refused` gets the reasons for the others."""
    possible = []
    for piece in text.add_pieces:
        try:
            tokenizer.with_pieces([piece])
            possible.append(piece)
        except NoPieceError as error:
            refused.setdefault(piece, []).append(str(error))
    tags = [tag for tag in text.tags if tokenizer.find(tag) is None]
    try:
        return tokenizer.with_pieces(possible, tags) if possible or tags else (tokenizer, [])
    except NoPieceError as error:
        raise ConfigError(f"text.tags: {error}") from error


def _with_rows(weight: Tensor, parts: Sequence[Sequence[int]]) -> Tensor:
    """A matrix, or a bias, over a vocabulary, with a new row for each of `parts`: the mean of the rows of these ids."""
    return torch.cat([weight, *(weight[list(ids)].mean(dim=0, keepdim=True) for ids in parts)])


@torch.no_grad()
def load_what_fits(transformer: Network, weights: dict[str, Tensor]) -> list[str]:
    """Copy `weights` into the model, and return the names of the model's weights that differ from them.

    These are weights of another shape, which are not changed, and matrices that are tied now and were not before.
    """
    for name, parameter in transformer.named_parameters():
        if name in weights and weights[name].shape == parameter.shape:
            parameter.copy_(weights[name])
    found = transformer.named_parameters(remove_duplicate=False)
    return [name for name, parameter in found if name not in weights or not parameter.cpu().equal(weights[name])]
