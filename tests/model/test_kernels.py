"""Each kernel is torch's operation, and so are its derivatives."""

import threading

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from zhuyi.config import ModelConfig
from zhuyi.model import kernels
from zhuyi.model.attention import choose_kernel
from zhuyi.model.blocks import RMSNorm
from zhuyi.model.kernels import REGISTER_BYTES, dropout, rms_norm, softmax
from zhuyi.model.positions import Rotary
from zhuyi.model.tap import SILENT, Recording

SIZES = ModelConfig(width=24, heads=3, max_length=10)
LONG = torch.empty(1, 1, 1000, 1)
SHORT = LONG[:, :, :15]


def test_the_kernel_of_attention_may_be_chosen():
    with kernels.use("fused"):
        assert choose_kernel(LONG, LONG, Recording()) == "explicit"  # the fused one has no weights to be recorded
        with kernels.use("explicit"):
            assert choose_kernel(LONG, LONG, SILENT) == "explicit"
        assert choose_kernel(SHORT, SHORT, SILENT) == "fused"
    assert choose_kernel(SHORT, SHORT, SILENT) == "explicit"
    assert choose_kernel(LONG, LONG, SILENT) == "fused"


def test_the_choice_is_that_of_its_own_thread():
    seen = []
    with kernels.use("fused"):
        other = threading.Thread(target=lambda: seen.append(choose_kernel(SHORT, SHORT, SILENT)))
        other.start()
        other.join()
    assert seen == ["explicit"]


@pytest.mark.parametrize("keys", [1, 2, 7, 8, REGISTER_BYTES // 2 - 1, REGISTER_BYTES // 2, REGISTER_BYTES])
def test_softmax_and_its_gradient_are_torchs(keys: int) -> None:
    torch.manual_seed(1)
    scores = torch.randn(2, 3, 4, keys, dtype=torch.float64)
    scores[0, 0, :, 1:] = float("-inf")
    torch.testing.assert_close(softmax(scores), scores.softmax(dim=-1))
    finite = torch.randn(2, 4, keys, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(softmax, (finite,))
    rough = scores.bfloat16()
    torch.testing.assert_close(softmax(rough), rough.softmax(dim=-1), rtol=0.01, atol=1e-3)


def test_rms_norm_and_its_gradient_are_torchs() -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    ours, theirs = RMSNorm(8, 1e-6).double(), nn.RMSNorm(8, eps=1e-6).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.weight.normal_())
    torch.testing.assert_close(ours(x), theirs(x))
    assert torch.autograd.gradcheck(lambda x, weight: rms_norm(x, weight, 1e-6), (x, ours.weight))


def test_rms_norm_keeps_the_type_and_sums_in_float32() -> None:
    torch.manual_seed(1)
    x = torch.randn(4, 512, dtype=torch.bfloat16)
    y = RMSNorm(512, 1e-6)(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), nn.RMSNorm(512, eps=1e-6)(x.float()), rtol=0.02, atol=0.01)


def test_rotation_turns_pairs_and_its_gradient_turns_them_back():
    heads = torch.randn(2, 3, 5, 8, dtype=torch.float64, requires_grad=True)
    rotary = Rotary(SIZES).double()
    left, right = heads.chunk(2, dim=-1)
    cosine, sine = rotary.cosine[2:7, 4:], rotary.sine[2:7, 4:]
    assert_close(
        rotary.rotate(heads, start=2), torch.cat([left * cosine - right * sine, right * cosine + left * sine], dim=-1)
    )
    assert torch.autograd.gradcheck(lambda x: rotary.rotate(x, start=2), (heads,))


@pytest.mark.parametrize("table", [1, 2])
def test_rotation_refuses_a_gradient_for_its_tables(table: int) -> None:
    arguments = [torch.randn(1, 1, 3, 4), torch.randn(3, 1, 4), torch.randn(3, 1, 4)]
    arguments[table].requires_grad_()
    with pytest.raises(NotImplementedError, match="no gradient for cosine and sine"):
        kernels.rotate(*arguments).sum().backward()


def test_transforms_of_torch_are_noticed() -> None:
    """What tells of them is not public: a torch that has it no more must not go unnoticed."""
    seen = []

    def function(x: torch.Tensor) -> torch.Tensor:
        seen.append(kernels.transformed())
        return x

    torch.func.vmap(function)(torch.ones(2))
    function(torch.ones(2))
    assert seen == [True, False]


def rotation(x: torch.Tensor) -> torch.Tensor:
    return Rotary(SIZES).double().rotate(x)


WEIGHT = torch.linspace(-1, 2, 8, dtype=torch.float64, requires_grad=True)
KERNELS = {
    "softmax": lambda x: softmax(x[..., :5]),
    "rms_norm": lambda x: rms_norm(x, WEIGHT, 1e-6),
    "rotate": rotation,
    "dropout": lambda x: dropout(x, 0.4, training=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())
def test_kernels_may_be_differentiated_again_and_again(kernel):
    x = torch.randn(2, 3, 4, 8, dtype=torch.float64, requires_grad=True)

    def seeded(x, *_):
        torch.manual_seed(1)
        return kernel(x)

    def gradient(x, *_):
        return torch.autograd.grad(seeded(x).pow(3).sum(), x, create_graph=True)[0]

    assert torch.autograd.gradcheck(seeded, (x, WEIGHT))
    assert torch.autograd.gradgradcheck(seeded, (x, WEIGHT))
    assert torch.autograd.gradgradcheck(gradient, (x[:1, :1, :2].detach().requires_grad_(), WEIGHT))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kernel", [KERNELS[name] for name in ("softmax", "rms_norm", "rotate")])
def test_kernels_under_vmap_are_those_outside(kernel):
    x = torch.randn(6, 2, 3, 4, 8, dtype=torch.float64)
    assert_close(torch.func.vmap(kernel)(x), torch.stack([kernel(each) for each in x]))
    jacobians = torch.func.vmap(torch.func.jacrev(kernel))(x[:, :1, :1, :2])
    assert_close(jacobians[0], torch.autograd.functional.jacobian(kernel, x[0, :1, :1, :2]))


def test_dropout_under_vmap_draws_as_it_is_reported():
    x = torch.ones(3, 1000)
    drop = KERNELS["dropout"]
    same = torch.func.vmap(drop, randomness="same")(x)
    assert torch.equal(same[0], same[1])
    different = torch.func.vmap(drop, randomness="different")(x)
    assert not torch.equal(different[0], different[1])
    assert 0.5 < (different != 0).float().mean() < 0.7
    with pytest.raises(RuntimeError, match="random"):
        torch.func.vmap(drop)(x)
