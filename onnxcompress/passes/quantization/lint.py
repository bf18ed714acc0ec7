"""What TensorRT's ONNX parser refuses in a Q/DQ model, found without a GPU.

The rules are those of onnx-tensorrt's QuantDequantLinearHelper and of NVIDIA's documentation on explicit quantization.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, attribute, iter_nodes, label, opset, tensor_of
from onnxcompress.report import Finding, Severity
from onnxcompress.targets import Target

_TYPES = (
    ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN, ir.DataType.INT4, ir.DataType.FLOAT4E2M1,
)  # fmt: skip
_FIRST_OPSET = {ir.DataType.INT8: 10, ir.DataType.FLOAT8E4M3FN: 19, ir.DataType.INT4: 21, ir.DataType.FLOAT4E2M1: 23}


def lint(model: ir.Model, target: Target) -> list[Finding]:
    """Every Q/DQ node that `target` would not parse, with the rule that it breaks; empty where all is well.

    Args:
        model: A model with Q/DQ nodes.
        target: A target with symmetric activations and inputs-only placement; for others nothing is checked.
    """
    if target.quantize_outputs or not target.activation_symmetric:
        return []
    return [
        Finding(code, f"{target.name} refuses this {node.op_type}: {message}", label(node), Severity.WARNING)
        for node in iter_nodes(model)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for code, message in _faults(node, opset(model))
    ]


def _faults(node: ir.Node, version: int) -> Iterator[tuple[str, str]]:
    kind = _grid_type(node)
    if kind is None:
        yield "LINT-TYPE", "it has no zero point, so it quantizes to UINT8"
    elif kind not in _TYPES:
        yield "LINT-TYPE", f"it has type {kind.name}; INT8, FLOAT8E4M3FN, INT4 and FLOAT4E2M1 are parsed"
    elif version < _FIRST_OPSET[kind]:
        yield "LINT-OPSET", f"{kind.name} needs operator set {_FIRST_OPSET[kind]}, the model has {version}"
    yield from _zero_faults(node)
    yield from _scale_faults(node)


def _grid_type(node: ir.Node) -> ir.DataType | None:
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    tensor = tensor_of(zero)
    if tensor is not None:
        return tensor.dtype
    if node.op_type == "DequantizeLinear" and node.inputs[0] is not None:
        source = tensor_of(node.inputs[0])
        return source.dtype if source is not None else node.inputs[0].dtype
    return None


def _zero_faults(node: ir.Node) -> Iterator[tuple[str, str]]:
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if zero is None:
        return
    numbers = array_of(zero)
    if numbers is None:
        yield "LINT-ZERO-POINT", "its zero point is computed while the model runs"
    elif np.any(numbers.astype(np.float32) != 0):
        yield "LINT-ZERO-POINT", "its zero point is not 0; quantization must be symmetric"
    scale = array_of(node.inputs[1])
    if numbers is not None and scale is not None and numbers.size != scale.size:
        yield "LINT-SIZES", f"it has {scale.size} scales and {numbers.size} zero points"


def _scale_faults(node: ir.Node) -> Iterator[tuple[str, str]]:
    scale = array_of(node.inputs[1])
    if scale is None:
        yield "LINT-SCALE", "its scale is computed while the model runs"
        return
    if not np.all(scale.astype(np.float64) > 0):
        yield "LINT-SCALE", "a scale is not above 0"
    data = node.inputs[0]
    weight = tensor_of(data) if data is not None else None
    if scale.size > 1 and weight is None:
        yield "LINT-PER-AXIS", "it has one scale a channel on a tensor that is not constant; only weights may"
    if scale.size > 1 and weight is not None and not attribute(node, "block_size", 0):
        axis, shape = attribute(node, "axis", 1), weight.shape.numpy()
        if not -len(shape) <= axis < len(shape) or shape[axis] != scale.size:
            yield "LINT-PER-AXIS", f"it has {scale.size} scales along axis {axis} of a weight of shape {list(shape)}"
