"""Constant folding: a node whose inputs are all constants is run once, by ONNX Runtime itself, and replaced.

Left alone: other domains than ONNX's own, random operators, control flow, quantization (`QuantizeLinear` and
`DequantizeLinear` must stay visible to the runtime that is to run them, and a weight stored in 8 bits behind a Cast
would take four times the space), element types that ONNX Runtime does not
compute in plainly, and results that are larger than 4 times what went in, where that is above 1 MiB. All results
together may hold no more than 4 times the constants of the model, or 1 MiB.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute, tensor_of
from onnxcompress.passes.normalizing.constants import allows_constants, graphs, replace_by_constants
from onnxcompress.passes.normalizing.evaluation import evaluate, output_bytes
from onnxcompress.report import Finding

_FREE_BYTES = 1 << 20
_GROWTH = 4
# One protobuf message holds 2 GiB at most, and the node to run travels in one.
_MOST_INPUT_BYTES = 1 << 30

_RANDOM = {"Bernoulli", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniformLike"}
_QUANTIZATION = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
# Einsum's intermediate results have no bound that its inputs and its output would give.
_UNBOUNDED = {"Einsum"}
_SMALL_TABLE = 1024  # elements; flags and indices in 8 bits are below it, stored weights above
_NEVER = _RANDOM | _QUANTIZATION | _UNBOUNDED

_PLAIN = {
    ir.DataType.BOOL,
    ir.DataType.FLOAT16,
    ir.DataType.FLOAT,
    ir.DataType.DOUBLE,
    ir.DataType.INT8,
    ir.DataType.INT16,
    ir.DataType.INT32,
    ir.DataType.INT64,
    ir.DataType.UINT8,
    ir.DataType.UINT16,
    ir.DataType.UINT32,
    ir.DataType.UINT64,
}


class Folder:
    """The rule and its memory: what it may still spend, and which nodes it has given up.

    Args:
        model: The model as it is before any folding; its constants set the budget.
    """

    def __init__(self, model: ir.Model) -> None:
        held = (tensor_of(v) for graph in graphs(model) for v in graph.initializers.values())
        self._budget = max(
            _FREE_BYTES, _GROWTH * sum(t.nbytes for t in held if t is not None and not t.dtype.is_string())
        )
        self._given_up: set[ir.Node] = set()
        self.left_alone: list[Finding] = []

    def __call__(self, model: ir.Model) -> int:
        """Fold what can be folded; returns how many nodes were."""
        if not allows_constants(model):
            return 0
        return sum(self._fold_graph(graph, model) for graph in graphs(model))

    def _fold_graph(self, graph: ir.Graph, model: ir.Model) -> int:
        graph.sort()
        return sum(self._fold(node, model) for node in list(graph))

    def _fold(self, node: ir.Node, model: ir.Model) -> int:
        if node in self._given_up or not _may_fold(node):
            return 0
        shape = _known_shape(node, model)
        tensors = [shape] if shape is not None else self._compute(node, model)
        if tensors is None:
            return 0
        self._budget -= sum(t.nbytes for t in tensors)
        replace_by_constants(node, tensors)
        return 1

    def _compute(self, node: ir.Node, model: ir.Model) -> list[ir.TensorProtocol] | None:
        inputs = [None if v is None else _as_demanded(node, tensor_of(v)) for v in node.inputs]
        given = [t for t in inputs if t is not None]
        if not given or len(given) != sum(v is not None for v in node.inputs):
            return None
        self._given_up.add(node)  # its inputs never change again: one attempt tells all
        if any(t.dtype not in _PLAIN for t in given) or _traps(node, inputs):
            return None
        return self._run(node, inputs, sum(t.nbytes for t in given), model)

    def _run(
        self, node: ir.Node, inputs: list[ir.TensorProtocol | None], size: int, model: ir.Model
    ) -> list[ir.TensorProtocol] | None:
        if size > _MOST_INPUT_BYTES:
            return self._too_large(node, size)
        expected = output_bytes(node, inputs, model)
        if expected is None:
            return None
        if expected > min(max(_FREE_BYTES, _GROWTH * size), self._budget):
            return self._too_large(node, expected)
        return evaluate(node, inputs, model, _PLAIN)

    def _too_large(self, node: ir.Node, size: int) -> None:
        message = f"left unfolded: its constant result or input of {size} bytes is too large to store"
        place = node.name or node.outputs[0].name or node.op_type
        self.left_alone.append(Finding("NORMALIZE-FOLD-SIZE", message, node=place, numbers={"bytes": size}))


def _may_fold(node: ir.Node) -> bool:
    if node.domain != "" or node.op_type in _NEVER or node.op_type == "Constant":
        return False
    if _is_stored_weight(node):
        return False
    if any(a.is_ref() or a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
        return False
    return not any(v.is_graph_output() for v in node.outputs)


def _is_stored_weight(node: ir.Node) -> bool:
    """True for a Cast that widens a large constant of 8-bit integers."""
    tensor = tensor_of(node.inputs[0]) if node.op_type == "Cast" else None
    return tensor is not None and tensor.dtype in (ir.DataType.INT8, ir.DataType.UINT8) and tensor.size > _SMALL_TABLE


def _known_shape(node: ir.Node, model: ir.Model) -> ir.TensorProtocol | None:
    """What Shape yields for a model input whose sizes are all fixed: ONNX Runtime refuses any other feed."""
    value = node.inputs[0] if node.op_type == "Shape" and node.inputs else None
    if value is None or not value.is_graph_input() or value.graph is not model.graph or value.shape is None:
        return None
    every = [d if isinstance(d, int) and d >= 0 else None for d in value.shape]
    sizes = every[attribute(node, "start") : attribute(node, "end")]
    return None if None in sizes else ir.tensor(np.asarray(sizes, dtype=np.int64))


def _as_demanded(node: ir.Node, tensor: ir.TensorProtocol | None) -> ir.TensorProtocol | None:
    """Range asks for scalars; exporters give it vectors of one element, which ONNX Runtime takes as well."""
    if tensor is None or node.op_type != "Range" or tensor.size != 1:
        return tensor
    return ir.tensor(tensor.numpy().reshape(()))


def _traps(node: ir.Node, inputs: list[ir.TensorProtocol | None]) -> bool:
    """True for an integer division that stops the process: by zero, or of the lowest number by -1."""
    divides = node.op_type in ("Div", "Mod") and len(inputs) == 2
    if not divides or inputs[1] is None or inputs[1].dtype.is_floating_point():
        return False
    divisor = inputs[1].numpy()
    return bool(np.any(divisor == 0)) or (divisor.dtype.kind == "i" and bool(np.any(divisor == -1)))
