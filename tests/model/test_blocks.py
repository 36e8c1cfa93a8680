"""Blocks with torch's weights give torch's numbers. (Torch's masks are the other way round: True = hidden.)"""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from zhuyi.config import ModelConfig
from zhuyi.model.attention import MultiHeadAttention
from zhuyi.model.blocks import Block
from zhuyi.model.positions import POSITIONS
from zhuyi.model.stack import Stack

POSITIONLESS = POSITIONS["none"](ModelConfig())


@pytest.fixture(params=[("pre", "relu"), ("pre", "gelu"), ("post", "relu"), ("post", "gelu")], ids="-".join)
def config(request) -> ModelConfig:
    norm, activation = request.param
    return ModelConfig(
        width=32,
        heads=4,
        feed_forward=48,
        norm=norm,
        activation=activation,
        norm_kind="layer",
        bias="all",
        positions="none",
        dropout=0.0,
    )


def torch_layer(kind: type[nn.Module], config: ModelConfig) -> nn.Module:
    torch.manual_seed(1)
    layer = kind(
        config.width,
        config.heads,
        config.feed_forward,
        dropout=0.0,
        activation=config.activation,
        batch_first=True,
        norm_first=config.norm == "pre",
    )
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    return layer


@torch.no_grad()
def copy(ours: nn.Module, theirs: nn.Module) -> None:
    if isinstance(ours, MultiHeadAttention):
        maps = (ours.query, ours.key, ours.value)
        for one, weight, bias in zip(maps, theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True):
            one.weight.copy_(weight)
            one.bias.copy_(bias)
        copy(ours.output, theirs.out_proj)
    else:
        ours.load_state_dict(theirs.state_dict())


def real(lengths: list[int], width: int) -> torch.Tensor:
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def test_encoder_block_is_torchs(config):
    theirs, ours = torch_layer(nn.TransformerEncoderLayer, config), Block(config, causal=False, cross=False)
    copy(ours.mixer, theirs.self_attn)
    copy(ours.feed_forward.inner, theirs.linear1)
    copy(ours.feed_forward.outer, theirs.linear2)
    copy(ours.mixer_residual.norm, theirs.norm1)
    copy(ours.feed_forward_residual.norm, theirs.norm2)
    x, mask = torch.randn(3, 7, 32), real([7, 4, 1], 7)
    out = ours(x, mask, POSITIONLESS)
    assert_close(out[mask], theirs(x, src_key_padding_mask=~mask)[mask], rtol=0, atol=1e-5)


def test_decoder_block_is_torchs(config):
    theirs, ours = torch_layer(nn.TransformerDecoderLayer, config), Block(config, causal=True, cross=True)
    copy(ours.mixer, theirs.self_attn)
    copy(ours.cross, theirs.multihead_attn)
    copy(ours.feed_forward.inner, theirs.linear1)
    copy(ours.feed_forward.outer, theirs.linear2)
    copy(ours.mixer_residual.norm, theirs.norm1)
    copy(ours.cross_residual.norm, theirs.norm2)
    copy(ours.feed_forward_residual.norm, theirs.norm3)
    x, memory, mask = torch.randn(3, 6, 32), torch.randn(3, 7, 32), real([7, 4, 1], 7)
    future = torch.ones(6, 6, dtype=torch.bool).triu(diagonal=1)
    expected = theirs(x, memory, tgt_mask=future, memory_key_padding_mask=~mask)
    assert_close(ours(x, None, POSITIONLESS, memory, mask), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_stack_without_a_memory_takes_any_number_of_positions_a_step() -> None:
    config = ModelConfig(width=16, heads=2, feed_forward=32, decoder_layers=1)
    stack = Stack(config, nn.Embedding(9, 16), POSITIONLESS, causal=True, cross=False).eval()
    tokens = torch.randint(9, (2, 6))
    first, cache = stack.step(tokens[:, :4], stack.start(2, limit=6))
    rest, cache = stack.step(tokens[:, 4:], cache)
    assert cache.position == 6
    assert_close(torch.cat([first, rest], dim=1), stack(tokens, None), rtol=0, atol=1e-5)
