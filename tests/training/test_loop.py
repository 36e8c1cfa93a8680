"""The loop: it learns, it keeps to its budget, it keeps what is worth keeping, and it says what happened."""

import errno
import json
import math
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import runs
import torch
from runs import copying, said, state_of, weights, with_training
from safetensors.torch import load as load_tensors
from torch.nn import functional as F

from zhuyi import files
from zhuyi.checkpoint import build_model
from zhuyi.config import Config, TrainingConfig, build_config
from zhuyi.data.batches import Batch, collate, plan
from zhuyi.data.prepare import prepare
from zhuyi.directory import read_metrics
from zhuyi.errors import CheckpointError, MissingExtra, TrainingError
from zhuyi.evaluation import held_out
from zhuyi.evaluation.held_out import Lines
from zhuyi.loading import build_translator, load
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training import recipe, validation
from zhuyi.training.checkpoints import Checkpoints
from zhuyi.training.events import (
    Checked,
    Event,
    Finished,
    Notice,
    Preparing,
    Saved,
    Started,
    Updated,
    Validated,
)
from zhuyi.training.metrics import draw
from zhuyi.training.objective import Objective, TeacherForcing, aim
from zhuyi.training.recipe import train
from zhuyi.training.run_state import RunState
from zhuyi.training.stopping import is_due
from zhuyi.training.update import update


def validated(out: Path) -> list[int]:
    return [record["step"] for record in read_metrics(out / "metrics.jsonl") if "dev_loss" in record]


def checkpoints_are_whole(out: Path, config: Config) -> list[int]:
    steps = [step for step, _ in Checkpoints(out, config).readable()]
    assert sorted(steps) == Checkpoints(out, config).steps()
    return sorted(steps)


# Learning


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "named"), [("bleu", True), ("exact", False)])
def test_a_dev_set_too_short_for_bleu_is_named(tmp_path: Path, metric: str, named: bool) -> None:
    config = copying(tmp_path, training={"steps": 1, "metric": metric})  # a line is one word
    assert ("no dev target has the four tokens" in said(config, tmp_path / "out")[1]) == named


@pytest.mark.slow
def test_it_learns_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "draw", draw)
    config = copying(
        tmp_path,
        pairs=300,
        letters="abc",
        longest=4,
        model={"width": 32, "feed_forward": 64, "dropout": 0.0, "attention_dropout": 0.0},
        training={
            "steps": 150,
            "tokens_per_batch": 600,
            "learning_rate": 5e-3,
            "warmup": 20,
            "schedule": "linear",
            "label_smoothing": 0.0,
            "save_every": 50,
            "log_every": 10,
            "average": 3,
        },
    )
    result, printed = said(config, tmp_path / "out")
    assert result.evaluations["dev"].scores["exact"].value == 100
    records = read_metrics(tmp_path / "out/metrics.jsonl")
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[0] > 1
    assert losses[-1] < 0.2
    assert load(tmp_path / "out").translate(["abc", "", "cab"]) == ["abc", "", "cab"]

    # And what it leaves behind.
    assert ElementTree.parse(tmp_path / "out/training.svg").getroot().tag.endswith("svg")
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    for part in ("`train.txt`", "300 pairs", "| dev | exact | 100.00 |", r"`nrefs:1\|case:mixed", result.chosen):
        assert str(part) in card
    assert [record["step"] for record in records if "loss" in record] == list(range(10, 151, 10))
    assert validated(tmp_path / "out") == [50, 100, 150]
    assert all(record["tokens_per_second"] > 0 for record in records if "loss" in record)
    assert "step    150" in printed


@pytest.mark.slow
def test_the_seed_decides_all_random_numbers(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 6, "save_every": 6})
    for name, values in (("a", {}), ("b", {}), ("c", {"seed": 2})):
        torch.manual_seed(len(name) + ord(name))  # whatever was drawn before
        train(with_training(config, **values), tmp_path / name)
    assert state_of(tmp_path / "a", 6) == state_of(tmp_path / "b", 6)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


@pytest.mark.slow
def test_looking_changes_nothing(tmp_path: Path) -> None:
    """Validations, checkpoints and records between the steps leave the steps as they are."""
    config = copying(tmp_path, training={"steps": 8, "save_every": 8})
    train(config, tmp_path / "one")
    train(with_training(config, save_every=1, log_every=1), tmp_path / "other")
    assert state_of(tmp_path / "one", 8) == state_of(tmp_path / "other", 8)


# One update


