"""Shape annotations are checked in tests, and only there."""

import os
import signal

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook(
    ["zhuyi.model", "zhuyi.decoding", "zhuyi.data.batches", "zhuyi.microscope.trace", "zhuyi.training.objective"],
    "beartype.beartype",
)

# A shell's background job ignores Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("ZHUYI_CACHE", str(tmp_path_factory.mktemp("cache")))
