"""The native engine scores a run as torch would, wherever it can; and at the end, what int8 changes is said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import copying, said, stopped, weights, with_training

from zhuyi.checkpoint import Model, build_model
from zhuyi.config import DecodingConfig
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.directory import read_metrics
from zhuyi.engine import library
from zhuyi.engine.native import NativeEngine
from zhuyi.engine.packed import PackedModel
from zhuyi.engine.torch import TorchEngine
from zhuyi.loading import load
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training import scoring
from zhuyi.training.events import Event, Finished, ignore
from zhuyi.training.int8 import MAX_DIFFERENCE, MIN_SAME, Int8Comparison
from zhuyi.training.recipe import train
from zhuyi.training.run_state import RunState
from zhuyi.training.scoring import ScoringEngine

SOURCES = [[5, 6, 7], [7, 5], [6, 6, 6, 5, 7]]
DECODING = DecodingConfig(beam=2, max_ratio=1.0, max_extra=4)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Fresh weights."""
    config = copying(tmp_path)
    torch.manual_seed(1)
    return build_model(config, Tokenizers.train(config.text, ["abcdef"], ["abcdef"]))


def validations(out: Path) -> list[dict[str, Any]]:
    """What each validation of a run found; the time aside."""
    records = [record for record in read_metrics(out / "metrics.jsonl") if "dev_loss" in record]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def engine_of(out: Path) -> str:
    """The engine that the newest checkpoint of a run names."""
    newest = max(out.glob("checkpoints/*/run_state.json"))
    return RunState.from_json(newest.read_bytes()).engine


def tokens(found: list[list[Hypothesis]]) -> list[list[list[int]]]:
    return [[hypothesis.tokens for hypothesis in alternatives] for alternatives in found]


class Wrong:
    """An engine that answers its first source with nothing, and the others rightly."""

    def __init__(self, model: Model) -> None:
        self.right = NativeEngine([PackedModel(model.stored().weights, model.config.model)])

    def decode(self, *arguments: Any) -> list[list[Hypothesis]]:
        first, *others = self.right.decode(*arguments)
        return [[replace(first[0], tokens=[])], *others]


# Validations


@pytest.mark.slow
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_native_engine_finds_the_scores_that_torch_finds(tmp_path: Path, ema: float) -> None:
    settings: dict[str, Any] = {"training": {"ema": ema, "learning_rate": 0.01}}
    native, result = copying(tmp_path, **settings), tmp_path / "native"
    train(native, result)
    train(copying(tmp_path, decoding={"engine": "torch"}, **settings), tmp_path / "torch")
    assert (engine_of(result), engine_of(tmp_path / "torch")) == ("native", "")
    assert len(validations(result)) == 4
    assert validations(result) == validations(tmp_path / "torch")
    assert weights(result) == weights(tmp_path / "torch")


@pytest.mark.slow
def test_a_resumed_run_finds_the_same_scores(tmp_path: Path) -> None:
    config = copying(tmp_path)
    train(with_training(config, keep=99), tmp_path / "whole")
    out = stopped(tmp_path / "whole", 10, tmp_path / "out")
    train(config, out, resume=True)
    assert validations(out) == validations(tmp_path / "whole")
    assert weights(out) == weights(tmp_path / "whole")


@pytest.mark.slow
def test_the_precision_of_use_is_not_that_of_a_validation(tmp_path: Path) -> None:
    train(copying(tmp_path), tmp_path / "float32")
    result = train(copying(tmp_path, decoding={"precision": "int8"}), tmp_path / "int8")
    assert validations(tmp_path / "int8") == validations(tmp_path / "float32")
    assert "precision" not in result.evaluations["dev"].scores["exact"].signature
    assert load(tmp_path / "int8").engine.precision == "int8"


