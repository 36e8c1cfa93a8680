"""What `import zhuyi` offers: these names, and no wait."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import zhuyi

PUBLIC = {
    "CheckpointError",
    "Comparison",
    "Config",
    "ConfigError",
    "DataError",
    "Evaluation",
    "Look",
    "MissingExtra",
    "Report",
    "Result",
    "Trace",
    "TrainingError",
    "Translation",
    "Translator",
    "WhatIf",
    "ZhuyiError",
    "__version__",
    "build_config",
    "check",
    "compare",
    "evaluate",
    "evaluate_text",
    "export_model",
    "import_model",
    "generate",
    "load",
    "load_config",
    "look",
    "save",
    "train",
    "upload_model",
}
PACKAGES = {
    "zhuyi.model": {
        *("SHAPES", "DecoderOnly", "EncoderOnly", "Network", "ModelConfig", "Positions", "Recording", "Stack", "Tap"),
        "Transformer",
        *("kernels", "reference_logits", "reference_values"),
    },
    "zhuyi.data": {"Batch", "Corpus", "InMemory", "Pair", "Plan", "Sequences", "Store", "collate", "plan"},
    "zhuyi.interop": {"from_state_dict"},
    "zhuyi.serve": {
        "Alignment",
        "Answer",
        "Limits",
        "Models",
        "Query",
        "Refusal",
        "Service",
        "Settings",
        "application",
        "run",
    },
    "zhuyi.decoding": {"Candidate", "Hypothesis", "STRATEGIES", "Stepper", "Strategy", "filters", "search"},
    "zhuyi.training": {
        *(
            "Checked",
            "Event",
            "Finished",
            "Listener",
            "Notice",
            "Preparing",
            "Saved",
            "Started",
            "Updated",
            "Validated",
        ),
        *("Data", "events", "DivergenceError", "Int8Comparison", "Loss", "Optimizer", "RunState", "TeacherForcing"),
        *("cross_entropy", "fit", "learning_rate"),
    },
}
"""The second tier: documented packages, for loops and models of one's own."""


def test_the_public_names_are_these() -> None:
    assert set(zhuyi.__all__) == PUBLIC
    assert set(dir(zhuyi)) >= PUBLIC


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_below_have_these_names(package: str) -> None:
    if package == "zhuyi.serve":
        pytest.importorskip("uvicorn")  # of the extra
    module = import_module(package)
    assert set(module.__all__) == PACKAGES[package]
    assert module.__doc__
    for name in PACKAGES[package]:
        value = getattr(module, name)
        assert value.__doc__ or not (inspect.isclass(value) or inspect.isfunction(value))


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_each_public_name_can_be_imported_and_is_documented(name: str) -> None:
    value = getattr(zhuyi, name)
    assert value.__name__ == name
    assert value.__module__.startswith("zhuyi")
    assert value.__doc__


def test_version_is_a_string() -> None:
    assert isinstance(zhuyi.__version__, str)
    assert zhuyi.__version__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="transmogrify"):
        zhuyi.transmogrify  # noqa: B018  # to be looked up is all that it does


def test_import_is_immediate() -> None:
    code = "import sys, zhuyi; zhuyi.ZhuyiError; dir(zhuyi); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
