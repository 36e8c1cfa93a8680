"""The variants of a configuration: all combinations of the values given for some of its settings."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch

from zhuyi.checkpoint import build_model
from zhuyi.config import FILES, Config, build_config, changed
from zhuyi.data.prepare import learn, open_corpus
from zhuyi.errors import ConfigError
from zhuyi.text.tokenizer import Tokenizers

Setting = str | int | float | bool

SAME_FOR_ALL = {
    "preset": "give one preset for all variants",
    "training.seed": "each variant has several seeds already, as many as --seeds says",
    "training.metric": "scores of different metrics cannot be compared",
    "training.start_from": "a comparison is of models that begin with random weights",
    "training.threads": "times with different numbers of threads cannot be compared",
    "decoding.engine": "times of different engines cannot be compared",
    **{
        f"text.{key}": "scores of lines in different normal forms cannot be compared"
        for key in ("lowercase", "normalization", "whitespace")
    },
    **{f"data.{key}": "all variants are scored on the same lines" for key in FILES if key.startswith(("dev", "test"))},
}
"""The keys that cannot differ between variants, with the reasons."""
OF_WINDOWS = ("data.text", "data.dev_text", "data.dev_share", "model.max_length", "text")
"""Keys and sections that determine the windows of running text, and which of their tokens are masked."""
MULTIPLE = 8
"""Fitted feed-forward widths are multiples of this."""
TOLERANCE = 0.02
"""Largest difference between parameter counts that are considered equal, as a share of those of the first variant."""


@dataclass(frozen=True)
class Variant:
    """One combination of settings."""

    name: str
    """Made from the values: `attention`, `width=128`, `convolution-width=128`. It is used in names of directories."""
    settings: dict[str, Setting]
    """The values of the keys that vary, and `model.feed_forward` if it is fitted."""
    config: Config
    """The resolved configuration, with `training.seed` of the first run."""
    parameters: int
    """Number of learned parameters."""


def make_variants(config: Config, vary: Mapping[str, Sequence[Setting]], equal: str | None) -> list[Variant]:
    """The Cartesian product of the values of all keys, the last key varying fastest.

    Args:
        config: the settings that all variants share.
        vary: the values of each `section.key`.
        equal: "parameters" chooses `model.feed_forward` of all variants but the first, so that they have as many
            parameters as the first, to within 2 %.

    Raises:
        ConfigError: if a key or value is not possible; if there are fewer than two variants, or two are the same or
            have different metrics; if they start from a model; or if parameters cannot be made equal.
        DataError: if the training data cannot be read.
    """
    if equal not in (None, "parameters"):
        raise ConfigError(f"--equal {equal}: parameters are all that can be made equal")
    for key in vary:
        if key in SAME_FOR_ALL:
            raise ConfigError(f"--vary {key}: {SAME_FOR_ALL[key]}")
        if config.data.text is not None and (key in OF_WINDOWS or key.partition(".")[0] in OF_WINDOWS):
            raise ConfigError(
                f"--vary {key}: all variants are scored on the same windows of the text, which it decides"
            )
    if config.training.start_from is not None:  # its settings and vocabularies would be those of the model it names
        raise ConfigError(f"training.start_from: {SAME_FOR_ALL['training.start_from']}: leave it out")
    if equal and "model.feed_forward" in vary:
        raise ConfigError("--equal parameters chooses model.feed_forward: leave out --vary model.feed_forward")
    found = [_variant(config, dict(zip(vary, values, strict=True))) for values in product(*vary.values())]
    if len(found) < 2:
        raise ConfigError("--vary gives one variant, and a comparison needs two: --vary KEY=A,B")
    _all_different(found)
    _one_metric(found)
    if not equal:
        return found
    first = replace(found[0], settings={**found[0].settings, "model.feed_forward": found[0].config.model.feed_forward})
    return [first, *(_with_parameters(each, first) for each in found[1:])]


def with_seed(config: Config, number: int) -> Config:
    """The configuration of the run with this seed, counted from 1."""
    return _over(config, {"training.seed": config.training.seed + number - 1})


def _variant(config: Config, settings: dict[str, Setting]) -> Variant:
    resolved = _over(config, settings)
    fixed: dict[str, Setting] = {}
    if resolved.decoding.engine == "auto":  # only torch computes all variants, and times of two engines do not compare
        fixed["decoding.engine"] = "torch"
    if resolved.training.threads is None:
        fixed["training.threads"] = 1
    data = resolved.data
    fixed |= {f"data.{key}": _absolute(name) for key in FILES if (name := getattr(data, key)) is not None}
    resolved = _over(resolved, fixed)
    mix = [
        each.model_copy(update={"source": _absolute(each.source), "target": _absolute(each.target)})
        for each in data.mix
    ]
    if mix:
        data = resolved.data.model_copy(update={"mix": tuple(mix)})
        resolved = resolved.model_copy(update={"data": data})
    return Variant(
        "-".join(_in_name(*each) for each in settings.items()), settings, resolved, count_parameters(resolved)
    )


def _absolute(name: str) -> str:
    """The absolute path of a file or a pattern of files, since runs may start in another directory."""
    return name if name.startswith("hub:") else os.path.abspath(name)


def _over(config: Config, settings: Mapping[str, Setting]) -> Config:
    """`config` with these settings. Settings that follow from others are derived anew."""
    # Without `ensure_ascii=False`, JSON has surrogate pairs for characters such as 𠮷, which TOML does not have.
    overrides = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    try:
        return build_config(config.model_dump(exclude_unset=True), overrides)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--set ", "--vary ")) from error


def _in_name(key: str, value: Setting) -> str:
    text = value if isinstance(value, str) else f"{key.rpartition('.')[2]}={json.dumps(value)}"
    return re.sub(r"[^\w.=+-]+", "_", text)


def _all_different(variants: Sequence[Variant]) -> None:
    for number, variant in enumerate(variants):
        for earlier in variants[:number]:
            if variant.name.lower() == earlier.name.lower():
                raise ConfigError(f"--vary gives two variants the name {variant.name}: leave one of them out")
            if _effective(variant.config) == _effective(earlier.config):
                raise ConfigError(
                    f"--vary: {earlier.name} and {variant.name} are the same model: is {', '.join(variant.settings)} "
                    "overruled by another setting?"
                )


def _one_metric(variants: Sequence[Variant]) -> None:
    first, metric = variants[0], variants[0].config.training.metric
    for variant in variants:
        if (other := variant.config.training.metric) != metric:
            raise ConfigError(
                f"{first.name} is scored by {metric} and {variant.name} by {other}, which cannot be compared: set "
                "training.metric"
            )


def _effective(config: Config) -> dict[str, Any]:
    """The settings without those that only set the defaults of others."""
    return config.model_dump(exclude={"model": {"mixer"}, "text": {"kind"}})


def count_parameters(config: Config) -> int:
    """The number of parameters of a configuration's model, whose vocabularies are learnt from the data or cached."""
    tokenizers = Tokenizers.from_files(learn(config, open_corpus(config))["files"])
    with torch.device("meta"):  # no memory, and no random numbers
        return build_model(config, tokenizers).transformer.parameter_count()


