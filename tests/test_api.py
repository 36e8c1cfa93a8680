"""What `import zhuyi` offers: these names, and no wait."""

import subprocess
import sys

import pytest

import zhuyi

PUBLIC = {
    "CheckpointError",
    "Config",
    "ConfigError",
    "DataError",
    "Evaluation",
    "MissingExtra",
    "Report",
    "Look",
    "Trace",
    "TrainingError",
    "Translation",
    "Translator",
    "WhatIf",
    "ZhuyiError",
    "__version__",
    "build_config",
    "check",
    "evaluate",
    "load",
    "load_config",
    "look",
    "train",
}


def test_the_public_names_are_these() -> None:
    assert set(zhuyi.__all__) == PUBLIC
    assert set(dir(zhuyi)) >= PUBLIC


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
