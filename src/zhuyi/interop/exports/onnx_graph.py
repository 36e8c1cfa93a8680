"""A graph of ONNX in the making, and the names, types and shapes of what goes into the two graphs and comes out."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from zhuyi.interop.exports.libraries import library

OPSET = 20
"""Version of the operations (2023): the first with GELU."""
LARGEST = 1 << 30
"""Bytes of weights in one file; those of larger graphs are in a file beside it, as protobuf holds 2 GiB at most."""
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


class Graph:
    """A graph in the making: each operation has a name, which is that of its output.

    Args:
        name: one of those of `INPUTS`.

    Raises:
        MissingExtra: if `onnx` is not installed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._onnx = library("onnx", "onnx")
        self._nodes: list[Any] = []
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._weights: dict[tuple[int, bool], str] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operation of ONNX with one output."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """An operation of ONNX with several outputs."""
        names = [f"{kind}.{len(self._nodes)}.{i}" for i in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, names, **attributes))
        return names

    def as_float(self, value: str) -> str:
        """Numbers of another type in float32."""
        return self.op("Cast", value, to=self._onnx.TensorProto.FLOAT)

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
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))

    def save(self, path: Path, precision: str) -> None:
        """Write the graph, checked by the library."""
        onnx = self._onnx
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
