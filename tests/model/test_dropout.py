"""Dropout draws bytes of its own on the CPU: what it draws must be as random as what it replaces."""

import math

import pytest
import torch
from torch.testing import assert_close

from zhuyi.model.blocks import Dropout
from zhuyi.model.kernels import dropout


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.9])
def test_share_and_scale(probability):
    torch.manual_seed(1)
    count = 200_000
    dropped = round(probability * 256) / 256
    out = dropout(torch.ones(count), probability, training=True)
    kept = int((out != 0).sum())
    sigma = math.sqrt(count * dropped * (1 - dropped))
    assert abs(kept - count * (1 - dropped)) < 4 * sigma
    # The scale undoes the share exactly: the expectation of every element is the element.
    assert out[out != 0].unique().item() * (1 - dropped) == pytest.approx(1, rel=1e-6)
    assert dropped == pytest.approx(probability, abs=1 / 512)


@pytest.mark.parametrize("distance", [1, 2, 4, 7, 8, 9, 64])
def test_elements_are_dropped_independently_of_their_neighbours(distance):
    torch.manual_seed(2)
    kept = (dropout(torch.ones(200_000), 0.3, training=True) != 0).double()
    pairs = torch.stack([kept[:-distance], kept[distance:]])
    assert abs(torch.corrcoef(pairs)[0, 1].item()) < 4 / math.sqrt(pairs.shape[1])


def test_each_place_of_a_drawn_word_is_dropped_alike():
    torch.manual_seed(3)
    count, dropped = 50_000, 77 / 256
    kept = (dropout(torch.ones(count, 8), 0.3, training=True) != 0).double().mean(dim=0)
    assert ((kept - (1 - dropped)).abs() < 4.5 * math.sqrt(dropped * (1 - dropped) / count)).all()


def test_gradient_is_the_mask():
    x = torch.randn(33, 7, requires_grad=True)
    out = dropout(x, 0.4, training=True)
    out.sum().backward()
    assert_close(x.grad * x, out)
    assert torch.equal(x.grad == 0, out == 0)


def test_nothing_is_dropped_outside_training_or_with_probability_zero():
    x = torch.randn(5)
    module = Dropout(0.5)
    assert module.eval()(x) is x
    assert module.train()(x) is not x
    assert dropout(x, 0.0, training=True) is x


def test_seed_decides():
    x = torch.ones(1000)
    torch.manual_seed(4)
    first, second = dropout(x, 0.5, training=True), dropout(x, 0.5, training=True)
    torch.manual_seed(4)
    assert torch.equal(dropout(x, 0.5, training=True), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5, 7), (2, 8), (2, 0, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_any_shape_and_type(shape, dtype):
    x = torch.ones(shape, dtype=dtype)
    out = dropout(x, 0.5, training=True)
    assert out.shape == x.shape
    assert out.dtype == dtype
    assert ((out == 0) | (out == 2)).all()


def test_strided_input():
    torch.manual_seed(5)
    x = torch.randn(6, 10).T
    out = dropout(x, 0.5, training=True)
    assert torch.equal(out[out != 0], 2 * x[out != 0])


@pytest.mark.parametrize("probability", [1e-6, 0.999])
def test_extremes_drop_some_and_keep_some(probability):
    torch.manual_seed(6)
    out = dropout(torch.ones(100_000), probability, training=True)
    assert out.isfinite().all()
    assert 0 < (out == 0).sum() < 100_000


def test_in_bf16_the_expectation_is_not_bent():
    """1 / (1 - p) is rounded in each element, to either side, and not once for all."""
    torch.manual_seed(4)
    x = torch.linspace(1, 2, 200_000).bfloat16()
    dropped = round(0.1 * 256) / 256
    out = dropout(x, 0.1, training=True).double()
    kept = out != 0
    assert (out[kept] / x[kept].double()).mean().item() * (1 - dropped) == pytest.approx(1, rel=5e-4)
