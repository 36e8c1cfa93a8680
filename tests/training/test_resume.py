"""A run that was stopped, killed or damaged, and then resumed, ends with the bytes of one that was left alone."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from runs import SHAPES, after, copying, of_shape, said, state_of, stopped, weights, with_training

from zhuyi.config import FILES, Config, describe
from zhuyi.data.prepare import prepare
from zhuyi.directory import load_config_of, read_metrics, save_decoding
from zhuyi.errors import CheckpointError, ConfigError, DataError
from zhuyi.training import recipe, stopping, threads
from zhuyi.training.checkpoints import MAY_CHANGE, Checkpoints
from zhuyi.training.distributed import ALONE
from zhuyi.training.events import Listener, ignore
from zhuyi.training.lock import LOCK, alone_in
from zhuyi.training.recipe import train
from zhuyi.training.run_state import RunState


def raise_after(step: int, number: signal.Signals) -> Listener:
    """A listener: a signal comes when this update (from 1) has been made."""
    return after(step, lambda: signal.raise_signal(number))


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """To wait for the disk costs time, and is tested elsewhere."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


Whole = Callable[..., tuple[Config, Path]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """An uninterrupted run with these settings, and all its checkpoints; made once: copy it before you harm it."""
    made: dict[str, tuple[Config, Path]] = {}

    def whole(**sections: Any) -> tuple[Config, Path]:
        name = repr(sections)
        if name not in made:
            folder = tmp_path_factory.mktemp("whole")
            config = copying(folder, **sections)
            train(with_training(config, keep=99), folder / "out")
            made[name] = config, folder / "out"
        return made[name]

    return whole


def same_end(one: Path, other: Path, step: int) -> None:
    assert state_of(one, step) == state_of(other, step)
    assert weights(one) == weights(other)


RESIDUALS = {"encoder": ("mixer", "feed_forward"), "decoder": ("mixer", "cross", "feed_forward")}
NORMS = [f"{stack}.blocks.0.{name}_residual" for stack, names in RESIDUALS.items() for name in names]
NORMS += ["encoder.norm", "decoder.norm"]
AVERAGED = {"training": {"average": 4, "keep": 1}}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "plain": {},
    "accumulate": {"training": {"accumulate": 2}},
    "noam": {"training": {"schedule": "inverse_sqrt", "warmup": 7}},
    "bf16": {"training": {"precision": "bf16"}},
    "tied to nothing, recurrent": {"model": {"tie": "none", "mixer": "recurrence"}},
    "separate vocabularies": {"text": {"shared": False}},
    "muon alone": {  # which keeps no number of updates, on which the factor of the average depends
        "training": {"optimizer": "muon", "ema": 0.9, "freeze": ["embeddings", *NORMS]},
    },
    "best average": {"training": {"average": 3, "average_of": "best", "keep": 1, "save_every": 3, "metric": "wer"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_ends_like_one_that_was_left_alone(tmp_path: Path, whole: Whole, variant: str) -> None:
    """An epoch has some eight batches: one of its borders was crossed before, another is after."""
    config, run = whole(**VARIANTS[variant])
    middle = Checkpoints(run, config).steps()[1]
    out = stopped(run, middle, tmp_path / "out")
    result, printed = said(config, out, resume=True)
    assert result.steps == 20
    assert f"Going on from step {middle}" in printed
    same_end(run, out, 20)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_a_resumed_run_of_every_shape_ends_like_one_that_was_left_alone(tmp_path: Path, shape: str) -> None:
    config = of_shape(tmp_path, shape)
    train(with_training(config, keep=99), tmp_path / "whole")
    out = stopped(tmp_path / "whole", 10, tmp_path / "out")
    train(config, out, resume=True)
    same_end(tmp_path / "whole", out, 20)


@pytest.mark.slow
def test_ten_steps_and_ten_more_are_twenty(tmp_path: Path) -> None:
    config = copying(tmp_path)
    train(config, tmp_path / "whole")
    assert train(with_training(config, steps=10), tmp_path / "parts").steps == 10
    assert train(config, tmp_path / "parts", resume=True).steps == 20
    same_end(tmp_path / "whole", tmp_path / "parts", 20)


@pytest.mark.slow
def test_every_place_to_stop_is_as_good(tmp_path: Path, whole: Whole) -> None:
    """The last group of an epoch is shorter than the others here."""
    config, run = whole(dev=False, training={"steps": 9, "accumulate": 3, "save_every": 1})
    epochs = {RunState.from_json(file.read_bytes()).epoch for file in run.glob("checkpoints/*/run_state.json")}
    assert len(epochs) >= 3
    for step in range(1, 9):
        out = stopped(run, step, tmp_path / f"{step}")
        train(config, out, resume=True)
        same_end(run, out, 9)


@pytest.mark.slow
def test_a_checkpoint_before_the_first_update_is_as_good(tmp_path: Path, whole: Whole) -> None:
    config, run = whole(training={"steps": 6, "keep_at": [0, 3]})
    for step in (0, 3):
        out = stopped(run, step, tmp_path / f"{step}")
        train(config, out, resume=True)
        same_end(run, out, 6)


@pytest.mark.slow
def test_bpe_dropout_goes_on_in_the_same_segmentation(tmp_path: Path) -> None:
    """As long as it is in the cache; where it is not, the run goes on in another one."""
    text = {"kind": "bpe", "vocabulary": 290, "bpe_dropout": 0.3}
    training = {"steps": 12, "save_every": 3, "keep": 99, "tokens_per_batch": 100}
    config = copying(tmp_path, dev=False, text=text, training=training)
    train(config, tmp_path / "whole")
    cache = Path(os.environ["ZHUYI_CACHE"])
    assert {path.suffixes[0] for path in cache.glob("*.arrow")} == {".epoch-0", ".epoch-1"}
    for step in (3, 9):
        out = stopped(tmp_path / "whole", step, tmp_path / f"{step}")
        train(config, out, resume=True)
        same_end(tmp_path / "whole", out, 12)
    out = stopped(tmp_path / "whole", 9, tmp_path / "elsewhere")
    shutil.rmtree(cache)
    result, printed = said(config, out, resume=True)
    assert result.steps == 12
    assert "Not to the last bit: epoch 2 was no longer in the cache" in printed
    assert {path.suffixes[0] for path in cache.glob("*.arrow")} == {".epoch-1"}  # and none that nobody wants


@pytest.mark.slow
def test_a_finished_run_resumed_is_the_same_run(tmp_path: Path, whole: Whole) -> None:
    config, run = whole(**AVERAGED)
    out = Path(shutil.copytree(run, tmp_path / "out"))
    assert train(config, out, resume=True).steps == 20
    same_end(run, out, 20)


@pytest.mark.slow
def test_a_run_that_ran_out_of_patience_stays_so(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 40, "learning_rate": 1e-12, "save_every": 2, "patience": 3})
    first, printed = said(config, tmp_path / "out")
    assert first.steps == 8
    assert "3 validations" in printed
    before = weights(tmp_path / "out")
    again = train(config, tmp_path / "out", resume=True)
    assert (again.steps, weights(tmp_path / "out")) == (8, before)
    more = train(with_training(config, patience=5), tmp_path / "out", resume=True)
    assert more.steps == 12


# Signals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("update", "number"), [(1, signal.SIGINT), (9, signal.SIGTERM), (17, signal.SIGINT), (20, signal.SIGINT)]
)
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    tmp_path: Path, whole: Whole, update: int, number: signal.Signals
) -> None:
    """Its checkpoint that was not due takes no due one's place in the average."""
    config, run = whole(**AVERAGED)
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    first = train(config, tmp_path / "out", listeners=[raise_after(update, number)])
    assert (first.interrupted, first.steps) == (True, update)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not (tmp_path / "out/model.safetensors").exists()
    result = train(config, tmp_path / "out", resume=True)
    assert (result.interrupted, result.steps) == (False, 20)
    same_end(run, tmp_path / "out", 20)
    assert Checkpoints(tmp_path / "out", config).steps() == [5, 10, 15, 20]


