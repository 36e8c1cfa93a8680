"""The Transformer as graphs of ONNX, operation by operation: `_residual`, `_attend`, `_feed_forward`, as in `model/`.

What torch's exporter traces is the same, but takes it seconds.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import numpy as np
from torch import Tensor, nn

from zhuyi.interop.exports.onnx_graph import Graph
from zhuyi.model.attention import MultiHeadAttention, SelfAttention
from zhuyi.model.blocks import ACTIVATIONS, Block, FeedForward, Residual, RMSNorm
from zhuyi.model.positions import ALiBi, Learned, Positions, Relative, Rotary, Sinusoidal
from zhuyi.model.stack import Stack
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import BOS, PAD, UNK


def encoder(transformer: Transformer, unknown: int) -> Graph:
    """The source to the keys and values of each layer of the decoder.

    Args:
        transformer: the model.
        unknown: ids after the vocabulary's, each of a piece that is UNK.
    """
    graph, stack = Graph("encoder"), transformer.encoder
    places = _Places(graph, stack.positions, graph.ints(0), _size(graph, "source", 1))
    mask = _mask(graph)
    embedding = stack.embedding.weight.detach().float().cpu().numpy()
    x = graph.op("Gather", graph.array(np.concatenate([embedding, embedding[[UNK] * unknown]])), "source")
    x = _begin(graph, stack, x, places)
    for block in cast(Sequence[Block], stack.blocks):
        mixer = cast(SelfAttention, block.mixer)

        def mix(x: str, attention: MultiHeadAttention = mixer) -> str:
            query, key, value = (_heads(graph, attention, name, x) for name in ("query", "key", "value"))
            return _attend(graph, attention, places.rotate(query), places.rotate(key), value, mask, places.bias)

        x = _residual(graph, block.mixer_residual, x, mix)
        x = _residual(graph, block.feed_forward_residual, x, partial(_feed_forward, graph, block.feed_forward))
    memory = _norm(graph, stack.norm, x)
    for name, kind in (("memory_keys", "key"), ("memory_values", "value")):
        layers = [
            _heads(graph, block.cross, kind, memory) for block in cast(Sequence[Block], transformer.decoder.blocks)
        ]
        graph.returns(name, _stacked(graph, layers))
    return graph


def decoder(transformer: Transformer) -> Graph:
    """One token more in each row."""
    graph, stack = Graph("decoder"), transformer.decoder
    position = _size(graph, "past_keys", 3)
    places = _Places(graph, stack.positions, position, graph.op("Add", position, graph.ints(1)))
    mask = _mask(graph)
    x = graph.op("Gather", graph.weight(stack.embedding.weight), "tokens")
    x = _begin(graph, stack, graph.op("Unsqueeze", x, graph.ints(1)), places)
    keys: list[str] = []
    values: list[str] = []
    for number, block in enumerate(cast(Sequence[Block], stack.blocks)):
        layer = graph.array(number, np.int64)

        mixer = cast(SelfAttention, block.mixer)

        def mix(x: str, attention: MultiHeadAttention = mixer, layer: str = layer) -> str:
            query, key, value = (_heads(graph, attention, name, x) for name in ("query", "key", "value"))
            for name, new, all_layers in (("past_keys", places.rotate(key), keys), ("past_values", value, values)):
                all_layers.append(graph.op("Concat", graph.op("Gather", name, layer), new, axis=2))
            return _attend(graph, attention, places.rotate(query), keys[-1], values[-1], places.bias)

        def cross(x: str, attention: MultiHeadAttention = block.cross, layer: str = layer) -> str:
            memory = (graph.op("Gather", name, layer) for name in ("memory_keys", "memory_values"))
            return _attend(graph, attention, _heads(graph, attention, "query", x), *memory, mask)

        x = _residual(graph, block.mixer_residual, x, mix)
        x = _residual(graph, block.cross_residual, x, cross)
        x = _residual(graph, block.feed_forward_residual, x, partial(_feed_forward, graph, block.feed_forward))
    hidden = graph.op("Squeeze", _norm(graph, stack.norm, x), graph.ints(1))
    weight, bias = transformer.projection.weight, transformer.projection.bias
    logits = graph.op(
        "Gemm", hidden, graph.weight(weight), *([graph.weight(bias)] if bias is not None else []), transB=1
    )
    possible = np.zeros(len(weight), np.float32)
    possible[[PAD, BOS]] = -np.inf  # they are never written
    graph.returns("log_probs", graph.op("LogSoftmax", graph.op("Add", logits, graph.array(possible)), axis=-1))
    graph.returns("keys", _stacked(graph, keys))
    graph.returns("values", _stacked(graph, values))
    return graph


class _Places:
    """The positions that a graph computes, and how they enter: see `model.positions`.

    Args:
        graph: the graph.
        positions: of the stack.
        first: the first position, as a vector of one number.
        end: the one after the last; keys have the positions before it.
    """

    def __init__(self, graph: Graph, positions: Positions, first: str, end: str) -> None:
        self._graph, self._positions, self._range = graph, positions, (first, end)
        self.bias = self._bias()

    def add(self, x: str) -> str:
        """Embeddings with their positions added."""
        if not isinstance(self._positions, Sinusoidal | Learned):
            return x
        return self._graph.op("Add", x, self._rows(self._positions.table))

    def rotate(self, heads: str) -> str:
        """Queries or keys rotated by their positions."""
        graph, positions = self._graph, self._positions
        if not isinstance(positions, Rotary):
            return heads
        one, other = graph.ops("Split", heads, outputs=2, axis=-1, num_outputs=2)
        swapped = graph.op("Concat", other, one, axis=-1)
        turned = graph.op("Mul", swapped, self._rows(positions.sine))
        return graph.op("Add", graph.op("Mul", heads, self._rows(positions.cosine)), turned)

    def _rows(self, table: Tensor) -> str:
        return self._graph.op("Slice", self._graph.weight(table), *self._range, self._graph.ints(0))

    def _bias(self) -> str | None:
        """What is added to the scores of self-attention, `heads query key`."""
        graph, positions = self._graph, self._positions
        if not isinstance(positions, ALiBi | Relative):
            return None
        first, end = (graph.op("Squeeze", each) for each in self._range)
        zero, one = graph.array(0, np.int64), graph.array(1, np.int64)
        query = graph.op("Unsqueeze", graph.op("Range", first, end, one), graph.ints(1))
        distance = graph.op("Sub", graph.op("Range", zero, end, one), query)
        if isinstance(positions, ALiBi):
            slopes = graph.array(-positions.slopes.cpu().numpy()[:, None, None])
            return graph.op("Mul", graph.as_float(graph.op("Abs", distance)), slopes)
        places = graph.op("Add", distance, graph.array(positions.before, np.int64))
        buckets = graph.op("Gather", graph.array(positions.buckets.cpu().numpy(), np.int64), places)
        return graph.op("Transpose", graph.op("Gather", graph.weight(positions.table), buckets), perm=[2, 0, 1])


def _begin(graph: Graph, stack: Stack, embedded: str, places: _Places) -> str:
    """What the first block reads: embeddings, scaled, with positions, and their norm."""
    scaled = graph.op("Mul", embedded, graph.array(stack.scale))
    return _norm(graph, stack.embedding_norm, places.add(scaled))


def _residual(graph: Graph, residual: Residual, x: str, sublayer: Callable[[str], str]) -> str:
    if residual.pre_norm:
        return graph.op("Add", x, sublayer(_norm(graph, residual.norm, x)))
    return _norm(graph, residual.norm, graph.op("Add", x, sublayer(x)))


def _attend(graph: Graph, attention: MultiHeadAttention, query: str, key: str, value: str, *biases: str | None) -> str:
    """The context of every head, concatenated and multiplied by W_o; the queries of a group are side by side."""
    heads, groups, width = attention.heads, attention.groups, _head_width(attention)
    grouped, separate = graph.ints(0, groups, -1, width), graph.ints(0, heads, -1, width)
    transposed = graph.op("Transpose", key, perm=[0, 1, 3, 2])
    scores = graph.op("MatMul", graph.op("Reshape", query, grouped), transposed)
    scores = graph.op("Mul", scores, graph.array(width**-0.5))
    scores = graph.op("Reshape", scores, graph.ints(0, heads, -1, 0))
    for bias in biases:
        scores = scores if bias is None else graph.op("Add", scores, bias)
    weights = graph.op("Reshape", graph.op("Softmax", scores, axis=-1), graph.ints(0, groups, -1, 0))
    context = graph.op("Reshape", graph.op("MatMul", weights, value), separate)
    together = graph.op("Reshape", graph.op("Transpose", context, perm=[0, 2, 1, 3]), graph.ints(0, 0, heads * width))
    return _linear(graph, attention.output, together)


def _heads(graph: Graph, attention: MultiHeadAttention, name: str, x: str) -> str:
    """The queries, keys or values: `batch time width` → `batch heads time head_width`."""
    split = graph.ints(0, 0, attention.heads if name == "query" else attention.groups, _head_width(attention))
    return graph.op(
        "Transpose", graph.op("Reshape", _linear(graph, getattr(attention, name), x), split), perm=[0, 2, 1, 3]
    )


def _head_width(attention: MultiHeadAttention) -> int:
    return attention.query.out_features // attention.heads


def _feed_forward(graph: Graph, layer: FeedForward, x: str) -> str:
    inner = _linear(graph, layer.inner, x)
    if layer.activation.gated:
        inner = graph.op("Mul", _activation(graph, layer, _linear(graph, layer.gate, x)), inner)
    else:
        inner = _activation(graph, layer, inner)
    return _linear(graph, layer.outer, inner)


def _activation(graph: Graph, layer: FeedForward, x: str) -> str:
    name = next(name for name, each in ACTIVATIONS.items() if each is layer.activation)
    if name == "relu":
        return graph.op("Relu", x)
    if name in ("gelu", "geglu"):
        return graph.op("Gelu", x, approximate="tanh" if name == "geglu" else "none")
    return graph.op("Mul", x, graph.op("Sigmoid", x))  # silu, swiglu


def _linear(graph: Graph, layer: nn.Linear, x: str) -> str:
    product = graph.op("MatMul", x, graph.weight(layer.weight, transposed=True))
    return product if layer.bias is None else graph.op("Add", product, graph.weight(layer.bias))


def _norm(graph: Graph, norm: nn.Module, x: str) -> str:
    if isinstance(norm, nn.LayerNorm):
        weights = graph.weight(norm.weight), graph.weight(norm.bias)
        return graph.op("LayerNormalization", x, *weights, axis=-1, epsilon=norm.eps)
    if not isinstance(norm, RMSNorm):
        return x
    mean_square = graph.op("ReduceMean", graph.op("Mul", x, x), graph.ints(-1), keepdims=1)
    root = graph.op("Sqrt", graph.op("Add", mean_square, graph.array(norm.epsilon)))
    return graph.op("Mul", graph.op("Div", x, root), graph.weight(norm.weight))


def _mask(graph: Graph) -> str:
    """0 where the source may be attended to, −∞ elsewhere: `batch 1 1 source`."""
    hidden = graph.op("Where", "source_mask", graph.array(0), graph.array(-np.inf))
    return graph.op("Unsqueeze", hidden, graph.ints(1, 2))


def _size(graph: Graph, name: str, axis: int) -> str:
    """The size of a dimension, as a vector of one number."""
    return graph.op("Shape", name, start=axis, end=axis + 1)


def _stacked(graph: Graph, layers: Sequence[str]) -> str:
    axis = graph.ints(0)
    return graph.op("Concat", *(graph.op("Unsqueeze", layer, axis) for layer in layers), axis=0)