def _with_parameters(variant: Variant, first: Variant) -> Variant:
    """`variant` with the feed-forward width with which it has about as many parameters as `first`."""

    def of(width: int) -> int:
        return count_parameters(_feed_forward(variant.config, width))

    smallest = of(MULTIPLE)
    step = of(2 * MULTIPLE) - smallest  # parameters are linear in the width
    width = MULTIPLE * max(1, 1 + round((first.parameters - smallest) / step))
    parameters = of(width)
    if abs(parameters - first.parameters) > TOLERANCE * first.parameters:
        raise ConfigError(
            f"--equal parameters: {variant.name} has {parameters:,} parameters with model.feed_forward = {width}, and "
            f"{first.name} has {first.parameters:,}: give a larger model.feed_forward to all, or a larger model.width"
        )
    settings = {**variant.settings, "model.feed_forward": width}
    return replace(variant, settings=settings, config=_feed_forward(variant.config, width), parameters=parameters)


def _feed_forward(config: Config, width: int) -> Config:
    return config.model_copy(update={"model": changed(config.model, {"feed_forward": width})})


def to_tree(config: Config) -> dict[str, Any]:
    """The settings that were set in a configuration, as JSON values, from which `build_config` makes it again."""
    return config.model_dump(mode="json", exclude_unset=True)