@pytest.mark.slow
def test_interrupted_and_satisfied(tmp_path: Path) -> None:
    """Who stops a run because it is good enough ends it with a smaller budget: what it has is scored and kept."""
    config = copying(tmp_path)
    train(config, tmp_path / "out", listeners=[raise_after(3, signal.SIGINT)])
    result = train(with_training(config, steps=2), tmp_path / "out", resume=True)
    assert (result.steps, result.interrupted) == (3, False)
    assert result.evaluations["dev"].lines == 8
    assert weights(tmp_path / "out") == state_of(tmp_path / "out", 3)["model.safetensors"]


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(copying(tmp_path), tmp_path / "out", listeners=[after(1, twice)])
    assert signal.getsignal(signal.SIGINT) is handler


RECIPES: dict[str, dict[str, Any]] = {
    "SIGINT": {"optimizer": "adamw", "ema": 0.0},
    "SIGKILL": {"optimizer": "muon", "ema": 0.9},
}


@pytest.mark.slow
@pytest.mark.unix
@pytest.mark.parametrize("name", RECIPES)
def test_a_process_that_is_stopped_or_killed(tmp_path: Path, name: str) -> None:
    """At no chosen moment: in an update, in a validation, in a save."""
    number = signal.Signals[name]
    config = copying(tmp_path, training={"steps": 1_000_000, "save_every": 3, "accumulate": 2, **RECIPES[name]})
    out = tmp_path / "out"
    settings = [f"{s}.{key}={json.dumps(value)}" for s, key, value, _ in describe(config) if s and value is not None]
    command = [sys.executable, "-m", "zhuyi", "train", "--out", str(out)]
    command += [argument for setting in settings for argument in ("--set", setting)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(out.glob("checkpoints/*/manifest.json")):
        time.sleep(0.01)
    time.sleep(random.Random(name).random() * 0.3)
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), printed
    if number == signal.SIGINT:
        assert "--resume" in printed
    assert not (out / "model.safetensors").exists()

    last = Checkpoints(out, config).steps()[-1]
    config = with_training(config, steps=last + 4)
    train(config, out, resume=True)
    train(config, tmp_path / "whole")
    same_end(tmp_path / "whole", out, last + 4)
    steps = [(record["step"], "dev_loss" in record) for record in read_metrics(out / "metrics.jsonl")]
    assert steps == sorted(set(steps))


