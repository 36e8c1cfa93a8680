"""What an import writes, whatever the format that it reads."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import tiny_model
from foreign_models import make_opus_mt

from zhuyi.checkpoint import load_model, save_model
from zhuyi.directory import load_config_of
from zhuyi.errors import CheckpointError
from zhuyi.interop.families.foreign import as_stored
from zhuyi.interop.importing import import_model, read_foreign


@pytest.fixture(scope="module")
def opus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_opus_mt(tmp_path_factory.mktemp("opus") / "opus")


@pytest.mark.parametrize("target", ["ROMANCE", "", "x" * 1000, "en_GB"])
def test_what_is_no_language_tag_is_not_taken_for_a_language(opus: Path, tmp_path: Path, target: str) -> None:
    (opus / "tokenizer_config.json").write_text(json.dumps({"source_lang": "en", "target_lang": target}))
    import_model(opus, tmp_path / "imported")
    with warnings.catch_warnings(action="error"):
        data = load_config_of(tmp_path / "imported").data
    assert (data.source_language, data.target_language) == ("en", None)


@pytest.mark.parametrize("languages", [(5, {"a": 1}), (["en"], "")])
def test_what_another_file_names_as_a_language_may_be_anything(opus: Path, languages: tuple[Any, Any]) -> None:
    foreign = read_foreign(opus, None, [])
    data = as_stored(replace(foreign, text=replace(foreign.text, languages=languages)), "opus").config.data
    assert (data.source_language, data.target_language) == (None, None)


def test_a_training_run_is_not_overwritten(opus: Path, tmp_path: Path) -> None:
    model = load_model(tiny_model(tmp_path / "run"))
    save_model(model, tmp_path / "run/checkpoints/step-000001")
    before = (tmp_path / "run/model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="holds a training run"):
        import_model(opus, tmp_path / "run")
    assert (tmp_path / "run/model.safetensors").read_bytes() == before
