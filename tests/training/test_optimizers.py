import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from zhuyi.config import TrainingConfig, build_config
from zhuyi.training.optimizers import SCHEDULES, learning_rate, make_optimizer

WARMUP, STEPS, PEAK = 50, 1000, 0.002


def rates(schedule: str, warmup: int = WARMUP) -> list[float]:
    """The learning rate of each update of a run whose budget is in steps."""
    config = TrainingConfig(steps=STEPS, schedule=schedule, warmup=warmup, learning_rate=PEAK)  # type: ignore[arg-type]
    return [learning_rate(config, step, (step - 1) / STEPS) for step in range(1, STEPS + 1)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_up_to_the_peak_and_never_up_again(schedule: str) -> None:
    found = rates(schedule)
    peak = found.index(max(found))
    assert peak == WARMUP - 1
    assert all(a < b for a, b in pairwise(found[: peak + 1]))
    assert all(a >= b for a, b in pairwise(found[peak:]))
    assert 0.9 * PEAK < found[peak] <= PEAK
    assert found[0] == pytest.approx(PEAK / WARMUP)
    assert min(found) > 0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_a_warm_up_it_begins_at_the_peak(schedule: str) -> None:
    assert rates(schedule, warmup=0)[0] == PEAK


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_cosine_and_line_end_at_zero(schedule: str) -> None:
    config = TrainingConfig(steps=STEPS, schedule=schedule, warmup=WARMUP, learning_rate=PEAK)  # type: ignore[arg-type]
    for share in (1.0, 1.3):
        assert learning_rate(config, STEPS, share) == pytest.approx(0.0, abs=1e-18)
    assert rates(schedule)[-1] < PEAK / 500


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.7])
def test_constant_is_flat(share: float) -> None:
    config = TrainingConfig(steps=STEPS, schedule="constant", warmup=0, learning_rate=PEAK)
    assert learning_rate(config, 700, share) == PEAK


def test_the_paper_preset_has_the_papers_schedule() -> None:
    """lrate = d^-0.5 · min(step^-0.5, step · warmup^-1.5): Vaswani et al. 2017, equation 3."""
    config = build_config({}, preset="paper")
    width, warmup = config.model.width, config.training.warmup
    for step in (1, 2, 1000, 3999, 4000, 4001, 20_000, 100_000):
        expected = width**-0.5 * min(step**-0.5, step * warmup**-1.5)
        assert learning_rate(config.training, step, step / 100_000) == pytest.approx(expected, rel=1e-12)


def test_only_matrices_decay() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    optimizer = make_optimizer(model, TrainingConfig(weight_decay=0.3, beta1=0.8, beta2=0.9, epsilon=1e-6))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
        "0.weight": 0.3,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
    }
    assert all(group["betas"] == (0.8, 0.9) and group["eps"] == 1e-6 for group in optimizer.param_groups)


def test_a_step_is_that_of_the_book() -> None:
    """Loshchilov & Hutter 2019, algorithm 2, first step: both bias corrections cancel the betas."""
    weight = nn.Parameter(torch.tensor([[2.0, -1.0]], dtype=torch.float64))
    model = nn.ParameterList([weight])
    optimizer = make_optimizer(model, TrainingConfig(learning_rate=0.1, weight_decay=0.5, epsilon=1e-9))
    (weight * torch.tensor([[3.0, -4.0]], dtype=torch.float64)).sum().backward()
    optimizer.step()
    assert weight.flatten().tolist() == pytest.approx([2.0 * (1 - 0.05) - 0.1, -1.0 * (1 - 0.05) + 0.1], rel=1e-6)
    assert math.isfinite(optimizer.state[weight]["exp_avg_sq"].sum().item())