# Damage


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("model.safetensors", flip),
        ("run_state.safetensors", flip),
        ("run_state.json", flip),
        ("tokenizer.json", Path.unlink),
        ("run_state.safetensors", Path.unlink),
        ("manifest.json", Path.unlink),
    ],
)
def test_a_broken_checkpoint_is_passed_over(
    tmp_path: Path, whole: Whole, name: str, harm: Callable[[Path], None]
) -> None:
    """The one before it takes its place, and the broken one is written anew, due or not, and however few are kept."""
    config, run = whole(training={"keep": 1, "save_every": 3})
    out = stopped(run, 20, tmp_path / "out")
    harm(out / "checkpoints/step-000020" / name)
    result, printed = said(config, out, resume=True)
    assert "step-000020" in printed
    assert "Going on from step 18" in printed
    same_end(run, out, 20)
    best = result.chosen.split(",")[0].removeprefix("step ")
    assert Checkpoints(out, config).steps() == sorted({int(best), 20})


@pytest.mark.slow
def test_a_broken_checkpoint_crowds_out_no_whole_one(tmp_path: Path, whole: Whole) -> None:
    config, run = whole(training={"keep": 1, "save_every": 3})
    out = stopped(run, 20, tmp_path / "out")
    flip(out / "checkpoints/step-000020/model.safetensors")
    assert train(config, out, resume=True, listeners=[raise_after(19, signal.SIGINT)]).steps == 19
    assert next(Checkpoints(out, config).readable())[0] == 19
    assert 20 not in Checkpoints(out, config).steps()


@pytest.mark.slow
def test_an_older_checkpoint_that_broke_costs_the_average_one_member(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"average": 4, "learning_rate": 1e-9})
    train(config, tmp_path / "out")
    whole, _ = said(config, tmp_path / "out", resume=True)
    best = int(whole.chosen.removeprefix("step ").split(",")[0])
    if best == 20:  # the newest is not an older one: its place is taken by writing it anew
        best = 15
    flip(tmp_path / f"out/checkpoints/step-{best:06d}/model.safetensors")
    result, printed = said(config, tmp_path / "out", resume=True)
    assert f"step-{best:06d}" in printed
    assert not result.chosen.startswith(f"step {best},")


def test_a_checkpoint_that_cannot_be_read_is_not_a_broken_one(tmp_path: Path) -> None:
    """Of a later version, or on a disk that fails: to begin anew would throw it away."""
    config = copying(tmp_path, dev=False, training={"steps": 4, "save_every": 2})
    train(config, tmp_path / "out")
    manifest = tmp_path / "out/checkpoints/step-000004/manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(CheckpointError, match="reads formats up to 2"):
        train(config, tmp_path / "out", resume=True)
    assert Checkpoints(tmp_path / "out", config).steps() == [2, 4]


