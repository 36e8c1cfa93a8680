"""Attention: each position has a query, which is compared with the keys of all positions to weight their values.

    q = x W_q      k = y W_k      v = y W_v
    scores  = q kᵀ / √d_head                       α in the lecture
    weights = softmax(scores + bias)               α′; one row of weights for each query, whose sum is 1
    output  = concat over heads of (weights v) W_o

Self-attention: x = y. Cross-attention: x is the decoder's, y the encoder's output. The bias is that of the positional
encoding, if it has one. Masks are True = attend, here and everywhere.

Shapes: `query` and `key` are times (numbers of positions), `heads` and `head_width` split the width;
`groups` are the heads of keys and values, fewer than `heads` in grouped-query attention (Ainslie et al. 2023).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from zhuyi.config import ModelConfig
from zhuyi.model import kernels
from zhuyi.model.cache import State
from zhuyi.model.kernels import AttentionKernel, dropout, softmax
from zhuyi.model.positions import Positions
from zhuyi.model.tap import SILENT, Tap


@dataclass(frozen=True)
class KeysValues(State):
    """The keys and values of the past, `rows groups limit head_width` each."""

    def select(self, rows: Int[Tensor, " new_rows"], position: int) -> "KeysValues":
        """Copies only the positions that are filled."""
        return KeysValues(tuple(self._select(tensor, rows, position) for tensor in self.tensors))

    @staticmethod
    def _select(tensor: Tensor, rows: Tensor, position: int) -> Tensor:
        selected = tensor.new_empty(len(rows), *tensor.shape[1:])
        selected[:, :, :position] = tensor[:, :, :position].index_select(0, rows)
        return selected


def causal_mask(query: int, key: int, device: torch.device) -> Bool[Tensor, "query key"]:
    """True where a query may attend: to its own position and those before it."""
    return torch.ones(query, key, dtype=torch.bool, device=device).tril(diagonal=key - query)


def attention_weights(
    queries: Float[Tensor, "batch heads query head_width"],
    keys: Float[Tensor, "batch heads key head_width"],
    mask: Bool[Tensor, "#batch 1 #query key"] | None,
    bias: Float[Tensor, "#batch heads query key"] | None = None,
    tap: Tap = SILENT,
) -> Float[Tensor, "batch heads query key"]:
    """softmax(q kᵀ / √d + bias): the share of its attention that each query gives to each key.

    Vaswani et al. 2017, eq. 1. The bias is that of the positional encoding; keys where `mask` is False have no share.
    """
    scores = tap("scores", queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1]))
    if bias is not None:
        scores = scores + tap("bias", bias).to(scores.dtype)
    if mask is not None:
        # Added: to fill in what is masked takes ten times longer on the CPU, and again in the backward pass.
        scores = scores + torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~tap("mask", mask), float("-inf"))
    return tap("weights", softmax(scores))


def explicit_attention(
    queries: Float[Tensor, "batch heads query head_width"],
    keys: Float[Tensor, "batch groups key head_width"],
    values: Float[Tensor, "batch groups key head_width"],
    mask: Bool[Tensor, "#batch 1 #query key"] | None,
    bias: Float[Tensor, "#batch heads query key"] | None = None,
    dropout_probability: float = 0.0,
    tap: Tap = SILENT,
) -> Float[Tensor, "batch heads query head_width"]:
    """The weighted sum of the values, operation by operation; its intermediate values can be tapped."""
    per_group = queries.shape[1] // keys.shape[1]
    if per_group > 1:
        keys, values = keys.repeat_interleave(per_group, dim=1), values.repeat_interleave(per_group, dim=1)
    weights = attention_weights(queries, keys, mask, bias, tap)
    return tap("context", dropout(weights, dropout_probability, training=True) @ values)


def fused_attention(
    queries: Float[Tensor, "batch heads query head_width"],
    keys: Float[Tensor, "batch groups key head_width"],
    values: Float[Tensor, "batch groups key head_width"],
    mask: Bool[Tensor, "#batch 1 #query key"] | None,
    bias: Float[Tensor, "#batch heads query key"] | None = None,
    dropout_probability: float = 0.0,
    tap: Tap = SILENT,
) -> Float[Tensor, "batch heads query head_width"]:
    """The same in one kernel that never stores the weights (Dao et al. 2022), so they cannot be tapped."""
    if bias is not None:  # the kernel takes one or the other, so a mask becomes a bias of -∞
        bias = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
        bias = bias.to(queries.dtype)
    grouped = queries.shape[1] != keys.shape[1]
    return F.scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask if bias is None else bias,
        dropout_p=dropout_probability,
        enable_gqa=grouped,
    )


KERNELS: dict[AttentionKernel, Callable[..., Tensor]] = {"explicit": explicit_attention, "fused": fused_attention}


def choose_kernel(queries: Tensor, keys: Tensor, tap: Tap) -> AttentionKernel:
    """The explicit kernel where values are recorded; else the one that `kernels.use` asks for, or the fastest.

    On the CPU, explicit attention is the fastest for sentences of ordinary length.
    """
    if tap.recording:
        return "explicit"
    if chosen := kernels.in_use():
        return chosen
    return "explicit" if queries.device.type == "cpu" and queries.shape[2] * keys.shape[2] <= 128 * 128 else "fused"


class MultiHeadAttention(nn.Module):
    """W_q, W_k, W_v and W_o of all heads, and the attention between them (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.groups = config.heads, config.groups
        self.dropout = config.attention_dropout
        bias = config.bias == "all"
        self.query = nn.Linear(config.width, config.heads * config.head_width, bias=bias)
        self.key = nn.Linear(config.width, self.groups * config.head_width, bias=bias)
        self.value = nn.Linear(config.width, self.groups * config.head_width, bias=bias)
        self.output = nn.Linear(config.heads * config.head_width, config.width, bias=bias)

    def queries(
        self, x: Float[Tensor, "batch query width"], tap: Tap = SILENT
    ) -> Float[Tensor, "batch heads query head_width"]:
        """One query per head for each position of `x`."""
        return tap("queries", _split_heads(self.query(x), self.heads))

    def keys_values(
        self, x: Float[Tensor, "batch key width"], tap: Tap = SILENT
    ) -> tuple[Float[Tensor, "batch groups key head_width"], Float[Tensor, "batch groups key head_width"]]:
        """One key and one value per group for each position of `x`."""
        keys, values = _split_heads(self.key(x), self.groups), _split_heads(self.value(x), self.groups)
        return tap("keys", keys), tap("values", values)

    def attend(
        self,
        queries: Float[Tensor, "batch heads query head_width"],
        keys: Float[Tensor, "batch groups key head_width"],
        values: Float[Tensor, "batch groups key head_width"],
        mask: Bool[Tensor, "#batch 1 #query key"] | None,
        bias: Float[Tensor, "#batch heads query key"] | None = None,
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch query width"]:
        """The context of every head, concatenated and multiplied by W_o."""
        kernel = KERNELS[choose_kernel(queries, keys, tap)]
        context = kernel(queries, keys, values, mask, bias, self.dropout if self.training else 0.0, tap)
        return tap("output", self.output(context.transpose(1, 2).flatten(2)))


class SelfAttention(MultiHeadAttention):
    """Attention of a sequence to itself; causal in the decoder, where no position sees those after it."""

    def __init__(self, config: ModelConfig, causal: bool) -> None:
        super().__init__(config)
        self.causal = causal

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        padding: Bool[Tensor, "batch time"] | None,
        positions: Positions,
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch time width"]:
        """Mix the positions of `x`; those where `padding` is False are not attended to."""
        queries = tap("rotated_queries", positions.rotate(self.queries(x, tap)))
        keys, values = self.keys_values(x, tap)
        keys = tap("rotated_keys", positions.rotate(keys))
        mask = None if padding is None else padding[:, None, None, :]
        if self.causal:
            causal = causal_mask(x.shape[1], x.shape[1], x.device)[None, None]
            mask = causal if mask is None else mask & causal
        return self.attend(queries, keys, values, mask, positions.bias(x.shape[1], x.shape[1]), tap)

    def start(self, rows: int, limit: int, like: Tensor) -> State:
        """Capacity for the keys and values of `limit` positions."""
        shape = (rows, self.groups, limit, self.key.out_features // self.groups)
        return KeysValues((like.new_zeros(shape), like.new_zeros(shape)))

    def step(
        self, x: Float[Tensor, "rows new width"], state: State, position: int, positions: Positions
    ) -> tuple[Float[Tensor, "rows new width"], State]:
        """Positions from `position` on attend to themselves and to the past in `state`, which is written in place."""
        keys, values = state.tensors
        new, total = x.shape[1], position + x.shape[1]
        key, value = self.keys_values(x)
        keys[:, :, position:total] = positions.rotate(key, position)
        values[:, :, position:total] = value
        queries = positions.rotate(self.queries(x), position)
        mask = causal_mask(new, total, x.device)[None, None] if new > 1 else None  # one sees all that there is
        bias = positions.bias(new, total, position)
        return self.attend(queries, keys[:, :, :total], values[:, :, :total], mask, bias), state


class CrossAttention(MultiHeadAttention):
    """Attention whose queries are the decoder's, and whose keys and values are those of the encoder's output."""

    def forward(
        self,
        x: Float[Tensor, "batch query width"],
        keys: Float[Tensor, "batch groups key head_width"],
        values: Float[Tensor, "batch groups key head_width"],
        source_mask: Bool[Tensor, "batch key"],
        tap: Tap = SILENT,
    ) -> Float[Tensor, "batch query width"]:
        """Attend from `x` to the `keys_values` of the encoder's output."""
        return self.attend(self.queries(x, tap), keys, values, source_mask[:, None, None, :], tap=tap)


def _split_heads(x: Tensor, heads: int) -> Tensor:
    """`batch time width` → `batch heads time head_width`."""
    return x.view(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2)
