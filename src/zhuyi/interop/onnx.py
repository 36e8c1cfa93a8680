"""zhuyi → ONNX: two graphs, which onnxruntime computes in Python, in a browser, in C#, Java and others.

    encoder.onnx    source, source_mask → memory_keys, memory_values
    decoder.onnx    tokens, past_keys, past_values, memory_keys, memory_values, source_mask → log_probs, keys, values

The second is one step: the log-probabilities after one more token in each row, and keys and values that are the past of
the next step. Their names, types and shapes are those of `INPUTS` and `OUTPUTS`.

The graphs are written operation by operation, and read as `model/` does: `_residual`, `_attend`, `_feed_forward`. What
torch's exporter traces is the same, but takes it seconds.
"""

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from zhuyi.checkpoint import Model
from zhuyi.engine.protocol import Tokens
from zhuyi.errors import ConfigError, MissingExtra
from zhuyi.interop.joint_tokenizer import joint_tokenizer
from zhuyi.model.attention import MultiHeadAttention, SelfAttention
from zhuyi.model.blocks import ACTIVATIONS, Block, FeedForward, Residual, RMSNorm
from zhuyi.model.positions import ALiBi, Learned, Positions, Relative, Rotary, Sinusoidal
from zhuyi.model.stack import Stack
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import BOS, EOS, PAD, SPECIALS, UNK, Tokenizer, Tokenizers
from zhuyi.version import __version__

PRECISIONS = ("float32", "int8")
GRAPHS = ("encoder.onnx", "decoder.onnx")
FILES = frozenset(
    {*GRAPHS, *(f"{name}.data" for name in GRAPHS), "config.json", "README.md"}
    | {f"tokenizer.{side}.json" for side in ("source", "target")}
)
"""The names of all files that a directory may hold."""
OPSET = 20
"""Version of the operations (2023): the first with GELU."""
LARGEST = 1 << 30
"""Bytes of weights in one file; those of larger graphs are in a file beside it, as protobuf holds 2 GiB at most."""
BATCH = 32
"""Sentences that are decoded side by side."""
KEYS = ("layers", "batch", "groups")
"""The first dimensions of keys and values."""
INPUTS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "encoder": {"source": ("INT64", ("batch", "source")), "source_mask": ("BOOL", ("batch", "source"))},
    "decoder": {
        "tokens": ("INT64", ("batch",)),
        **{f"past_{name}": ("FLOAT", (*KEYS, "past", "head_width")) for name in ("keys", "values")},
        **{f"memory_{name}": ("FLOAT", (*KEYS, "source", "head_width")) for name in ("keys", "values")},
        "source_mask": ("BOOL", ("batch", "source")),
    },
}
OUTPUTS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "encoder": {f"memory_{name}": ("FLOAT", (*KEYS, "source", "head_width")) for name in ("keys", "values")},
    "decoder": {
        "log_probs": ("FLOAT", ("batch", "vocabulary")),
        **dict.fromkeys(("keys", "values"), ("FLOAT", (*KEYS, "past + 1", "head_width"))),
    },
}
"""By graph and name: the type of the elements, and the dimensions; True = attend, as in all our masks."""


