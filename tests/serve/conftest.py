"""Models and engines that the tests of the server share. `serving` needs the extras, which not all tests here do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from command_line import TINY, tiny_model

from zhuyi.loading import load


@pytest.fixture(scope="session")
def en_de(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("models") / "en-de"))


@pytest.fixture(scope="session")
def de_fr(tmp_path_factory: pytest.TempPathFactory) -> str:
    """It has other answers: it is cut off earlier."""
    from serving import speaking

    shorter = {"model": {**TINY["model"], "max_length": 24}}
    return str(tiny_model(tmp_path_factory.mktemp("models") / "second", speaking("de", "fr", **shorter)))


@pytest.fixture
def held(en_de: str) -> Iterator[Any]:
    """The `serving.Held` that computes for every model while a test runs."""
    from serving import Held

    engine = Held()

    def held_load(directory: Path, **_: object) -> object:
        return engine.in_place_of(load(directory, device="cpu"))

    with patch("zhuyi.serve.served_model.load", held_load):
        yield engine