def test_the_weights_are_those_of_the_moment(model: Model) -> None:
    """They are changed in place, as an optimizer does."""
    state, found = RunState(), []
    engine = ScoringEngine(model, state, ignore)
    for _ in range(3):
        with torch.no_grad():
            for parameter in model.transformer.parameters():
                parameter.normal_(std=0.5)
        found.append(tokens(engine.decode(SOURCES, DECODING)))
        assert found[-1] == tokens(TorchEngine(model.transformer, 24, "cpu").decode(SOURCES, DECODING))
    assert found[0] != found[1] != found[2]
    assert state.engine == "native"


@pytest.mark.slow
def test_where_the_engines_differ_the_run_says_so_and_goes_on_with_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(copying(tmp_path, decoding={"engine": "torch"}), tmp_path / "torch")
    config = copying(tmp_path)
    monkeypatch.setattr(scoring, "native_engine", lambda model, _: Wrong(model))
    _, printed = said(with_training(config, keep=99), tmp_path / "whole")
    assert printed.count("1 of 8 dev lines differ between the native engine and torch: torch decodes") == 1
    assert engine_of(tmp_path / "whole") == "torch"
    assert validations(tmp_path / "whole") == validations(tmp_path / "torch")

    monkeypatch.undo()
    out = stopped(tmp_path / "whole", 10, tmp_path / "out")
    train(config, out, resume=True)
    assert engine_of(out) == "torch"


@pytest.mark.slow
def test_a_model_that_the_native_engine_cannot_run_is_left_to_torch(tmp_path: Path) -> None:
    result, printed = said(copying(tmp_path, model={"mixer": "convolution"}, training={"steps": 5}), tmp_path / "out")
    assert (result.int8, engine_of(tmp_path / "out")) == (None, "")
    assert "native engine" not in printed


@pytest.mark.slow
def test_an_installation_without_the_native_engine_has_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "DIRECTORY", tmp_path)
    result, printed = said(copying(tmp_path, training={"steps": 5}), tmp_path / "out")
    assert (result.int8, engine_of(tmp_path / "out")) == (None, "")
    assert len(validations(tmp_path / "out")) == 1
    assert "native engine" not in printed


# int8


@pytest.mark.parametrize(
    ("int8", "same", "recommended"),
    [
        (34.2, 0.93, True),
        (34.2 - MAX_DIFFERENCE + 0.01, MIN_SAME, True),
        (34.2 - MAX_DIFFERENCE - 0.01, 1.0, False),
        (34.2 + MAX_DIFFERENCE + 0.01, 1.0, False),  # luck, and no better
        (34.2, MIN_SAME - 0.001, False),
    ],
)
def test_int8_is_recommended_where_it_changes_little(int8: float, same: float, recommended: bool) -> None:
    assert Int8Comparison("bleu", int8, 34.2, same).recommended == recommended


def test_figures_are_not_rounded_to_what_would_be_enough() -> None:
    found = Int8Comparison("bleu", 34.1, 34.2, 0.8999)
    assert str(found) == "int8: bleu 34.10 against 34.20 in float32, 89 % of outputs the same"


@pytest.mark.slow
def test_a_run_ends_with_what_int8_changes(tmp_path: Path) -> None:
    """It is what one finds who then uses the model in int8."""
    events: list[Event] = []
    result = train(copying(tmp_path), tmp_path / "out", listeners=[events.append])
    lines = (tmp_path / "dev.txt").read_text(encoding="utf-8").splitlines()
    answers = load(tmp_path / "out", precision="int8").translate(lines)
    same = sum(map(str.__eq__, answers, result.evaluations["dev"].hypotheses))
    assert result.int8 is not None
    assert result.int8.same == same / len(lines)
    assert result.int8.float32 == result.evaluations["dev"].scores["exact"].value
    (finished,) = (event for event in events if isinstance(event, Finished))
    assert finished.int8 == result.int8
    assert f"{result.int8}, on the dev set." in (tmp_path / "out/README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_without_a_dev_set_compares_nothing(tmp_path: Path) -> None:
    assert train(copying(tmp_path, dev=False, training={"steps": 2}), tmp_path / "out").int8 is None