def _gradients(config: Config, model: torch.nn.Module, batches: list[Batch]) -> tuple[float, float, dict[str, Any]]:
    """Plain loss, norm, and the gradients that the optimiser was given."""
    seen: dict[str, Any] = {}

    class Recording(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            seen.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    recording = Recording(model.parameters(), lr=0.1)
    objective = Objective(model, TeacherForcing(config.training.label_smoothing))
    loss, norm = update(objective, recording, batches, config.training.clip, RunState())
    assert set(seen) == {name for name, _ in model.named_parameters()}
    assert all(parameter.grad is None for parameter in model.parameters())
    return loss, norm, seen


def test_four_small_batches_are_one_large_one(tmp_path: Path) -> None:
    """The loss is a mean over tokens, so it does not matter that the small batches have different numbers of them."""
    config = copying(tmp_path, model={"dropout": 0.0, "attention_dropout": 0.0}, training={"clip": 0.0})
    data = prepare(config)
    model = build_model(config, data.tokenizers).transformer.double()
    small = plan(data.store, 150, seed=1, epoch=0)[:4]
    parts = [collate(data.store, pairs) for pairs in small]
    assert len({part.target_tokens for part in parts}) > 1
    loss, norm, gradients = _gradients(config, model, parts)
    whole = _gradients(config, model, [collate(data.store, np.concatenate(small))])
    assert loss == pytest.approx(whole[0], rel=1e-9)
    assert norm == pytest.approx(whole[1], rel=1e-9)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, whole[2][name], rtol=1e-6, atol=1e-12)


def test_the_gradient_is_clipped_and_its_norm_reported_as_it_was(tmp_path: Path) -> None:
    config = copying(tmp_path)
    data = prepare(config)
    model = build_model(config, data.tokenizers).transformer
    batches = [collate(data.store, plan(data.store, 150, seed=1, epoch=0)[0])]
    for clip, kept in ((0.01, 0.01), (0.0, None)):
        torch.manual_seed(1)
        _, norm, gradients = _gradients(with_training(config, clip=clip), model, batches)
        after = torch.stack([gradient.norm() for gradient in gradients.values()]).norm().item()
        assert norm > 0.1
        assert after == pytest.approx(kept or norm, rel=1e-3)


# Budgets


@pytest.mark.slow
def test_a_budget_in_steps(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 7, "save_every": 3})
    assert train(config, tmp_path / "out").steps == 7
    assert validated(tmp_path / "out") == [3, 6, 7]