def test_progress_of_another_version_is_a_readable_error() -> None:
    with pytest.raises(CheckpointError, match="another version"):
        RunState.from_json(b'{"scores": {}, "losses": {}, "phase": "of the moon"}')
    with pytest.raises(CheckpointError, match="another version"):
        RunState.from_json(b'{"step": 3}')


@pytest.mark.slow
def test_nothing_but_broken_checkpoints_is_a_new_run(tmp_path: Path) -> None:
    config = copying(tmp_path, dev=False, training={"steps": 4, "save_every": 2})
    train(config, tmp_path / "whole")
    train(config, tmp_path / "out")
    for path in (tmp_path / "out").glob("checkpoints/*/model.safetensors"):
        flip(path)
    _, printed = said(config, tmp_path / "out", resume=True)
    assert printed.count("broken checkpoint") == 2
    same_end(tmp_path / "whole", tmp_path / "out", 4)


@pytest.mark.slow
def test_a_strangers_folder_among_the_checkpoints_is_left_alone(tmp_path: Path) -> None:
    config = copying(tmp_path, dev=False)
    train(with_training(config, steps=5), tmp_path / "out")
    (tmp_path / "out/checkpoints/step-000005-good").mkdir()
    assert train(config, tmp_path / "out", resume=True).steps == 20
    assert (tmp_path / "out/checkpoints/step-000005-good").is_dir()


# Settings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("model", "width", 32),
        ("model", "dropout", 0.2),
        ("text", "lowercase", True),
        ("text", "normalization", "none"),
        ("training", "seed", 2),
        ("training", "tokens_per_batch", 100),
        ("training", "accumulate", 2),
        ("training", "label_smoothing", 0.2),
        ("training", "metric", "wer"),
        ("training", "optimizer", "adamw"),
        ("training", "ema", 0.9),
        ("data", "long_lines", "truncate"),
    ],
)
def test_what_must_not_change(tmp_path: Path, section: str, key: str, value: object) -> None:
    assert f"{section}.{key}" not in MAY_CHANGE
    config = copying(tmp_path, training={"steps": 2})
    train(config, tmp_path / "out")
    before = state_of(tmp_path / "out", 2)
    changed = config.model_copy(update={section: getattr(config, section).model_copy(update={key: value})})
    with pytest.raises(ConfigError, match=rf"{section}\.{key} = {value!r}") as caught:
        train(changed, tmp_path / "out", resume=True)
    assert "\n" not in str(caught.value)
    assert state_of(tmp_path / "out", 2) == before


@pytest.mark.slow
def test_what_may_change(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 2})
    train(config, tmp_path / "out")
    more = with_training(config, steps=None, minutes=60.0, epochs=1.0, log_every=1, save_every=3, keep=2, patience=50)
    result = train(more, tmp_path / "out", resume=True)
    assert result.steps > 2
    assert [r["step"] for r in read_metrics(tmp_path / "out/metrics.jsonl") if "loss" in r][:3] == [2, 3, 4]


@pytest.mark.slow
def test_what_computes_may_change_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = copying(tmp_path, training={"steps": 2})
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "fingerprint", lambda *_: "an abacus")
        train(config, tmp_path / "out")
    for steps, expected in ((3, True), (4, False)):
        _, printed = said(with_training(config, steps=steps), tmp_path / "out", resume=True)
        assert ("the run began with an abacus, and continues with torch" in printed) == expected


@pytest.mark.slow
def test_threads_are_chosen_anew_where_something_else_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = copying(tmp_path, training={"steps": 2})
    found = iter([7, 1])

    def threads_of(step: int) -> int:
        return RunState.from_json((tmp_path / f"out/checkpoints/step-{step:06d}/run_state.json").read_bytes()).threads

    monkeypatch.setattr(threads, "fastest_threads", lambda _: next(found))
    train(config, tmp_path / "out")
    train(with_training(config, steps=3), tmp_path / "out", resume=True)
    assert threads_of(3) == 7
    monkeypatch.setattr(recipe, "fingerprint", lambda *_: "an abacus")
    train(with_training(config, steps=4), tmp_path / "out", resume=True)
    assert threads_of(4) == 1


