"""One position at a time, with a cache, gives what all positions at once give."""

from copy import deepcopy

import pytest
import torch
from contracts.conftest import Sentences, writing
from torch import Tensor
from torch.testing import assert_close

from zhuyi.config import ModelConfig
from zhuyi.model import kernels
from zhuyi.model.attention import KERNELS
from zhuyi.model.cache import Cache
from zhuyi.model.mixers import MIXERS
from zhuyi.model.shapes import SHAPES


def start(model, sentences, limit: int) -> Cache:
    return model.read(sentences.source, sentences.source_mask, limit)


def steps(model, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
    logits = []
    for column in tokens.unbind(dim=1):
        row, cache = model.step(column, cache)
        logits.append(row)
    return torch.stack(logits, dim=1), cache


@pytest.fixture
def sentences(config, sentences):
    """The decoder shape reads sources of one length at a time."""
    if config.shape == "encoder-decoder":
        return sentences
    return Sentences(sentences.source, torch.ones_like(sentences.source_mask), sentences.target_in)


@writing
@pytest.mark.parametrize("kernel", KERNELS)
@torch.no_grad()
def test_steps_are_the_full_pass(kernel, model, sentences):
    with kernels.use(kernel):
        full = model(*sentences)
        stepped, cache = steps(model, sentences.target_in, start(model, sentences, limit=8))
        assert_close(stepped, full, rtol=0, atol=1e-10)
        assert cache.position == cache.limit - 8 + sentences.target_in.shape[1]
        model = deepcopy(model).float()
        stepped, _ = steps(model, sentences.target_in, start(model, sentences, limit=8))
        assert stepped.dtype == torch.float32
        assert_close(stepped, model(*sentences), rtol=0, atol=1e-5)


@writing
@torch.no_grad()
def test_steps_go_on_after_select_and_reorder(model, sentences):
    source, mask, target_in = sentences
    _, cache = steps(model, target_in[:, :2], start(model, sentences, limit=6))

    # A beam grows: sentence 2 goes first, sentence 0 twice with different continuations, sentence 1 is finished.
    chosen = torch.tensor([2, 0, 0])
    cache = cache.select(chosen)
    source, mask, history = source[chosen], mask[chosen], target_in[chosen, :2]
    more = torch.tensor([[4, 5], [6, 7], [8, 9]])
    _, cache = steps(model, more, cache)
    history = torch.cat([history, more], dim=1)

    # Within sentence 0 the second hypothesis overtakes the first, and the first is kept as well.
    order = torch.tensor([0, 2, 1])
    cache = cache.reorder(order)
    history = torch.cat([history[order], torch.tensor([[3, 3], [4, 1], [5, 2]])], dim=1)
    stepped, cache = steps(model, history[:, 4:], cache)

    assert_close(stepped, model(source, mask, history)[:, 4:], rtol=0, atol=1e-10)
    with pytest.raises(AssertionError, match="limit"):
        model.step(torch.tensor([1, 1, 1]), cache)


OF_EACH_MIXER = {
    f"{shape} {mixer}": ModelConfig(shape=shape, mixer=mixer, width=16, heads=4, feed_forward=24)
    for shape in ("encoder-decoder", "decoder")
    for mixer in MIXERS
}


@pytest.mark.parametrize("config", OF_EACH_MIXER.values(), ids=OF_EACH_MIXER)
@torch.no_grad()
def test_steps_in_bf16_are_the_full_pass_in_bf16(config, sentences):
    torch.manual_seed(1)
    model = SHAPES[config.shape](config, 12, None).eval()
    with torch.autocast("cpu", torch.bfloat16):
        full = model(*sentences)
        stepped, _ = steps(model, sentences.target_in, start(model, sentences, limit=6))
    assert_close(stepped, full, rtol=0, atol=0.03)
