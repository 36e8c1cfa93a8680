"""Shape annotations are checked in tests, and only there; and the browser in which tests open pages."""

import os
import shutil
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping

jaxtyping.install_import_hook(
    ["zhuyi.model", "zhuyi.decoding", "zhuyi.data.batches", "zhuyi.microscope.trace", "zhuyi.training.objective"],
    "beartype.beartype",
)

SHAPES = (
    "contracts/test_reference.py",
    "contracts/test_step.py",
    "data/test_batches.py",
    "decoding/test_filters.py",
    "decoding/test_sampling.py",
    "decoding/test_search.py",
    "decoding/test_stopping_rules.py",
    "microscope/test_trace.py",
    "model",
    "training/test_objective.py",
)
"""The tests in which shapes are checked: they call every function that has such annotations, in every configuration.

To check takes longer than to compute a small model. `JAXTYPING_DISABLE=0 pytest` does so in all tests.
"""

NUMBERS = count()
"""Of the tests' caches."""

# A shell's background job ignores Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def _shapes(request: pytest.FixtureRequest) -> None:
    """Check the shapes in the tests of SHAPES, or in all of them."""
    if "JAXTYPING_DISABLE" not in os.environ:
        test = request.path.relative_to(Path(__file__).parent)
        jaxtyping.config.update("jaxtyping_disable", not any(test.is_relative_to(each) for each in SHAPES))


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache. (`mktemp` would look through the folders of all tests before.)"""
    cache = tmp_path_factory.getbasetemp() / "caches" / str(next(NUMBERS))
    cache.mkdir(parents=True)
    monkeypatch.setenv("ZHUYI_CACHE", str(cache))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, where there is one: it is no package that pip could install. Without windows, it starts much sooner."""
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=options)
        yield opened
        opened.close()