@pytest.mark.slow
def test_what_was_chosen_from_the_data_stays_whatever_the_budget(tmp_path: Path) -> None:
    """How many lines a validation looks at, and how long an output may be: they come from the checkpoint."""
    config = copying(tmp_path, training={"steps": 2, "ema": 0.0})
    dev = Path(config.data.dev_source or "")
    dev.write_text("abc\n" * 200)
    train(config, tmp_path / "out")
    train(with_training(config, steps=100_000, patience=1, learning_rate=1e-12), tmp_path / "out", resume=True)
    steps = Checkpoints(tmp_path / "out", config).steps()
    first, last = (tmp_path / f"out/checkpoints/step-{step:06d}" for step in (steps[0], steps[-1]))
    assert steps[-1] > 2
    found = [RunState.from_json((each / "run_state.json").read_bytes()).dev_lines for each in (first, last)]
    assert found == [50, 50]
    assert (first / "decoding.json").read_bytes() == (last / "decoding.json").read_bytes()
    assert load_config_of(first).decoding.max_ratio is not None


@pytest.mark.slow
def test_what_the_owner_of_a_model_kept_in_it_survives_a_resumption(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 2})
    train(config, tmp_path / "out")
    decoding = load_config_of(tmp_path / "out").decoding
    save_decoding(tmp_path / "out", decoding.model_copy(update={"beam": 3, "length_penalty": 0.5}))
    given = config.model_copy(update={"decoding": config.decoding.model_copy(update={"length_penalty": 0.7})})
    train(with_training(given, steps=3), tmp_path / "out", resume=True)
    after = load_config_of(tmp_path / "out").decoding
    assert (after.beam, after.length_penalty, after.max_ratio) == (3, 0.7, decoding.max_ratio)


@pytest.mark.slow
def test_a_model_that_is_older_than_the_checkpoint_changes_no_setting(tmp_path: Path) -> None:
    """The run was resumed with another beam, and stopped before it wrote its model anew."""
    config = copying(tmp_path, training={"steps": 2})
    train(config, tmp_path / "out")
    older = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    wider = config.model_copy(update={"decoding": config.decoding.model_copy(update={"beam": 3})})
    train(with_training(wider, steps=3), tmp_path / "out", resume=True)
    for name, content in older.items():
        (tmp_path / "out" / name).write_bytes(content)
        os.utime(tmp_path / "out" / name, (0, 0))
    train(with_training(wider, steps=4), tmp_path / "out", resume=True)
    assert load_config_of(tmp_path / "out").decoding.beam == 3


def test_every_setting_that_may_change_is_one() -> None:
    names = {f"{section}.{key}" for section in ("data", "training", "decoding") for key in _keys(section)}
    assert names >= MAY_CHANGE


def _keys(section: str) -> list[str]:
    annotation: Any = Config.model_fields[section].annotation
    return list(annotation.model_fields)


@pytest.mark.slow
def test_a_longer_budget_is_validated_all_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "VALIDATIONS", 4)
    config = copying(tmp_path, training={"steps": 8, "save_every": None})
    train(config, tmp_path / "out")
    train(with_training(config, steps=16), tmp_path / "out", resume=True)
    validated = [r["step"] for r in read_metrics(tmp_path / "out/metrics.jsonl") if "dev_loss" in r]
    assert validated == [2, 4, 6, 8, 12, 16]


@pytest.mark.slow
def test_other_data_is_refused_and_moved_data_is_not(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"steps": 4, "save_every": 2})
    train(config, tmp_path / "out")
    longer = {**config.training.model_dump(), "steps": 6}

    (tmp_path / "elsewhere").mkdir()
    moved = {}
    for key, file in config.data.model_dump().items():
        if key in FILES and file is not None:
            moved[key] = str(shutil.copy(file, tmp_path / "elsewhere"))
    there = Config.model_validate({**config.model_dump(), "data": moved, "training": longer})
    assert train(there, tmp_path / "out", resume=True).steps == 6

    with Path(moved["source"]).open("a") as source, Path(moved["target"]).open("a") as target:
        source.write("a b\n")
        target.write("a b\n")
    with pytest.raises(DataError, match="are not what the run to be resumed has learned from"):
        train(there, tmp_path / "out", resume=True)


