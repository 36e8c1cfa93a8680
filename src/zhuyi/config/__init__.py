"""One typed, frozen tree of settings: TOML in, overrides in, resolved JSON out."""

from zhuyi.config.data import LANGUAGES, DataConfig, is_bcp47
from zhuyi.config.decoding import DecodingConfig, EngineName, Precision, SearchStrategy, StoppingRule
from zhuyi.config.load import FILES, build_config, changed, load_config, parse_override
from zhuyi.config.model import NOT_IN_SHAPE, MixerKind, ModelConfig, Part, Shape
from zhuyi.config.presets import PRESETS
from zhuyi.config.schema import Config
from zhuyi.config.section import Section, readable
from zhuyi.config.show import describe, to_toml
from zhuyi.config.text import TEMPLATE, Normalization, TextConfig, TokenKind, Whitespace
from zhuyi.config.training import METRICS_OF, Metric, TrainingConfig

__all__ = [
    "FILES",
    "LANGUAGES",
    "METRICS_OF",
    "NOT_IN_SHAPE",
    "PRESETS",
    "TEMPLATE",
    "Config",
    "DataConfig",
    "DecodingConfig",
    "EngineName",
    "Metric",
    "MixerKind",
    "ModelConfig",
    "Normalization",
    "Part",
    "Precision",
    "SearchStrategy",
    "Section",
    "Shape",
    "StoppingRule",
    "TextConfig",
    "TokenKind",
    "TrainingConfig",
    "Whitespace",
    "build_config",
    "changed",
    "describe",
    "is_bcp47",
    "load_config",
    "parse_override",
    "readable",
    "to_toml",
]
