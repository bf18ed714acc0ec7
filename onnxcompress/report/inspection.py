"""What a model is made of: costs, operators, inputs and outputs, quantization, the heaviest nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import onnx_ir as ir

from onnxcompress.cost import costs, node_label
from onnxcompress.graph import iter_nodes, label, tensor_of
from onnxcompress.report.records import Finding
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes import infer

SCHEMA = "onnxcompress.inspection/1"
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_INTEGER_OPS = ("QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger", "QGemm", "MatMulNBits")


@dataclass(frozen=True)
class Tensor:
    """An input or output: name, element type and sizes (a number, a symbol, or None where unknown)."""

    name: str
    dtype: str
    shape: list[int | str | None] | None


@dataclass(frozen=True)
class Layer:
    """One node with its share of the work.

    Attributes:
        name: Node name, or its first output's where it has none.
        op: Operator.
        macs: Multiply-accumulates for one sample; 0 where unknown or none.
        params: Elements of its constant inputs.
    """

    name: str
    op: str
    macs: int
    params: int


@dataclass(frozen=True)
class Inspection:
    """Everything that ``onnxcompress inspect`` shows.

    Attributes:
        costs: params, macs, bytes, nodes.
        opsets: Version by operator domain ("" is ONNX's own).
        ir_version: Version of the file format.
        producer: Name and version of the tool that wrote the model.
        inputs: Graph inputs that must be fed.
        outputs: Graph outputs.
        operators: Count by operator, most frequent first.
        quantization: ``none``, or what there is: Q/DQ nodes, integer operators, share of MACs behind Q/DQ.
        layers: Nodes with weights or MACs, in graph order.
        names: All node names, in graph order.
        metadata: The model's metadata_props.
        notes: What loading noticed, and whether MACs are missing.
    """

    costs: dict[str, int]
    opsets: dict[str, int]
    ir_version: int
    producer: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    operators: dict[str, int]
    quantization: dict[str, Any]
    layers: list[Layer]
    names: list[str]
    metadata: dict[str, str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, with the schema's name."""
        return {"schema": SCHEMA, **asdict(self)}

    def heaviest(self, key: str, count: int = 5) -> list[Layer]:
        """The `count` layers with the most ``macs`` or ``params``; those with none are left out."""
        ranked = sorted(self.layers, key=lambda layer: -getattr(layer, key))
        return [layer for layer in ranked[:count] if getattr(layer, key)]


def inspect_model(
    model: ir.Model,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    runtime: RuntimeOptions | None = None,
) -> Inspection:
    """Look into `model`, which is not edited.

    Args:
        model: Any model.
        shapes: Sizes of dynamic inputs, by name.
        runtime: Custom operators.
    """
    table = infer(model, shapes=shapes, runtime=runtime)
    found = costs(model, table)
    nodes = [node for node in iter_nodes(model) if node.op_type != "Constant"]
    layers = [_layer(node, found.macs_by_node) for node in nodes]
    return Inspection(
        costs=found.summary(),
        opsets=dict(sorted(model.opset_imports.items())),
        ir_version=model.ir_version,
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        inputs=[_tensor(v) for v in model.graph.inputs if not v.is_initializer()],
        outputs=[_tensor(v) for v in model.graph.outputs],
        operators=dict(Counter(_operator(node) for node in nodes).most_common()),
        quantization=_quantization(nodes, found.macs_by_node),
        layers=[layer for layer in layers if layer.macs or layer.params],
        names=[label(node) for node in nodes],
        metadata=dict(model.metadata_props),
        notes=[*_notes(model, found.unknown), *filter(None, [table.size_note()])],
    )


def _tensor(value: ir.Value) -> Tensor:
    shape = None if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
    return Tensor(value.name or "", value.dtype.name.lower() if value.dtype else "unknown", shape)


def _operator(node: ir.Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _layer(node: ir.Node, macs: Mapping[str, int]) -> Layer:
    return Layer(label(node), _operator(node), macs.get(node_label(node), 0), sum(_weights(v) for v in node.inputs))


def _weights(value: ir.Value | None, depth: int = 2) -> int:
    """Elements of a constant input, looked up through a DequantizeLinear of a constant."""
    tensor = tensor_of(value)
    if tensor is not None:
        return prod(tensor.shape.numpy()) if tensor.dtype.is_floating_point() or depth < 2 else 0
    producer = value.producer() if value is not None else None
    if producer is not None and producer.op_type == "DequantizeLinear" and depth:
        return _weights(producer.inputs[0], depth - 1)
    return 0


def _quantization(nodes: list[ir.Node], macs: Mapping[str, int]) -> dict[str, Any]:
    counts = Counter(node.op_type for node in nodes)
    linear = [node for node in nodes if macs.get(node_label(node))]
    whole = sum(macs[node_label(node)] for node in linear)
    inside = sum(macs[node_label(node)] for node in linear if _is_quantized(node))
    present = {op: counts[op] for op in (*_QUANTIZERS, *_INTEGER_OPS) if counts[op]}
    if not present:
        return {"state": "none"}
    kind = "q/dq" if all(op in counts for op in _QUANTIZERS) else "weights only"
    integer = any(counts[op] for op in _INTEGER_OPS)
    return {
        "state": "integer operators" if integer else kind,
        **present,
        "macs_share": inside / whole if whole else 0.0,
    }


def _is_quantized(node: ir.Node) -> bool:
    """True where the node runs on integers: an integer operator, or data and weight both come from Q/DQ."""
    if node.op_type in _INTEGER_OPS:
        return True
    sources = [value.producer() if value is not None else None for value in node.inputs[:2]]
    return len(sources) == 2 and all(s is not None and s.op_type == "DequantizeLinear" for s in sources)


def _notes(model: ir.Model, unknown: tuple[str, ...]) -> list[str]:
    loaded: list[Finding] = list(model.meta.get("onnxcompress.load_notes", []))
    notes = [finding.message for finding in loaded]
    if unknown:
        notes.append(f"MACs of {len(unknown)} linear nodes are not known, e.g. {unknown[0]}; --shape may help")
    return notes
