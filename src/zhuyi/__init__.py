"""The encoder–decoder Transformer as a tool: train one on your own parallel text, use it, look inside it.

    import zhuyi

    zhuyi.train(zhuyi.load_config("en-de.toml"), "en-de")
    translator = zhuyi.load("en-de")
    translator.translate(["A dog runs."])

Each name is imported when it is first asked for, because torch takes seconds to load and not everything needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zhuyi.config import Config as Config
    from zhuyi.config import build_config as build_config
    from zhuyi.config import load_config as load_config
    from zhuyi.data.check import Report as Report
    from zhuyi.data.prepare import check as check
    from zhuyi.errors import CheckpointError as CheckpointError
    from zhuyi.errors import ConfigError as ConfigError
    from zhuyi.errors import DataError as DataError
    from zhuyi.errors import MissingExtra as MissingExtra
    from zhuyi.errors import TrainingError as TrainingError
    from zhuyi.errors import ZhuyiError as ZhuyiError
    from zhuyi.evaluation import Evaluation as Evaluation
    from zhuyi.evaluation import evaluate as evaluate
    from zhuyi.microscope.trace import Trace as Trace
    from zhuyi.microscope.trace import WhatIf as WhatIf
    from zhuyi.training.recipe import train as train
    from zhuyi.translator import Translation as Translation
    from zhuyi.translator import Translator as Translator
    from zhuyi.translator import load as load

    __version__: str

_HOME = {
    "Config": "zhuyi.config",
    "build_config": "zhuyi.config",
    "load_config": "zhuyi.config",
    "Report": "zhuyi.data.check",
    "check": "zhuyi.data.prepare",
    "CheckpointError": "zhuyi.errors",
    "ConfigError": "zhuyi.errors",
    "DataError": "zhuyi.errors",
    "MissingExtra": "zhuyi.errors",
    "TrainingError": "zhuyi.errors",
    "ZhuyiError": "zhuyi.errors",
    "Evaluation": "zhuyi.evaluation",
    "evaluate": "zhuyi.evaluation",
    "Trace": "zhuyi.microscope.trace",
    "WhatIf": "zhuyi.microscope.trace",
    "train": "zhuyi.training.recipe",
    "Translation": "zhuyi.translator",
    "Translator": "zhuyi.translator",
    "load": "zhuyi.translator",
}
"""Where each public name lives."""

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name == "__version__":
        from zhuyi.version import version

        value = version()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # asked for once only
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
