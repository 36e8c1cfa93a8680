"""One typed, frozen tree of settings: TOML in, overrides in, resolved JSON out."""

from zhuyi.config.load import FILES, build_config, changed, load_config, parse_override
from zhuyi.config.presets import PRESETS
from zhuyi.config.schema import (
    LANGUAGES,
    Config,
    DataConfig,
    DecodingConfig,
    EngineName,
    Metric,
    MixerKind,
    ModelConfig,
    Normalization,
    Precision,
    SearchStrategy,
    Section,
    Shape,
    TextConfig,
    TokenKind,
    TrainingConfig,
    Whitespace,
    readable,
)
from zhuyi.config.show import describe, to_toml

__all__ = [
    "FILES",
    "LANGUAGES",
    "PRESETS",
    "Config",
    "DataConfig",
    "DecodingConfig",
    "EngineName",
    "Metric",
    "MixerKind",
    "ModelConfig",
    "Normalization",
    "Precision",
    "SearchStrategy",
    "Section",
    "Shape",
    "TextConfig",
    "TokenKind",
    "TrainingConfig",
    "Whitespace",
    "build_config",
    "changed",
    "describe",
    "load_config",
    "parse_override",
    "readable",
    "to_toml",
]
