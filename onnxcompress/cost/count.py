"""What a model costs: parameters, multiply-accumulates, bytes, nodes.

MACs are counted for one sample, for the linear operators (convolutions, matrix products, recurrences, attention) and
their quantized forms; elementwise work is not counted. An If counts its costlier branch, a Loop body one trip, a Scan
body its length, a function body every call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from onnxcompress.cost.rules import RULES, Rule, Sizes
from onnxcompress.errors import ModelError
from onnxcompress.graph import attribute, clone, iter_nodes, scopes, tensor_of
from onnxcompress.model_io import to_bytes
from onnxcompress.runtime.payload import bytes_of, sizes_of, stub_of, weight_bytes
from onnxcompress.shapes import ShapeTable, infer

# Up to here a model is serialized to be measured; above, only its graph is, and the weights' sizes are added.
_SERIALIZED_BYTES = 64 << 20


@dataclass(frozen=True)
class Costs:
    """Costs of one model.

    Attributes:
        params: Elements of constant tensors that hold weights: of float and small-integer types, at least one axis;
            scales and zero points of quantization do not count.
        macs: Multiply-accumulates for one sample.
        bytes: Size of graph and weights as a file, external data included.
        nodes: Nodes of all scopes, Constant nodes apart.
        macs_by_node: MACs of every linear node whose sizes are known, by node name (or first output's name).
        unknown: Linear nodes whose sizes are not known; they are missing from `macs`.
    """

    params: int
    macs: int
    bytes: int
    nodes: int
    macs_by_node: Mapping[str, int] = field(default_factory=dict, repr=False)
    unknown: tuple[str, ...] = ()

    def summary(self) -> dict[str, int]:
        """The four figures by name, as reports keep them."""
        return {"params": self.params, "macs": self.macs, "bytes": self.bytes, "nodes": self.nodes}


def costs(model: ir.Model, shapes: ShapeTable | None = None) -> Costs:
    """Count what `model` costs.

    Args:
        model: Any model; it is not edited.
        shapes: What `infer` found; computed where absent. Where no input can be made for the model, MACs are those of
            the nodes whose sizes follow from the graph alone.
    """
    flat = _inlined(model)
    table = shapes if shapes is not None and flat is model else _infer(flat, shapes)
    counter = _Counter(table)
    macs = counter.scope(flat.graph)
    nodes = sum(node.op_type != "Constant" for node in iter_nodes(model))
    unknown = tuple(counter.unknown)
    return Costs(parameters(model), macs, size_bytes(model), nodes, counter.by_node, unknown)


def node_label(node: ir.Node) -> str:
    """The node's name, or its first output's where it has none."""
    return node.name or (node.outputs[0].name if node.outputs else "") or ""


def parameters(model: ir.Model) -> int:
    """Number of weights; a tensor that several nodes share counts once."""
    return sum(tensor.size for tensor in weights(model).values())


def weights(model: ir.Model) -> dict[ir.Value, ir.TensorProtocol]:
    """The constants that count as parameters, with their tensors; each tensor once."""
    helpers = {id(value) for node in iter_nodes(model) for value in _quantization_inputs(node)}
    found: dict[int, tuple[ir.Value, ir.TensorProtocol]] = {}
    for value in _constants(model):
        tensor = value.const_value if value.is_initializer() else tensor_of(value)
        if tensor is not None and len(tensor.shape) and id(value) not in helpers and _holds_weights(tensor.dtype):
            found.setdefault(id(tensor), (value, tensor))
    return dict(found.values())


def size_bytes(model: ir.Model) -> int:
    """Bytes of the model as a file, with its external data."""
    held = weight_bytes(model)
    if held <= _SERIALIZED_BYTES:
        return len(to_bytes(model))
    return len(ir.to_proto(_hollow(model)).SerializeToString()) + held


def _inlined(model: ir.Model) -> ir.Model:
    """The model itself, or a copy in which every call of a function is replaced by its body."""
    if not model.functions:
        return model
    copy = clone(model)
    InlinePass()(copy)
    return copy


def _infer(model: ir.Model, known: ShapeTable | None) -> ShapeTable:
    try:
        return infer(model, feeds=known.feeds if known is not None and known.feeds else None)
    except ModelError:
        return ShapeTable()


def _hollow(model: ir.Model) -> ir.Model:
    """A copy whose weights are named but absent."""
    copy = clone(model)
    for value in _constants(copy):
        tensor = value.const_value if value.is_initializer() else None
        if tensor is not None and bytes_of(tensor):
            value.const_value = stub_of(tensor)
    return copy


def _constants(model: ir.Model) -> Iterator[ir.Value]:
    for scope in scopes(model):
        yield from scope.initializers.values() if isinstance(scope, ir.Graph) else ()
        for node in scope:
            if node.op_type == "Constant":
                yield node.outputs[0]


def _quantization_inputs(node: ir.Node) -> list[ir.Value]:
    """Scales and zero points among a node's inputs."""
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return [value for value in node.inputs[1:3] if value is not None]
    if node.op_type in ("QLinearConv", "QLinearMatMul", "QGemm"):
        weights = {0, 3, 8} if node.op_type == "QLinearConv" else {0, 3, 6}
        return [v for i, v in enumerate(node.inputs) if v is not None and i not in weights]
    return []


def _holds_weights(kind: ir.DataType) -> bool:
    """True for floats and for integers of at most 32 bits; int64 holds shapes and indices."""
    return kind.is_floating_point() or (kind.is_integer() and kind.bitwidth <= 32)


class _Counter:
    """Walks the scopes of one model and adds up."""

    def __init__(self, table: ShapeTable) -> None:
        self._table = table
        self.by_node: dict[str, int] = {}
        self.unknown: list[str] = []

    def scope(self, scope: ir.Graph) -> int:
        """MACs of one graph."""
        return sum(self._node(node) for node in scope)

    def _node(self, node: ir.Node) -> int:
        bodies = [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
        if bodies:
            inner = [self.scope(body) for body in bodies]
            return max(inner) if node.op_type == "If" else self._trips(node) * sum(inner)
        rule = RULES.get(node.op_type)
        return 0 if rule is None else self._linear(node, rule)

    def _linear(self, node: ir.Node, rule: Rule) -> int:
        try:
            total = rule(node, [self._sizes(v) for v in node.inputs], [self._sizes(v) for v in node.outputs])
        except (TypeError, IndexError):  # a size that the rule needs is None, or an optional input is absent
            total = None
        label = node_label(node)
        if total is None:
            self.unknown.append(label)
            return 0
        share = max(1, total // self._batch(node)) if total else 0
        self.by_node[label] = self.by_node.get(label, 0) + share
        return share

    def _batch(self, node: ir.Node) -> int:
        """Samples that the counted work is for: none where the result has only fixed axes."""
        dims = self._table.dims(node.outputs[0].name)
        return 1 if dims is not None and all(isinstance(dim, int) for dim in dims) else self._table.batch

    def _sizes(self, value: ir.Value | None) -> Sizes:
        if value is None:
            return None
        tensor = tensor_of(value)
        if tensor is not None and bytes_of(tensor):
            return sizes_of(tensor)
        known = self._table.probe(value.name)
        if known is None and value.shape is not None and value.shape.is_static():
            return tuple(int(size) for size in value.shape if isinstance(size, int))
        return known

    def _trips(self, node: ir.Node) -> int:
        if node.op_type != "Scan":
            return 1
        scanned = int(attribute(node, "num_scan_inputs", 1))
        axes = attribute(node, "scan_input_axes", [0] * scanned)
        sizes = self._sizes(node.inputs[-scanned])
        return sizes[axes[0]] if sizes else 1
