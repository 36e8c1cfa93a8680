"""Loss and gradients are those of `F.cross_entropy`, however large the chunks."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from zhuyi.text.tokenizer import PAD
from zhuyi.training import objective
from zhuyi.training.objective import cross_entropy

VOCABULARY, WIDTH = 23, 8


def example(dtype: torch.dtype, batch: int = 3, time: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, projection and targets: the first sequence is whole, the last one is padding alone."""
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(batch, time, WIDTH, generator=generator, dtype=dtype)
    projection = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=dtype)
    targets = torch.randint(1, VOCABULARY, (batch, time), generator=generator)
    targets[1, 4:] = PAD
    targets[-1] = PAD
    return hidden.requires_grad_(), projection.requires_grad_(), targets


def by_torch(hidden: Tensor, projection: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    return F.cross_entropy(
        (hidden @ projection.T).flatten(0, 1),
        targets.flatten(),
        ignore_index=PAD,
        reduction="sum",
        label_smoothing=smoothing,
    )


def gradients(loss: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("chunk", [1, 2, 5, 11, 1024])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_it_is_the_cross_entropy(
    monkeypatch: pytest.MonkeyPatch, chunk: int, smoothing: float, dtype: torch.dtype, tolerance: float
) -> None:
    monkeypatch.setattr(objective, "LOGIT_CHUNK", chunk)
    hidden, projection, targets = example(dtype)
    smoothed, plain = cross_entropy(hidden, projection, targets, smoothing)
    expected = by_torch(hidden, projection, targets, smoothing)
    torch.testing.assert_close(smoothed, expected, rtol=tolerance, atol=0)
    torch.testing.assert_close(plain, by_torch(hidden, projection, targets, 0.0), rtol=tolerance, atol=0)
    inputs = (hidden, projection)
    for mine, theirs in zip(gradients(smoothed / 3, *inputs), gradients(expected / 3, *inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_its_gradients_are_its_slopes(monkeypatch: pytest.MonkeyPatch, smoothing: float) -> None:
    monkeypatch.setattr(objective, "LOGIT_CHUNK", 4)
    hidden, projection, targets = example(torch.float64)
    assert torch.autograd.gradcheck(lambda h, p: cross_entropy(h, p, targets, smoothing)[0], (hidden, projection))


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_its_gradients_have_slopes_too(smoothing: float) -> None:
    hidden, projection, targets = example(torch.float64)
    assert torch.autograd.gradgradcheck(lambda h, p: cross_entropy(h, p, targets, smoothing)[0], (hidden, projection))


@pytest.mark.filterwarnings("error")
def test_under_vmap_it_is_the_same_for_each() -> None:
    hidden, projection, targets = (each.detach() for each in example(torch.float64))

    def loss(hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return cross_entropy(hidden[None], projection, targets[None], 0.1)

    slopes, plain = torch.func.vmap(torch.func.grad(loss, has_aux=True))(hidden, targets)
    hidden.requires_grad_()
    smoothed, total = cross_entropy(hidden, projection, targets, 0.1)
    torch.testing.assert_close(plain.sum(), total)
    torch.testing.assert_close(slopes, gradients(smoothed, hidden)[0])


def test_the_plain_part_is_only_read() -> None:
    hidden, projection, targets = example(torch.float32)
    smoothed, plain = cross_entropy(hidden, projection, targets, 0.1)
    assert smoothed.requires_grad
    assert not plain.requires_grad


def test_padding_adds_nothing() -> None:
    hidden, projection, targets = example(torch.float32)
    smoothed, plain = cross_entropy(hidden, projection, targets, 0.1)
    slope, _ = gradients(smoothed, hidden, projection)
    assert slope[targets == PAD].eq(0).all()
    assert slope[targets != PAD].ne(0).any(dim=-1).all()
    again = cross_entropy(hidden[:-1], projection, targets[:-1], 0.1)
    assert (smoothed.item(), plain.item()) == (again[0].item(), again[1].item())


def test_padding_alone_is_no_loss_and_no_slope() -> None:
    hidden, projection, targets = example(torch.float32)
    smoothed, plain = cross_entropy(hidden, projection, torch.full_like(targets, PAD), 0.1)
    assert (smoothed.item(), plain.item()) == (0.0, 0.0)
    for slope in gradients(smoothed, hidden, projection):
        assert slope.eq(0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_bf16_is_close(smoothing: float) -> None:
    hidden, projection, targets = example(torch.float32)
    low = hidden.detach().to(torch.bfloat16).requires_grad_()
    smoothed, plain = cross_entropy(low, projection, targets, smoothing)
    assert smoothed.dtype == plain.dtype == torch.float32
    torch.testing.assert_close(smoothed, by_torch(hidden, projection, targets, smoothing), rtol=0.01, atol=0)
    mine, theirs = (
        gradients(smoothed, low, projection),
        gradients(by_torch(hidden, projection, targets, smoothing), hidden, projection),
    )
    assert (mine[0].dtype, mine[1].dtype) == (torch.bfloat16, torch.float32)
    for a, b in zip(mine, theirs, strict=True):
        assert (a.float() - b).norm() < 0.02 * b.norm()


@pytest.mark.parametrize("count", [3, 7, 1000])
def test_scaling_a_bf16_loss_does_not_bend_its_slope(count: int) -> None:
    """1/count is rounded once in each element, and not for all of them in the same direction."""
    hidden, projection, targets = example(torch.float32, batch=40)
    low = hidden.detach().to(torch.bfloat16).requires_grad_()
    whole = gradients(cross_entropy(low, projection, targets)[0], low)[0].double()
    part = gradients(cross_entropy(low, projection, targets)[0] / count, low)[0].double()
    ratio = (part * whole).sum() / (whole * whole).sum() * count
    assert abs(ratio.item() - 1) < 3e-4


@pytest.mark.parametrize("distance", [80.0, 200.0, 1e4])
def test_a_probability_below_the_smallest_number_is_finite_and_still_pulls(distance: float) -> None:
    hidden = torch.tensor([[[1.0, 0.0]]], requires_grad=True)
    projection = torch.zeros(5, 2)
    projection[4, 0] = distance
    projection.requires_grad_()
    smoothed, plain = cross_entropy(hidden, projection, torch.tensor([[2]]), 0.1)
    assert math.isfinite(smoothed.item())
    assert plain.item() == pytest.approx(min(distance, 87.3), rel=0.01)
    _, slope = gradients(smoothed, hidden, projection)
    assert slope.isfinite().all()
    assert slope[2, 0].item() == pytest.approx(-0.9 - 0.1 / 5, rel=1e-5)
    assert slope[4, 0].item() == pytest.approx(1 - 0.1 / 5, rel=1e-5)


def test_what_is_not_a_number_stays_so() -> None:
    hidden, projection, targets = example(torch.float32)
    poisoned = hidden.detach().clone()
    poisoned[0, 0, 0] = torch.nan
    smoothed, plain = cross_entropy(poisoned, projection, targets, 0.1)
    assert smoothed.isnan()
    assert plain.isnan()


def test_bf16_still_pulls_at_a_token_that_is_nearly_sure() -> None:
    """Its probability, 0.9993 or so, is 1 in bf16; what the others have is what the right one is still to get."""
    projection = torch.eye(VOCABULARY, WIDTH).requires_grad_()
    hidden = torch.zeros(1, 1, WIDTH)
    hidden[..., 3] = 10.375
    low = hidden.to(torch.bfloat16).requires_grad_()
    targets = torch.tensor([[3]])
    smoothed, plain = cross_entropy(low, projection, targets)
    assert 0 < plain.item() < 1e-2
    torch.testing.assert_close(plain, by_torch(hidden, projection, targets, 0.0), rtol=0.02, atol=0)
    (slope,) = gradients(smoothed, projection)
    assert slope[3, 3].item() < 0
    torch.testing.assert_close(slope.sum(dim=0), torch.zeros(WIDTH), rtol=0, atol=0.01 * slope[3, 3].abs().item())
