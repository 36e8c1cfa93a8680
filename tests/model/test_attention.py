"""The notes' attention: scores, their softmax, the weighted sum; by every kernel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from zhuyi.config import ModelConfig
from zhuyi.model.attention import (
    KERNELS,
    SelfAttention,
    attention_weights,
    causal_mask,
    choose_kernel,
)
from zhuyi.model.mixers import MIXERS
from zhuyi.model.positions import POSITIONS
from zhuyi.model.tap import SILENT, Recording


def by_hand(queries, keys, values, mask):
    """b^i = Σ_j α′_{i,j} v^j, a loop for every index."""
    context = torch.zeros_like(queries)
    per_group = queries.shape[1] // keys.shape[1]
    for batch in range(queries.shape[0]):
        for head in range(queries.shape[1]):
            for i in range(queries.shape[2]):
                seen = [j for j in range(keys.shape[2]) if mask is None or mask[batch, 0, i, j]]
                group = head // per_group
                scores = [queries[batch, head, i] @ keys[batch, group, j] / queries.shape[-1] ** 0.5 for j in seen]
                total = sum(score.exp() for score in scores)
                for j, score in zip(seen, scores, strict=True):
                    context[batch, head, i] += score.exp() / total * values[batch, group, j]
    return context


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=15, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    query=st.integers(1, 5),
    key=st.integers(1, 6),
    masked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_kernel_is_attention_by_hand(kernel, groups, query, key, masked, seed):
    torch.manual_seed(seed)
    queries = torch.randn(2, 4, query, 3, dtype=torch.float64)
    keys, values = torch.randn(2, 2, groups, key, 3, dtype=torch.float64).unbind()
    mask = None
    if masked:
        mask = torch.rand(2, 1, query, key) < 0.6
        mask[..., 0] = True
    assert_close(KERNELS[kernel](queries, keys, values, mask), by_hand(queries, keys, values, mask))


def test_rows_of_weights_are_a_softmax():
    queries, keys = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 7, 8)
    mask = torch.rand(2, 1, 5, 7) < 0.5
    mask[..., 3] = True
    weights = attention_weights(queries, keys, mask)
    assert_close(weights.sum(dim=-1), torch.ones(2, 4, 5))
    assert torch.equal(weights > 0, mask.expand_as(weights))
    longer = attention_weights(2 * queries, keys, mask)
    assert (longer.amax(dim=-1) >= weights.amax(dim=-1)).all(), "larger scores make sharper weights"


def test_equal_keys_share_attention_equally():
    weights = attention_weights(torch.randn(1, 1, 3, 4), torch.ones(1, 1, 5, 4), None)
    assert_close(weights, torch.full((1, 1, 3, 5), 0.2))


def test_causal_mask_hides_what_comes_later():
    cpu = torch.device("cpu")
    assert causal_mask(3, 3, cpu).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    # The last of many keys belongs to the last query.
    assert causal_mask(1, 4, cpu).all()
    assert causal_mask(2, 3, cpu).tolist() == [[True, True, False], [True, True, True]]


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_as_many_vectors_out_as_in(mixer, causal, count):
    config = ModelConfig(width=8, heads=2, positions="none")
    positions = POSITIONS["none"](config)
    x = torch.randn(2, count, 8)
    out = MIXERS[mixer](config, causal=causal)(x, torch.ones(2, count, dtype=torch.bool), positions)
    assert out.shape == x.shape
    assert out.isfinite().all()


def test_self_attention_learns_its_matrices_alone():
    """The notes: of self-attention only W^q, W^k, W^v are learned (and W^o, which joins the heads)."""
    names = {name for name, _ in SelfAttention(ModelConfig(bias="none"), causal=False).named_parameters()}
    assert names == {"query.weight", "key.weight", "value.weight", "output.weight"}


def test_grouped_queries_have_fewer_keys_and_values():
    attention = SelfAttention(ModelConfig(width=32, heads=8, key_value_heads=2), causal=True)
    assert attention.key.weight.shape == attention.value.weight.shape == (8, 32)
    assert [part.shape for part in attention.start(3, 5, torch.zeros(1)).tensors] == [(3, 2, 5, 4)] * 2


def test_someone_who_looks_gets_the_explicit_kernel():
    long = torch.empty(1, 1, 1000, 1)
    assert choose_kernel(long, long, Recording()) == "explicit"
    assert choose_kernel(long, long, SILENT) == "fused"
    assert choose_kernel(long[:, :, :15], long[:, :, :15], SILENT) == "explicit"


@pytest.mark.parametrize("kernel", KERNELS)
def test_attention_dropout_is_unbiased(kernel):
    torch.manual_seed(1)
    queries, keys, values = torch.randn(3, 1, 1, 4, 6).unbind()
    plain = KERNELS[kernel](queries, keys, values, None)
    many = [part.expand(20_000, -1, -1, -1) for part in (queries, keys, values)]
    dropped = KERNELS[kernel](*many, None, dropout_probability=0.25)
    assert_close(dropped.mean(dim=0, keepdim=True), plain, rtol=0, atol=0.03)
    assert dropped.std(dim=0).min() > 0.01