@pytest.mark.parametrize("epochs", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_budget_in_epochs(tmp_path: Path, epochs: float, accumulate: int) -> None:
    training = {"steps": None, "epochs": epochs, "accumulate": accumulate, "save_every": 100}
    config = copying(tmp_path, dev=False, training=training)
    batches = len(plan(prepare(config).store, config.training.tokens_per_batch, config.training.seed, 0))
    result = train(config, tmp_path / "out")
    state = RunState.from_json((tmp_path / f"out/checkpoints/step-{result.steps:06d}/run_state.json").read_bytes())
    assert state.passes == state.epoch + state.batches / batches
    assert epochs <= state.passes < epochs + accumulate / batches
    if epochs >= 1:
        assert state.passes == epochs
        assert result.steps == epochs * math.ceil(batches / accumulate)


@pytest.mark.slow
def test_a_budget_in_minutes(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": None, "minutes": 0.01, "save_every": None})
    result = train(config, tmp_path / "out")
    assert result.steps >= 1
    assert result.seconds >= 0.6
    assert validated(tmp_path / "out")[-1] == result.steps


def test_the_first_budget_reached_ends_the_run(tmp_path: Path) -> None:
    config = copying(tmp_path, dev=False, training={"steps": 3, "epochs": 50.0, "minutes": 60.0})
    assert train(config, tmp_path / "out").steps == 3


@pytest.mark.slow
def test_twenty_validations_unless_reported_otherwise(tmp_path: Path) -> None:
    config = copying(tmp_path, dev=False, training={"steps": 40, "save_every": None, "keep": 40})
    train(config, tmp_path / "out")
    assert checkpoints_are_whole(tmp_path / "out", config) == list(range(2, 41, 2))


@pytest.mark.slow
def test_a_slow_validation_does_not_bring_the_next_one_nearer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a budget in minutes, validations that take longer than a twentieth of it do not eat the rest."""
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def take_time(event: Event) -> None:
        nonlocal now
        now += 1 if isinstance(event, Updated) else 10 if isinstance(event, Validated) else 0

    config = copying(tmp_path, training={"steps": None, "minutes": 1.0, "save_every": None})
    assert train(config, tmp_path / "out", listeners=[take_time]).steps > len(validated(tmp_path / "out")) + 5


def short_run(dev_lines: int, **training: Any) -> int:
    """How many of so many dev lines a validation of a run looks at."""
    config = build_config(
        {
            "text": {"kind": "character"},
            "training": training,
            "decoding": {"beam": 4, "max_ratio": 2.0, "max_extra": 10},
        }
    )
    text = ["abcdefghi"] * dev_lines
    translator = build_translator(build_model(config, Tokenizers.train(config.text, text, text)), "cpu")
    return validation.lines_a_validation(Lines(text, text), translator, config.training, 50_000)


@pytest.mark.slow
def test_validations_of_a_short_run_look_at_some_lines_only() -> None:
    """A line costs 4 · (2 · 10 + 10) tokens at most; a minute is 200,000 tokens, of which they get a twentieth."""
    assert short_run(1000, minutes=1.0) == 10_000 // 120
    assert short_run(1000, minutes=30.0) == 1000
    assert short_run(1000, minutes=0.1) == 50
    assert short_run(30, minutes=0.1) == 30
    assert short_run(1000, steps=100, tokens_per_batch=2048, accumulate=2) == 20_480 // 120
    assert short_run(1000, epochs=4.0) == 10_000 // 120
    assert short_run(1000, epochs=4.0, minutes=30.0) == 10_000 // 120


def test_the_lines_of_a_validation_are_spread_over_all_of_them() -> None:
    lines = Lines([str(n) for n in range(10)], [str(-n) for n in range(10)])
    assert repr(lines.evenly(4)) == repr(Lines(["0", "2", "5", "7"], ["0", "-2", "-5", "-7"]))
    assert repr(lines.evenly(10)) == repr(lines)


# What is kept


def scripted(monkeypatch: pytest.MonkeyPatch, metric: str, values: list[float]) -> None:
    """Validations that find these scores, in turn; the last of them for ever."""
    real = held_out.evaluate
    remaining = list(values)

    def evaluate(*arguments: Any) -> Any:
        found = real(*arguments)
        value = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        return replace(found, scores={metric: replace(found.scores[metric], value=value)})  # type: ignore[index]

    monkeypatch.setattr(held_out, "evaluate", evaluate)


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "best"), [("exact", 3), ("chrf", 3), ("wer", 2), ("per", 2)])
def test_the_best_is_chosen_the_right_way_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, best: int
) -> None:
    scripted(monkeypatch, metric, [50.0, 10.0, 90.0, 60.0])
    config = copying(tmp_path, training={"steps": 4, "save_every": 1, "metric": metric})
    result = train(config, tmp_path / "out")
    assert result.chosen == f"step {best}, the best of 4 validated"
    assert weights(tmp_path / "out") == state_of(tmp_path / "out", best)["model.safetensors"]


@pytest.mark.slow
def test_the_newest_and_the_best_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, "exact", [10.0, 90.0, 20.0, 30.0, 40.0, 50.0])
    config = copying(tmp_path, training={"steps": 6, "save_every": 1, "keep": 2})
    train(config, tmp_path / "out")
    assert checkpoints_are_whole(tmp_path / "out", config) == [2, 5, 6]


@pytest.mark.slow
def test_checkpoints_of_chosen_steps_are_validated_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, "exact", [10.0, 20.0, 30.0, 40.0, 90.0, 50.0])
    config = copying(tmp_path, training={"steps": 9, "save_every": 4, "keep": 1, "keep_at": [2, 0, 1, 100]})
    train(config, tmp_path / "out")
    assert validated(tmp_path / "out") == [0, 1, 2, 4, 8, 9]
    assert checkpoints_are_whole(tmp_path / "out", config) == [0, 1, 2, 8, 9]
    untrained = load_tensors(state_of(tmp_path / "out", 0)["model.safetensors"])
    torch.manual_seed(config.training.seed)
    drawn = build_model(config, load(tmp_path / "out").tokenizers).transformer.state_dict()
    assert all(torch.equal(tensor, drawn[name]) for name, tensor in untrained.items())


@pytest.mark.slow
@pytest.mark.parametrize(("which", "members"), [("last", [5, 6, 7]), ("best", [1, 3, 5])])
def test_an_average_is_a_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, members: list[int]) -> None:
    scores = [80.0, 10.0, 90.0, 20.0, 70.0, 30.0, 40.0]
    scripted(monkeypatch, "exact", [*scores, 90.0, 95.0])  # at the end: the best checkpoint again, then the average
    training = {"steps": 7, "save_every": 1, "average": 3, "average_of": which, "keep": 1}
    config = copying(tmp_path, training=training)
    result = train(config, tmp_path / "out")
    assert result.chosen == f"the average of the {which} 3 checkpoints"
    found = load_tensors(weights(tmp_path / "out"))
    parts = [load_tensors(state_of(tmp_path / "out", step)["model.safetensors"]) for step in members]
    for name, tensor in found.items():
        mean = torch.stack([part[name].double() for part in parts]).mean(dim=0)
        torch.testing.assert_close(tensor.double(), mean, rtol=1e-6, atol=1e-9)
    assert checkpoints_are_whole(tmp_path / "out", config) == sorted({*members, 3, 7})


@pytest.mark.slow
def test_an_average_that_is_no_better_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, "exact", [80.0, 90.0, 70.0, 90.0, 90.0])
    config = copying(tmp_path, training={"steps": 3, "save_every": 1, "average": 3})
    assert train(config, tmp_path / "out").chosen == "step 2, the best of 3 validated"


@pytest.mark.slow
def test_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, "wer", [50.0, 40.0, 40.0, 45.0, 30.0, 31.0, 32.0, 33.0, 0.0])
    training = {"steps": 40, "save_every": 2, "metric": "wer", "patience": 3}
    result, printed = said(copying(tmp_path, training=training), tmp_path / "out")
    assert result.steps == 16
    assert "No better dev score in 3 validations" in printed


def test_without_a_dev_set_the_last_step_is_kept(tmp_path: Path) -> None:
    config = copying(tmp_path, dev=False, training={"steps": 5, "average": 3, "patience": 1})
    result = train(config, tmp_path / "out")
    assert (result.chosen, result.evaluations) == ("the last step, 5", {})
    assert weights(tmp_path / "out") == state_of(tmp_path / "out", 5)["model.safetensors"]
    assert "neither a dev nor a test set" in (tmp_path / "out/README.md").read_text(encoding="utf-8")


def test_a_data_set_of_the_hub_has_its_whole_name_in_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Rows(list[dict[str, str]]):
        _fingerprint = "0"

    library = ModuleType("datasets")
    monkeypatch.setattr(library, "load_dataset", lambda *_, **__: Rows([{"en": "ab", "de": "ba"}] * 9), raising=False)
    monkeypatch.setitem(sys.modules, "datasets", library)
    data = {"source": "hub:some/thing/train#en", "target": "hub:some/thing/train#de"}
    train(copying(tmp_path, dev=False, data=data, training={"steps": 1}), tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "9 pairs of `hub:some/thing/train#en` → `hub:some/thing/train#de`" in card


@pytest.mark.slow
def test_a_test_set_is_scored_once_at_the_end(tmp_path: Path) -> None:
    lines = runs.write_lines(tmp_path / "test.txt", 5, seed=3)
    data = {"test_source": lines, "test_target": lines}
    result = train(copying(tmp_path, data=data, training={"steps": 2}), tmp_path / "out")
    assert result.evaluations["test"].lines == 5
    assert "| test | exact |" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert not any("test" in record for record in read_metrics(tmp_path / "out/metrics.jsonl"))


# What goes wrong


@pytest.mark.slow
def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 50, "save_every": 1, "average": 1})
    config = with_training(config, learning_rate=1e30)  # which no configuration lets through
    with pytest.raises(TrainingError) as caught:
        train(config, tmp_path / "out")
    message = str(caught.value)
    assert "\n" not in message
    step = int(message.split(":")[0].removeprefix("step "))
    assert checkpoints_are_whole(tmp_path / "out", config)[-1] == step - 1
    numbers = message.partition("lines ")[2].partition(" of ")[0].removesuffix(", ...")
    assert all(1 <= int(number) <= 60 for number in numbers.split(", "))
    for part in (config.data.source, "training.learning_rate", "training.warmup", "--resume"):
        assert str(part) in message


@pytest.mark.slow
def test_poisoned_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = copying(tmp_path, training={"save_every": 2, "threads": 1})
    real, calls = TeacherForcing.__call__, iter(range(1, 99))

    def poisoned(self: TeacherForcing, model: torch.nn.Module, batch: Batch) -> Any:
        if next(calls) == 4:
            with torch.no_grad():
                next(model.parameters())[5, 0] = torch.nan
        return real(self, model, batch)

    with monkeypatch.context() as patched:
        patched.setattr(TeacherForcing, "__call__", poisoned)
        with pytest.raises(TrainingError, match="step 4: the loss is not a number"):
            train(config, tmp_path / "out")
    assert checkpoints_are_whole(tmp_path / "out", config) == [2]
    assert train(config, tmp_path / "out", resume=True).steps == 20


def test_a_run_is_not_begun_where_there_is_one(tmp_path: Path) -> None:
    config = copying(tmp_path, dev=False, training={"steps": 1})
    train(config, tmp_path / "out")
    before = weights(tmp_path / "out")
    with pytest.raises(CheckpointError, match="--resume"):
        train(config, tmp_path / "out")
    for path in (tmp_path / "out/checkpoints/step-000001").iterdir():
        path.unlink()
    (tmp_path / "out/checkpoints/step-000001").rmdir()
    for resume in (False, True):
        with pytest.raises(CheckpointError, match="--out"):
            train(config, tmp_path / "out", resume=resume)
    assert weights(tmp_path / "out") == before


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot write") as caught:
        train(copying(tmp_path), tmp_path / "file/out")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_the_older_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = copying(tmp_path, training={"keep": 1})
    real = files._write_synced

    def full(path: Path, content: bytes) -> None:
        if "step-000015" in str(path) and path.name == "run_state.safetensors":
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(files, "_write_synced", full)
        with pytest.raises(CheckpointError, match=r"step-000015: cannot write: No space .*--resume") as caught:
            train(config, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert 10 in [step for step, _ in Checkpoints(tmp_path / "out", config).readable()]
    assert not list((tmp_path / "out").rglob("*.safetensors.*"))
    assert train(config, tmp_path / "out", resume=True).steps == 20
    train(config, tmp_path / "whole")
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")


# Records


@pytest.mark.slow
def test_metrics_are_json_a_line(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 10, "log_every": 2})
    train(with_training(config, steps=5), tmp_path / "out")
    path = tmp_path / "out/metrics.jsonl"
    cut = json.dumps({"step": 5, "sample": ["ü"]}, ensure_ascii=False).encode()[:-4]  # by a kill, within a letter
    path.write_bytes(path.read_bytes() + b'{"step": 7, "loss": 1.0}\n' + cut)
    train(config, tmp_path / "out", resume=True)
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(r["step"], "loss" in r) for r in records] == [
        *((2, True), (4, True), (5, True), (5, False)),
        *((6, True), (8, True), (10, True), (10, False)),
    ]
    assert all(math.isfinite(value) for r in records for value in r.values() if isinstance(value, int | float))
    seconds = [record["seconds"] for record in records]
    assert seconds == sorted(seconds)


def test_a_sample_with_unusual_line_ends_is_one_record(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    records = [{"step": 1, "sample": ["a\u2028b\x85c\x0bd\ne", "", "👍"]}, {"step": 2}]
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    assert read_metrics(path) == records


@pytest.mark.slow
def test_tensorboard(tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = copying(tmp_path, training={"tensorboard": True, "log_every": 5})
    train(with_training(config, steps=10), tmp_path / "out")
    train(config, tmp_path / "out", resume=True)
    board = reading.EventAccumulator(str(tmp_path / "out/tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == [5, 10, 15, 20]
    assert [event.step for event in board.Scalars("dev_exact")] == [5, 10, 15, 20]


def test_tensorboard_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"zhuyi\[tensorboard\]"):
        train(copying(tmp_path, training={"tensorboard": True}), tmp_path / "out")


@pytest.mark.slow
def test_the_picture_of_a_run_without_records(tmp_path: Path) -> None:
    train(copying(tmp_path, dev=False, training={"steps": 1}), tmp_path / "out")
    draw(tmp_path / "out")
    assert ElementTree.parse(tmp_path / "out/training.svg").getroot().tag.endswith("svg")


@pytest.mark.slow
def test_time_goes_on_where_it_was(tmp_path: Path) -> None:
    config = copying(tmp_path, dev=False, training={"steps": 5})
    first = train(config, tmp_path / "out")
    time.sleep(0.2)
    second = train(with_training(config, steps=6), tmp_path / "out", resume=True)
    assert first.seconds < second.seconds


def test_files_that_no_run_has_made_are_left_alone(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 1})
    out = tmp_path / "mine"
    out.mkdir()
    (out / "README.md").write_text("my own words", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"README\.md exists and is not a run's"):
        train(config, out)
    assert (out / "README.md").read_text(encoding="utf-8") == "my own words"


def test_of_equal_scores_the_lowest_loss_is_best() -> None:
    """BLEU is 0 on words: the first checkpoint must not win, and patience must not run out, while the loss falls."""
    state = RunState(scores={1: 0.0, 2: 0.0, 3: 0.0}, losses={1: 3.0, 2: 1.0, 3: 2.0})
    assert state.best_steps("bleu") == [2, 3, 1]
    assert state.rank("wer", 10.0, 5.0) < state.rank("wer", 20.0, 1.0)
    assert state.rank("exact", 100.0, 0.1) < state.rank("exact", 100.0, 0.2)


def test_of_equal_scores_the_loss_that_smoothing_aims_at_is_the_best() -> None:
    """That of the cross entropy whose gradient is zero: less is a model that is surer than it is asked to be."""
    logits = torch.zeros(8, dtype=torch.float64)
    logits[3] = math.log(0.9 / 0.1 * 8 + 1)  # p = 0.9 + 0.1 / 8, and of the others 0.1 / 8
    logits.requires_grad_()
    F.cross_entropy(logits, torch.tensor(3), label_smoothing=0.1).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-12
    assert aim(0.1, 8) == pytest.approx(float(F.cross_entropy(logits.detach(), torch.tensor(3))), abs=1e-12)
    assert aim(0.0, 8) == 0.0
    state = RunState(scores={1: 99.0, 2: 100.0, 3: 100.0}, losses={1: 0.1, 2: 0.08, 3: 0.09}, aim=aim(0.1, 8))
    assert state.best_steps("exact") == [3, 2, 1]


@pytest.mark.slow
def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    _, printed = said(copying(tmp_path, training={"steps": 1}), tmp_path / "out", resume=True)
    assert "Nothing to resume" in printed


def test_a_run_of_some_minutes_rests_from_validations() -> None:
    """After one that took long the next waits; a budget in steps, or a given interval, knows no clock."""
    state, minutes, steps = RunState(step=7, seconds=50.0), TrainingConfig(minutes=1), TrainingConfig(steps=20)
    assert is_due(minutes, state, before=0.1, after=0.2, not_before=49.0)
    assert not is_due(minutes, state, before=0.1, after=0.2, not_before=51.0)
    assert is_due(steps, state, before=0.1, after=0.2, not_before=51.0)
    assert is_due(TrainingConfig(minutes=1, save_every=7), state, before=0.1, after=0.11, not_before=51.0)


def test_a_run_leaves_the_process_as_it_found_it(tmp_path: Path) -> None:
    """Threads, random states and determinism, also where the run fails."""
    config = copying(tmp_path, dev=False, training={"steps": 2, "threads": 3, "deterministic": True})
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state, numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    during: list[tuple[int, bool]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Updated):
            during.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))

    train(config, tmp_path / "out", listeners=[listen])
    with pytest.raises(CheckpointError):
        train(config, tmp_path / "out")
    assert during == [(3, True)] * 2
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (threads, deterministic)
    assert torch.get_rng_state().equal(state)
    assert (np.random.get_state()[1] == numpy).all()  # type: ignore[index,union-attr]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_a_listener_gets_every_event_in_order(tmp_path: Path) -> None:
    events: list[Event] = []
    result = train(
        copying(tmp_path, training={"steps": 6, "save_every": 3}), tmp_path / "out", listeners=[events.append]
    )
    kinds = [type(event) for event in events if not isinstance(event, Preparing | Notice)]
    saved = [Updated, Updated, Updated, Validated, Saved]
    assert kinds == [Checked, Started, *saved, *saved, Finished]
    assert [event.step for event in events if isinstance(event, Updated)] == list(range(1, 7))
    seconds = [event.seconds for event in events if isinstance(event, Updated | Validated | Saved | Finished)]
    assert seconds == sorted(seconds)
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.chosen, finished.evaluations) == (result.chosen, result.evaluations)


@pytest.mark.slow
def test_an_error_of_a_listener_ends_the_run_after_its_last_checkpoint(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 6, "save_every": 2})

    def fail(event: Event) -> None:
        if isinstance(event, Updated) and event.step == 5:
            raise RuntimeError("no such luck")

    with pytest.raises(RuntimeError, match="no such luck"):
        train(config, tmp_path / "out", listeners=[fail])
    assert checkpoints_are_whole(tmp_path / "out", config) == [2, 4]
    assert train(config, tmp_path / "out", resume=True).steps == 6
