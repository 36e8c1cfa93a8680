"""Who sees whom, proved by gradients: where nothing flows, the derivative is exactly zero."""

import pytest
import torch
from contracts.conftest import of_shapes, writing
from torch import Tensor

from zhuyi.model import kernels
from zhuyi.model.attention import KERNELS
from zhuyi.model.tap import Recording


@pytest.fixture(params=KERNELS, autouse=True)
def kernel(request):
    with kernels.use(request.param):
        yield


def influence(model, sentences, entering: str, leaving: str) -> Tensor:
    """`batch i j`: how much the value `leaving` at position i moves with the value `entering` at position j."""
    kept = {}

    def leaf(value: Tensor) -> Tensor:
        kept["x"] = value.detach().requires_grad_()
        return kept["x"]

    def keep(value: Tensor) -> Tensor:
        kept["y"] = value
        return value

    model(*sentences, Recording({entering: leaf, leaving: keep}))
    direction = torch.randn(kept["y"].shape[-1])  # not all ones: a LayerNorm's outputs sum to a constant
    totals = (kept["y"] @ direction).sum(dim=0)
    gradients = [torch.autograd.grad(total, kept["x"], retain_graph=True)[0] for total in totals]
    return torch.stack(gradients, dim=1).abs().sum(dim=-1)


def positions(sentences, config) -> tuple[int, Tensor]:
    """The positions that the decoder has in all, and which of them are the target's: `batch target`."""
    target = torch.arange(sentences.target_in.shape[1]).expand_as(sentences.target_in)
    if config.shape == "encoder-decoder":
        return target.shape[1], target
    return target.shape[1] + sentences.source.shape[1] - 1, target + sentences.source_mask.sum(dim=1)[:, None] - 1


def within(distance: Tensor, mixer: str, layers: int, reach: int) -> Tensor:
    """Whom a stack of mixers can see: a window that grows with the layers, or everyone."""
    return distance <= layers * reach if mixer == "convolution" else torch.ones_like(distance, dtype=torch.bool)


@writing
def test_decoder_sees_the_past_and_nothing_of_the_future(config, model, sentences):
    time, of_target = positions(sentences, config)
    distance = of_target[:, :, None] - torch.arange(time)
    visible = (distance >= 0) & within(distance, config.decoder_mixer, config.decoder_layers, config.kernel - 1)
    seen = influence(model, sentences, "decoder.input", "logits")
    assert torch.equal(seen > 0, visible)


@of_shapes("encoder-decoder", "encoder")
def test_encoder_sees_both_directions_and_no_padding(config, model, sentences):
    time = torch.arange(sentences.source.shape[1])
    distance = (time[:, None] - time).abs()
    visible = within(distance, config.encoder_mixer, config.encoder_layers, config.kernel // 2)
    visible = visible & sentences.source_mask[:, None, :]
    seen = influence(model, sentences, "encoder.input", "encoder.output")
    real = sentences.source_mask
    assert torch.equal((seen > 0)[real], visible[real])


@of_shapes("encoder")
def test_every_label_sees_what_its_states_see(config, model, sentences):
    states = influence(model, sentences, "encoder.input", "encoder.output")
    seen = influence(model, sentences, "encoder.input", "logits")
    real = sentences.source_mask
    if config.labels == "line":
        assert torch.equal(seen > 0, ((states > 0) & real[:, :, None]).any(dim=1, keepdim=True))
    else:
        assert torch.equal((seen > 0)[real], (states > 0)[real])


@of_shapes("encoder-decoder")
def test_every_target_position_sees_the_whole_source_and_no_padding(model, sentences):
    seen = influence(model, sentences, "encoder.output", "logits")
    assert torch.equal(seen > 0, sentences.source_mask[:, None, :].expand_as(seen))
