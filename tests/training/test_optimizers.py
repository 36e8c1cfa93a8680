import math
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import nn

from zhuyi.config import MixerKind, ModelConfig, TrainingConfig, build_config
from zhuyi.model.transformer import Transformer
from zhuyi.training.optimizers import MUON_SCALE, SCHEDULES, Optimizer, learning_rate, orthogonal

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
    optimizer = Optimizer(
        model, TrainingConfig(optimizer="adamw", weight_decay=0.3, beta1=0.8, beta2=0.9, epsilon=1e-6)
    )
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
    optimizer = Optimizer(model, TrainingConfig(learning_rate=0.1, weight_decay=0.5, epsilon=1e-9))
    (weight * torch.tensor([[3.0, -4.0]], dtype=torch.float64)).sum().backward()
    optimizer.step()
    assert weight.flatten().tolist() == pytest.approx([2.0 * (1 - 0.05) - 0.1, -1.0 * (1 - 0.05) + 0.1], rel=1e-6)
    assert math.isfinite(optimizer.state[weight]["exp_avg_sq"].sum().item())


def small(mixer: MixerKind = "attention") -> Transformer:
    sizes = {"width": 8, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 16}
    return Transformer(ModelConfig(**sizes, mixer=mixer, positions="sinusoidal"), 20)


@pytest.mark.parametrize("mixer", get_args(MixerKind))
def test_muon_has_the_matrices_of_the_blocks_and_adamw_the_rest(mixer: MixerKind) -> None:
    model = small(mixer)
    optimizer = Optimizer(model, TrainingConfig(optimizer="muon"))
    rules = {id(parameter): group["rule"] for group in optimizer.param_groups for parameter in group["params"]}
    assert sorted(rules) == sorted(map(id, model.parameters()))
    names = {name for name, parameter in model.named_parameters() if rules[id(parameter)] == "muon"}
    assert names == {
        name for name, parameter in model.named_parameters() if parameter.dim() >= 2 and "embedding" not in name
    }


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", [(32, 16), (16, 32)])
def test_a_step_is_made_orthogonal(shape: tuple[int, int], bf16: bool) -> None:
    torch.manual_seed(1)
    matrix = 100 * torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix, bf16)
    singular = torch.linalg.svdvals(found)
    assert singular.min() > 0.5
    assert singular.max() < 1.5
    rotated = left.T @ found @ right.T  # diagonal, but for what rounding does
    assert (rotated - rotated.diag().diag()).abs().max() < (0.1 if bf16 else 1e-4)


@pytest.mark.parametrize("mixer", get_args(MixerKind))
def test_steps_of_muon_are_torchs_in_bf16(mixer: MixerKind) -> None:
    """Of a convolution, torch's would be too, if it took one."""
    torch.manual_seed(1)
    model = small(mixer)
    ours = Optimizer(model, TrainingConfig(optimizer="muon", weight_decay=0.1, ema=0.0), bf16=True)
    hidden = [weight for name, weight in model.named_parameters() if weight.dim() > 1 and "embedding" not in name]
    others = [nn.Parameter(weight.detach().clone().flatten(1)) for weight in hidden]
    theirs = torch.optim.Muon(others, weight_decay=0.1 / MUON_SCALE, adjust_lr_fn="match_rms_adamw")
    for rate in (0.01, 0.02, 0.005):
        for weight in model.parameters():
            weight.grad = torch.randn_like(weight)
        for weight, other in zip(hidden, others, strict=True):
            other.grad = weight.grad.flatten(1)
        theirs.param_groups[0]["lr"] = MUON_SCALE * rate
        theirs.step()
        for group in ours.param_groups:
            group["lr"] = rate
        ours.step()
    for weight, other in zip(hidden, others, strict=True):
        torch.testing.assert_close(weight.flatten(1), other)


def test_the_average_follows_the_weights() -> None:
    torch.manual_seed(1)
    model = nn.Linear(3, 2)
    optimizer = Optimizer(model, TrainingConfig(optimizer="adamw", ema=0.5, learning_rate=0.01))
    expected = None
    for step in range(1, 30):
        model.weight.grad, model.bias.grad = torch.randn(2, 3), torch.randn(2)
        before = model.weight.detach().clone()
        optimizer.step()
        now = model.weight.detach().clone()
        assert not torch.equal(before, now)
        factor = min(0.5, step / (step + 10))
        expected = now if expected is None else factor * expected + (1 - factor) * now
        torch.testing.assert_close(optimizer.state[model.weight]["average"], expected)
    assert expected is not None
    with optimizer.averaged():
        torch.testing.assert_close(model.weight.detach(), expected)
    assert torch.equal(model.weight.detach(), now)


def test_weights_decay_alike_under_both() -> None:
    shrunk = {}
    for name in ("adamw", "muon"):
        model = small()
        weight = model.encoder.blocks[0].mixer.query.weight
        before = weight.detach().clone()
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        Optimizer(model, TrainingConfig(optimizer=name, weight_decay=0.1, learning_rate=0.01)).step()
        shrunk[name] = (weight / before).mean().item()
    assert shrunk["muon"] == pytest.approx(shrunk["adamw"], abs=1e-6)
    assert shrunk["adamw"] == pytest.approx(1 - 0.01 * 0.1, abs=1e-6)


def test_a_group_that_is_added_later_is_adamws() -> None:
    model, added = small(), nn.Parameter(torch.ones(3))
    optimizer = Optimizer(model, TrainingConfig(learning_rate=0.1))
    optimizer.add_param_group({"params": [added]})
    for parameter in [*model.parameters(), added]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert (added < 1).all()