@pytest.mark.slow
@pytest.mark.unix
@pytest.mark.parametrize("name", ["out", "link"])
def test_a_directory_has_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever its name, and whichever cache the other run has."""
    config, out = copying(tmp_path, dev=False), tmp_path / name
    (tmp_path / "link").symlink_to("out")
    with alone_in(tmp_path / "out", ALONE, ignore):
        monkeypatch.setenv("ZHUYI_CACHE", str(tmp_path / "another cache"))
        with pytest.raises(CheckpointError, match="another run is at work in"):
            train(config, out)
        assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK]
    assert not (tmp_path / "out").exists()
    train(config, out)
    assert not (tmp_path / "out" / LOCK).exists()
    assert (tmp_path / "link").is_symlink()


def test_a_refused_run_leaves_no_directory(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "a/b/out", tmp_path / "empty"):
        with pytest.raises(DataError, match="no such file"):
            train(copying(tmp_path, dev=False, data={"source": "none", "target": "none"}), out)
    assert not (tmp_path / "a").exists()
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.unix
def test_directories_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name, what in (("file", "Not a directory"), ("file/out", "Not a directory"), ("loop", "levels of symbolic")):
        with pytest.raises(CheckpointError, match=f"{name}: cannot write: .*{what}.*--out"):
            train(copying(tmp_path, dev=False), tmp_path / name)
    assert (tmp_path / "file").is_file()
    assert (tmp_path / "loop").is_symlink()


@pytest.mark.slow
def test_a_killed_run_lets_go_of_its_directory(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    code = "import sys, time, filelock\nwith filelock.FileLock(sys.argv[1]): print(flush=True); time.sleep(99)"
    with subprocess.Popen([sys.executable, "-c", code, out / LOCK], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(CheckpointError, match="another run is at work in"):
            train(copying(tmp_path, dev=False), out)
        other.kill()
        other.wait()
    assert (out / LOCK).exists()
    train(copying(tmp_path, dev=False), out)
    assert not (out / LOCK).exists()


def test_runs_that_make_and_remove_their_directory_at_once(tmp_path: Path) -> None:
    """Each has it for itself, or is printed that another one has it."""
    out, inside, ended = tmp_path / "a" / "out", threading.Lock(), []

    def run(_: int) -> None:
        for _ in range(100):
            try:
                with alone_in(out, ALONE, ignore):
                    assert inside.acquire(blocking=False)
                    assert out.is_dir()
                    inside.release()
                ended.append(True)
            except CheckpointError as error:
                assert "another run is at work in" in str(error)  # noqa: PT017 – often there is none
                ended.append(False)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(run, range(4)))
    assert len(ended) == 400
    assert any(ended)
    assert not (out / LOCK).exists()


@pytest.mark.unix
def test_where_there_are_no_locks_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    config = copying(tmp_path, dev=False, training={"steps": 1})
    prepare(config)  # so that the cache needs no lock
    monkeypatch.setattr(fcntl, "flock", flock)
    _, printed = said(config, tmp_path / "out")
    assert [line for line in printed.splitlines() if "No locks" in line and str(tmp_path / "out") in line]
    assert not (tmp_path / "out" / LOCK).exists()


@pytest.mark.slow
def test_what_may_change_is_reported(tmp_path: Path) -> None:
    config = copying(tmp_path, dev=False, training={"steps": 6, "save_every": 3})
    train(config, tmp_path / "out")
    _, printed = said(with_training(config, steps=9, learning_rate=0.002), tmp_path / "out", resume=True)
    assert "Other than before: training.steps = 9 (it was 6), training.learning_rate = 0.002 (it was " in printed


@pytest.mark.slow
def test_losses_are_reported_alike_after_a_resumption(tmp_path: Path) -> None:
    """They are means since the line before; a checkpoint ends a line."""
    config = copying(tmp_path, dev=False, training={"steps": 12, "save_every": 5, "log_every": 4, "keep": 9})
    train(config, tmp_path / "whole")
    out = stopped(tmp_path / "whole", 5, tmp_path / "out")
    train(config, out, resume=True)
    whole, resumed = (
        [(each["step"], each["loss"]) for each in read_metrics(one / "metrics.jsonl")]
        for one in (tmp_path / "whole", out)
    )
    assert whole == resumed
    assert [step for step, _ in whole] == [4, 5, 8, 10, 12]
