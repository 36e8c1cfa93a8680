"""What `import zhuyi` offers: these names, and no wait."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

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
    "train",
}


def test_the_public_names_are_these() -> None:
    assert set(zhuyi.__all__) == PUBLIC
    assert set(zhuyi.__dir__()) >= PUBLIC


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
    with pytest.raises(AttributeError, match="'zhuyi' has no attribute 'transmogrify'"):
        zhuyi.transmogrify  # noqa: B018  # to be looked up is all that it does


def test_editors_and_type_checkers_see_the_names_that_are_there() -> None:
    tree = ast.parse(Path(zhuyi.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("zhuyi")
        for alias in node.names
    }
    assert seen == zhuyi._HOME


def test_names_come_from_where_they_live() -> None:
    for name, module in zhuyi._HOME.items():
        assert getattr(import_module(module), name) is getattr(zhuyi, name)


def test_import_is_immediate() -> None:
    code = "import sys, zhuyi; zhuyi.ZhuyiError; dir(zhuyi); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
