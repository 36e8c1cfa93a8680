"""Runs of the tests draw no picture, unless a test says so."""

import pytest

from zhuyi.training import recipe


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture costs more than the run."""
    monkeypatch.setattr(recipe, "draw", lambda *_: None)