class OnnxDirectory:
    """A directory that `write` wrote, run by onnxruntime on the CPU.

    Args:
        directory: what `write` wrote.
        tokenizers: of the model.
    """

    def __init__(self, directory: Path, tokenizers: Tokenizers) -> None:
        runtime = _onnxruntime()
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors
        self._encoder, self._decoder = (
            runtime.InferenceSession(directory / name, options, providers=["CPUExecutionProvider"]) for name in GRAPHS
        )
        self._given = tokenizers.target.template.prefix

    def decode(self, sources: Sequence[Tokens], limit: int) -> list[list[int]]:
        """The output of greedy search for each source, without EOS; at most `limit` tokens, EOS counted."""

        def most_probable(step: int, log_probs: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
            forced = step < len(self._given)
            return np.full(len(log_probs), self._given[step]) if forced else log_probs.argmax(axis=-1)

        answers: list[list[int]] = []
        for start in range(0, len(sources), BATCH):
            chosen = self._steps(sources[start : start + BATCH], limit, most_probable)
            tokens = [[*line] for line in np.stack([step for step, _ in chosen], axis=1).tolist()]
            answers += [line[: line.index(EOS) if EOS in line else None] for line in tokens]
        return answers

    def log_probabilities(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> list[list[float]]:
        """The log-probability of each token of each target, and of EOS after them."""
        rows: list[list[float]] = []
        for start in range(0, len(sources), BATCH):
            some = [[*target, EOS] for target in targets[start : start + BATCH]]
            longest = max(map(len, some))
            table = np.array([line + [EOS] * (longest - len(line)) for line in some])

            def given(step: int, _: npt.NDArray[np.float32], columns: Any = table.T) -> npt.NDArray[np.int64]:
                return np.asarray(columns[step])

            found = self._steps(sources[start : start + BATCH], longest, given)
            each = np.stack([log_probs[range(len(some)), token] for token, log_probs in found], axis=1)
            rows += [line[: len(target)].tolist() for line, target in zip(each, some, strict=True)]
        return rows

    def _steps(
        self,
        sources: Sequence[Tokens],
        limit: int,
        choose: Callable[[int, npt.NDArray[np.float32]], npt.NDArray[np.int64]],
    ) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """At each step the chosen tokens and the log-probabilities, until all rows have had EOS or `limit` is there."""
        longest = max(map(len, sources)) + 1
        source = np.array([[*line, EOS] + [PAD] * (longest - len(line) - 1) for line in sources])
        mask = source != PAD
        memory = dict(
            zip(OUTPUTS["encoder"], self._encoder.run(None, {"source": source, "source_mask": mask}), strict=True)
        )
        past = {f"past_{name}": memory[f"memory_{name}"][:, :, :, :0] for name in ("keys", "values")}
        tokens, ended = np.full(len(sources), BOS), np.zeros(len(sources), bool)
        found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = []
        while len(found) < limit and not ended.all():
            log_probs, *state = self._decoder.run(None, {"tokens": tokens, "source_mask": mask, **memory, **past})
            past = dict(zip(past, state, strict=True))
            tokens = choose(len(found), log_probs)
            ended |= tokens == EOS
            found.append((tokens, log_probs))
        return found


def write(model: Model, directory: Path, precision: str) -> None:
    """Write a model into an empty directory.

    Args:
        model: with its weights, on any device.
        directory: is there, and empty.
        precision: "float32", or "int8", in which onnxruntime quantises matrices.

    Raises:
        ConfigError: naming the key, if a mixer is none that is written here.
        MissingExtra: if `onnx` or `onnxruntime` is not installed.
    """
    transformer, tokenizers = cast(Transformer, model.transformer), model.tokenizers
    _onnxruntime()
    config = transformer.config
    for key in ("encoder_mixer", "decoder_mixer"):
        if (mixer := getattr(config, key)) != "attention":
            raise ConfigError(f'model.{key} = "{mixer}": of the mixers, zhuyi writes only attention in ONNX; use zhuyi')
    if tokenizers.source.template.suffix:
        raise ConfigError("text.source_suffix: zhuyi ends every source with EOS in ONNX; use zhuyi itself")
    source, target = _tokenizer(tokenizers.source, reads=True), _tokenizer(tokenizers.target, reads=False)
    unknown = len(source["model"]["vocab"]) - len(tokenizers.source)
    for name, graph in (("encoder.onnx", _encoder(transformer, unknown)), ("decoder.onnx", _decoder(transformer))):
        graph.save(directory / name, precision)
    settings = {
        **{"zhuyi": __version__, "max_length": config.max_length},
        **{"pad": PAD, "bos": BOS, "eos": EOS},
        **{
            "source_prefix": list(tokenizers.source.template.prefix),
            "target_prefix": list(tokenizers.target.template.prefix),
        },
    }
    files = {"config.json": settings, "tokenizer.source.json": source, "tokenizer.target.json": target}
    for file, content in files.items():
        (directory / file).write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8", newline="\n")
    (directory / "README.md").write_text(_card(), "utf-8", newline="\n")


def _tokenizer(side: Tokenizer, reads: bool) -> dict[str, Any]:
    """A tokenizer that puts its template around a line.

    The tokens that it looks for in a text are the tags with which a line may begin (`reads`), and those that it leaves
    out of a text are the tags.
    """
    content = joint_tokenizer(Tokenizers(side, side), together=True).content
    tags = [token for token in content["added_tokens"] if token["id"] >= len(SPECIALS)]
    content["added_tokens"] = [token for token in tags if token["special"] != reads]
    return content


class _Graph:
    """A graph in the making: each operation has a name, which is that of its output.

    Args:
        name: one of those of `INPUTS`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[Any] = []
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._weights: dict[tuple[int, bool], str] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operation of ONNX with one output."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """An operation of ONNX with several outputs."""
        names = [f"{kind}.{len(self._nodes)}.{i}" for i in range(outputs)]
        self._nodes.append(_onnx().helper.make_node(kind, inputs, names, **attributes))
        return names

    def array(self, values: Any, kind: Any = np.float32) -> str:
        """A constant; a scalar where `values` is a number."""
        name = f"constant.{len(self._arrays)}"
        self._arrays[name] = np.asarray(values, kind)
        return name

    def ints(self, *values: int) -> str:
        """A constant vector of whole numbers, such as the axes or the shape that an operation takes."""
        return self.array(values, np.int64)

    def weight(self, tensor: Tensor, transposed: bool = False) -> str:
        """A tensor of the model; one that is used twice stands once."""
        key = id(tensor), transposed
        if key not in self._weights:
            array = tensor.detach().float().cpu().numpy()
            self._weights[key] = self.array(np.ascontiguousarray(array.T) if transposed else array)
        return self._weights[key]

    def returns(self, name: str, value: str) -> None:
        """Make a value an output."""
        self._nodes.append(_onnx().helper.make_node("Identity", [value], [name]))

    def save(self, path: Path, precision: str) -> None:
        """Write the graph, checked by the library."""
        onnx = _onnx()
        values = [
            [
                onnx.helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), dimensions)
                for name, (kind, dimensions) in table[self.name].items()
            ]
            for table in (INPUTS, OUTPUTS)
        ]
        tensors = [onnx.numpy_helper.from_array(array, name) for name, array in self._arrays.items()]
        graph = onnx.helper.make_graph(self._nodes, self.name, *values, tensors)
        version = onnx.helper.make_opsetid("", OPSET)
        # Version 9 of the file format came with these operations; a newer one older runtimes would not open.
        made = onnx.helper.make_model(graph, opset_imports=[version], ir_version=9, producer_name="zhuyi")
        large = sum(array.nbytes for array in self._arrays.values()) > LARGEST
        onnx.save_model(made, path, save_as_external_data=large, location=f"{path.name}.data" if large else None)
        onnx.checker.check_model(path)
        if precision == "int8":
            _quantise(path)


def _quantise(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it recommends a preparation that these graphs do not need
    try:
        quantize_dynamic(path, path, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.disable(logging.NOTSET)


def _encoder(transformer: Transformer, unknown: int) -> _Graph:
    """The source to the keys and values of each layer of the decoder.

    Args:
        transformer: the model.
        unknown: ids after the vocabulary's, each of a piece that is UNK.
    """
    graph, stack = _Graph("encoder"), transformer.encoder
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


def _decoder(transformer: Transformer) -> _Graph:
    """One token more in each row."""
    graph, stack = _Graph("decoder"), transformer.decoder
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

    def __init__(self, graph: _Graph, positions: Positions, first: str, end: str) -> None:
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
            return graph.op("Mul", graph.op("Cast", graph.op("Abs", distance), to=_onnx().TensorProto.FLOAT), slopes)
        places = graph.op("Add", distance, graph.array(positions.before, np.int64))
        buckets = graph.op("Gather", graph.array(positions.buckets.cpu().numpy(), np.int64), places)
        return graph.op("Transpose", graph.op("Gather", graph.weight(positions.table), buckets), perm=[2, 0, 1])


def _begin(graph: _Graph, stack: Stack, embedded: str, places: _Places) -> str:
    """What the first block reads: embeddings, scaled, with positions, and their norm."""
    scaled = graph.op("Mul", embedded, graph.array(stack.scale))
    return _norm(graph, stack.embedding_norm, places.add(scaled))


def _residual(graph: _Graph, residual: Residual, x: str, sublayer: Callable[[str], str]) -> str:
    if residual.pre_norm:
        return graph.op("Add", x, sublayer(_norm(graph, residual.norm, x)))
    return _norm(graph, residual.norm, graph.op("Add", x, sublayer(x)))


def _attend(graph: _Graph, attention: MultiHeadAttention, query: str, key: str, value: str, *biases: str | None) -> str:
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


def _heads(graph: _Graph, attention: MultiHeadAttention, name: str, x: str) -> str:
    """The queries, keys or values: `batch time width` → `batch heads time head_width`."""
    split = graph.ints(0, 0, attention.heads if name == "query" else attention.groups, _head_width(attention))
    return graph.op(
        "Transpose", graph.op("Reshape", _linear(graph, getattr(attention, name), x), split), perm=[0, 2, 1, 3]
    )


def _head_width(attention: MultiHeadAttention) -> int:
    return attention.query.out_features // attention.heads


def _feed_forward(graph: _Graph, layer: FeedForward, x: str) -> str:
    inner = _linear(graph, layer.inner, x)
    if layer.activation.gated:
        inner = graph.op("Mul", _activation(graph, layer, _linear(graph, layer.gate, x)), inner)
    else:
        inner = _activation(graph, layer, inner)
    return _linear(graph, layer.outer, inner)


def _activation(graph: _Graph, layer: FeedForward, x: str) -> str:
    name = next(name for name, each in ACTIVATIONS.items() if each is layer.activation)
    if name == "relu":
        return graph.op("Relu", x)
    if name in ("gelu", "geglu"):
        return graph.op("Gelu", x, approximate="tanh" if name == "geglu" else "none")
    return graph.op("Mul", x, graph.op("Sigmoid", x))  # silu, swiglu


def _linear(graph: _Graph, layer: nn.Linear, x: str) -> str:
    product = graph.op("MatMul", x, graph.weight(layer.weight, transposed=True))
    return product if layer.bias is None else graph.op("Add", product, graph.weight(layer.bias))


def _norm(graph: _Graph, norm: nn.Module, x: str) -> str:
    if isinstance(norm, nn.LayerNorm):
        weights = graph.weight(norm.weight), graph.weight(norm.bias)
        return graph.op("LayerNormalization", x, *weights, axis=-1, epsilon=norm.eps)
    if not isinstance(norm, RMSNorm):
        return x
    mean_square = graph.op("ReduceMean", graph.op("Mul", x, x), graph.ints(-1), keepdims=1)
    root = graph.op("Sqrt", graph.op("Add", mean_square, graph.array(norm.epsilon)))
    return graph.op("Mul", graph.op("Div", x, root), graph.weight(norm.weight))


def _mask(graph: _Graph) -> str:
    """0 where the source may be attended to, −∞ elsewhere: `batch 1 1 source`."""
    hidden = graph.op("Where", "source_mask", graph.array(0), graph.array(-np.inf))
    return graph.op("Unsqueeze", hidden, graph.ints(1, 2))


def _size(graph: _Graph, name: str, axis: int) -> str:
    """The size of a dimension, as a vector of one number."""
    return graph.op("Shape", name, start=axis, end=axis + 1)


def _stacked(graph: _Graph, layers: Sequence[str]) -> str:
    axis = graph.ints(0)
    return graph.op("Concat", *(graph.op("Unsqueeze", layer, axis) for layer in layers), axis=0)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("export to onnx", "onnx") from error
    return onnx


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("export to onnx", "onnx") from error
    return onnxruntime


def _card() -> str:
    """The README.md of a directory."""
    rows = [
        f"| `{graph}.onnx` | {kind} | `{name}` | {type_.lower()} | {', '.join(dimensions)} |"
        for graph in INPUTS
        for kind, table in (("input", INPUTS), ("output", OUTPUTS))
        for name, (type_, dimensions) in table[graph].items()
    ]
    return CARD.format(table="\n".join(rows))


CARD = """# A zhuyi model in ONNX

Written by `zhuyi export`. It needs `pip install onnxruntime tokenizers`, and no torch:

```python
import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

directory = "."  # this one
with open(f"{{directory}}/config.json", encoding="utf-8") as file:
    settings = json.load(file)
source, target = (Tokenizer.from_file(f"{{directory}}/tokenizer.{{side}}.json") for side in ("source", "target"))
encoder, decoder = (onnxruntime.InferenceSession(f"{{directory}}/{{name}}.onnx") for name in ("encoder", "decoder"))


def translate(line):
    tokens = source.encode(line).ids  # after the source's prefix, and before EOS
    if len(tokens) == len(settings["source_prefix"]) + 1:
        return ""
    tokens = [*tokens[:-1][: settings["max_length"] - 1], settings["eos"]]
    mask = np.ones((1, len(tokens)), bool)
    keys, values = encoder.run(None, {{"source": np.array([tokens], np.int64), "source_mask": mask}})
    memory = {{"memory_keys": keys, "memory_values": values, "source_mask": mask}}
    keys, values = keys[:, :, :, :0], values[:, :, :, :0]
    token, output, given = settings["bos"], [], settings["target_prefix"]
    for step in range(settings["max_length"]):
        inputs = {{"tokens": np.array([token], np.int64), "past_keys": keys, "past_values": values, **memory}}
        log_probs, keys, values = decoder.run(None, inputs)
        token = given[step] if step < len(given) else int(log_probs[0].argmax())
        if token == settings["eos"]:
            break
        output.append(token)
    return target.decode(output[len(given) :])


print(translate("A line of text."))
```

| graph | | name | type | dimensions |
|---|---|---|---|---|
{table}

A mask is true where there is no padding. `tokens` are the last ones of each row, BOS at first. `past_keys` and
`past_values` have no positions at first, and then are `keys` and `values` of the step before.

- PAD and BOS have the probability 0, as in zhuyi. A source ends in EOS.
- This is greedy search: it writes what `zhuyi translate --beam 1` writes. For a beam, make each of its prefixes a row,
  and let `past_keys` and `past_values` follow the rows (axis 1).
- zhuyi also ends an output at `decoding.max_ratio` · source + `decoding.max_extra` tokens, and where it repeats itself
  (`decoding.max_repetition`). If the model has a least length (`decoding.min_length`), zhuyi does not end it before.
"""
