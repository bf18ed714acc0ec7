"""Linear nodes as least-squares problems: which tensors they read and write, and their weights as one matrix.

Conv, Gemm and MatMul by a constant are all y = P w + b for a matrix of rows P. `Linear.matrix` gives (w; b) with
shape (groups, columns + 1, outputs / groups), the bias as last column; `Linear.store` writes such a matrix back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.patches import ConvGeometry, conv_patches, rows_at


@dataclass(frozen=True)
class Linear:
    """One linear node of the student.

    Attributes:
        node: The node.
        index: Its place in topological order.
        source: Name of the tensor it reads.
        output: The value that carries its sum with the bias; for a MatMul followed by a constant Add, the Add's output.
        weight: The weight's value (a float constant with one reader).
        bias: The bias' value; None where it has none.
        geometry: For Conv; None for matrix products.
        outputs_first: True where the weight is stored (outputs, inputs).
    """

    node: ir.Node
    index: int
    source: str
    output: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    geometry: ConvGeometry | None
    outputs_first: bool

    @property
    def groups(self) -> int:
        """Number of independent problems."""
        return self.geometry.group if self.geometry else 1

    @property
    def takes_bias(self) -> bool:
        """Whether a bias can be fitted: it is there, or the operator has a slot for one."""
        return self.bias is not None or self.node.op_type == "Conv"

    def matrix(self) -> np.ndarray:
        """The weights, shape (groups, columns [+ 1], outputs / groups), float64."""
        weight = _numbers(self.weight)
        flat = weight.reshape(weight.shape[0], -1) if self.geometry else weight
        wide = flat.T if self.outputs_first else flat
        columns, outputs = wide.shape
        grouped = wide.reshape(columns, self.groups, outputs // self.groups).transpose(1, 0, 2)
        if not self.takes_bias:
            return grouped
        bias = np.zeros(outputs) if self.bias is None else np.broadcast_to(_numbers(self.bias).reshape(-1), (outputs,))
        return np.concatenate([grouped, bias.reshape(self.groups, 1, -1)], axis=1)

    def rows(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The rows P at flat output positions, with a column of ones where a bias is fitted."""
        if self.geometry:
            picked = conv_patches(x, self.geometry, positions)
        else:
            picked = x.reshape(-1, x.shape[-1])[positions][None]
        if not self.takes_bias:
            return picked
        return np.concatenate([picked, np.ones((*picked.shape[:2], 1), picked.dtype)], axis=2)

    def targets(self, y: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Rows of an output-shaped tensor at flat positions: shape (groups, rows, outputs / groups)."""
        picked = rows_at(y, positions) if self.geometry else y.reshape(-1, y.shape[-1])[positions]
        return picked.reshape(len(picked), self.groups, -1).transpose(1, 0, 2)

    def positions(self, y_shape: tuple[int, ...]) -> int:
        """Number of rows in one batch whose output has shape `y_shape`."""
        axes = (y_shape[0], *y_shape[2:]) if self.geometry else y_shape[:-1]
        return int(np.prod(axes))

    def store(self, matrix: np.ndarray) -> None:
        """Write a matrix in the form of `matrix` back into weight and bias, in their own dtype."""
        body = matrix[:, :-1] if self.takes_bias else matrix
        wide = body.transpose(1, 0, 2).reshape(body.shape[1], -1)
        flat = wide.T if self.outputs_first else wide
        _write(self.weight, flat.reshape(_numbers(self.weight).shape))
        if not self.takes_bias:
            return
        bias = matrix[:, -1].reshape(-1)
        if self.bias is not None:
            _write(self.bias, bias.reshape(_numbers(self.bias).shape))
        elif np.any(bias):
            self._add_bias(bias)

    def _add_bias(self, bias: np.ndarray) -> None:
        owner = self.node.graph
        assert isinstance(owner, ir.Graph)
        taken = set(owner.initializers)
        name = graph.fresh_name(taken, f"{self.weight.name}_bias")
        dtype = _numbers(self.weight, cast=False).dtype
        self.node.resize_inputs(3)
        self.node.replace_input_with(2, graph.add_initializer(owner, name, bias.astype(dtype)))


def linear_of(node: ir.Node, index: int) -> Linear | str:
    """The node as a least-squares problem, or the reason why it is none (empty: not a linear operator)."""
    readers = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}
    if node.domain not in ("", "ai.onnx"):
        return ""
    if node.op_type not in readers:
        return "the operator has no closed form here" if node.op_type in ("ConvTranspose", "LSTM", "GRU", "RNN") else ""
    weight = node.inputs[1]
    if weight is None or not graph.is_constant(weight):
        return "" if node.op_type == "MatMul" else "its weight is not a constant"
    if len(list(weight.uses())) > 1:
        return "its weight has several readers"
    if _numbers(weight, cast=False).dtype.kind not in "fV":
        return "its weight is not a float tensor"
    if not _numbers(weight, cast=False).size:
        return "its weight has no elements"
    return readers[node.op_type](node, index, weight)


def _conv(node: ir.Node, index: int, weight: ir.Value) -> Linear | str:
    shape = _numbers(weight, cast=False).shape
    axes = len(shape) - 2
    if str(graph.attribute(node, "auto_pad", "NOTSET")) not in ("NOTSET", "VALID"):
        return "auto_pad is in use"
    if shape[0] % max(int(graph.attribute(node, "group", 1)), 1):
        return "its channels do not divide into its groups"
    geometry = ConvGeometry(
        kernel=tuple(shape[2:]),
        strides=tuple(graph.attribute(node, "strides") or (1,) * axes),
        dilations=tuple(graph.attribute(node, "dilations") or (1,) * axes),
        pads=tuple(graph.attribute(node, "pads") or (0,) * 2 * axes),
        group=int(graph.attribute(node, "group", 1)),
    )
    return _linear(node, index, weight, _bias(node), geometry, outputs_first=True)


def _gemm(node: ir.Node, index: int, weight: ir.Value) -> Linear | str:
    scaled = graph.attribute(node, "alpha", 1.0) != 1.0 or graph.attribute(node, "beta", 1.0) != 1.0
    if scaled or graph.attribute(node, "transA", 0):
        return "alpha, beta or transA is in use"
    outputs_first = bool(graph.attribute(node, "transB", 0))
    bias = _bias(node)
    outputs = _numbers(weight, cast=False).shape[0 if outputs_first else 1]
    if bias is not None and _numbers(bias, cast=False).size != outputs:
        return "its bias is not a vector of constants"
    return _linear(node, index, weight, bias, None, outputs_first=outputs_first)


def _matmul(node: ir.Node, index: int, weight: ir.Value) -> Linear | str:
    shape = _numbers(weight, cast=False).shape
    if len(shape) != 2:
        return "its weight is not a matrix"
    bias, output = _following_bias(node, shape[1])
    return _linear(node, index, weight, bias, None, outputs_first=False, output=output)


def _linear(
    node: ir.Node,
    index: int,
    weight: ir.Value,
    bias: ir.Value | None,
    geometry: ConvGeometry | None,
    *,
    outputs_first: bool,
    output: ir.Value | None = None,
) -> Linear | str:
    source = node.inputs[0]
    if source is None or (bias is not None and not graph.is_constant(bias)):
        return "its bias is not a constant"
    if bias is not None and len(list(bias.uses())) > 1:
        return "its bias has several readers"
    end = node.outputs[0] if output is None else output
    return Linear(node, index, source.name or "", end, weight, bias, geometry, outputs_first)


def _bias(node: ir.Node) -> ir.Value | None:
    return node.inputs[2] if len(node.inputs) > 2 else None


def _following_bias(node: ir.Node, outputs: int) -> tuple[ir.Value | None, ir.Value]:
    """The constant vector that the only reader of a MatMul adds, and that sum; else (None, the product itself)."""
    product = node.outputs[0]
    uses = list(product.uses())
    if len(uses) == 1 and uses[0].node.op_type == "Add" and not product.is_graph_output():
        adder = uses[0].node
        other = adder.inputs[1 - uses[0].idx]
        if other is not None and graph.is_constant(other) and _numbers(other, cast=False).shape in _vectors(outputs):
            return other, adder.outputs[0]
    return None, product


def _vectors(outputs: int) -> list[tuple[int, ...]]:
    return [(1,) * rank + (outputs,) for rank in range(3)]


def _numbers(value: ir.Value, *, cast: bool = True) -> np.ndarray:
    array = graph.array_of(value)
    assert array is not None, "linear_of checked that it is constant"
    return array.astype(np.float64) if cast else array


def _write(value: ir.Value, array: np.ndarray) -> None:
    graph.set_constant(value, array.astype(_numbers(value, cast=False).dtype))
