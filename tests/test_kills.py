"""The harness of `benchmarks/kills.py`, with three kills: in a write of a checkpoint, at any moment, at the end."""

import random
from pathlib import Path

import kills
import pytest

pytestmark = pytest.mark.unix

SMALL = ["model.width=32", "model.heads=2", "training.steps=24", "training.save_every=4", "training.warmup=4"]


@pytest.mark.slow
def test_killed_three_times_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    result = kills.trial(tmp_path, 3, seed=1, settings=[*kills.SETTINGS, *SMALL])
    assert result["same"] == dict.fromkeys(result["same"], True)
    assert result["kills"] == 3
    assert result["fell"][kills.WRITING] >= 1
    assert result["steps"] == 24


@pytest.mark.parametrize("count", [3, 50, 120])
def test_a_fair_share_of_the_kills_falls_into_a_write(count: int) -> None:
    chosen = kills.aims(count, random.Random(1))
    assert len(chosen) == count
    assert chosen[-1] == kills.ENDING
    assert chosen.count(kills.WRITING) >= count // 3
    assert count < 50 or set(chosen) == set(kills.AIMS)


def test_a_difference_is_seen(tmp_path: Path) -> None:
    """Of two runs that are not the same, the harness says so."""
    runs = [kills.Run(tmp_path / name, [], tmp_path) for name in ("one", "other")]
    for run, weights, loss in zip(runs, (b"a", b"b"), (1.0, 1.5), strict=True):
        run.out.mkdir(parents=True)
        for name in ("config.json", "tokenizer.json", "README.md"):
            (run.out / name).write_bytes(b"same")
        (run.out / "model.safetensors").write_bytes(weights)
        (run.out / "metrics.jsonl").write_text(f'{{"step": 1, "seconds": {loss}, "loss": {loss}}}\n')
    same = kills.compare(*runs)
    assert not same["model.safetensors"]
    assert not same["losses and scores"]
    assert same["config.json"]
