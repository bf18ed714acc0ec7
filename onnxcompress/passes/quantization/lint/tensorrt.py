"""What TensorRT's ONNX parser refuses.

Sources: ``QuantDequantLinearHelper`` of onnx-tensorrt (onnxOpImporters.cpp), its operator table (docs/operators.md),
and NVIDIA's pages "Working with Quantized Types" and "Explicit Quantization".
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.quantization.integer_ops import INTEGER_OPS
from onnxcompress.passes.quantization.lint.rule import Place, Rule

_PARSER = "onnx-tensorrt onnxOpImporters.cpp, QuantDequantLinearHelper"
_TABLE = "onnx-tensorrt docs/operators.md"
_TYPES_PAGE = "NVIDIA TensorRT documentation, Working with Quantized Types"
_EXPLICIT = "NVIDIA TensorRT documentation, Explicit Quantization"

_FIRST_OPSET = {ir.DataType.INT8: 10, ir.DataType.FLOAT8E4M3FN: 19, ir.DataType.INT4: 21, ir.DataType.FLOAT4E2M1: 23}
_FOUR_BITS = (ir.DataType.INT4, ir.DataType.FLOAT4E2M1)
_SCALES = ("FLOAT", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN")  # the last for the blocks of FP4
_PER_AXIS_OPSET = 13


def _type(place: Place) -> Iterator[str]:
    kind = place.kind
    if kind is None and place.node.op_type == "QuantizeLinear":
        yield "it has no zero point, so it quantizes to UINT8"
    elif kind is not None and kind not in _FIRST_OPSET and kind != ir.DataType.INT32:
        yield f"it has type {kind.name}; INT8, FLOAT8E4M3FN, INT4 and FLOAT4E2M1 are parsed"


def _int32(place: Place) -> Iterator[str]:
    if place.kind == ir.DataType.INT32:
        yield "it dequantizes INT32, as for a bias; biases stay float"


def _output_dtype(place: Place) -> Iterator[str]:
    said = attribute(place.node, "output_dtype", 0)
    if place.node.op_type != "QuantizeLinear" or not said or place.input(2) is None or place.kind is None:
        return
    if ir.DataType(said) != place.kind:
        yield f"output_dtype is {ir.DataType(said).name} and its zero point {place.kind.name}"


def _opset(place: Place) -> Iterator[str]:
    kind = place.kind
    if kind is not None and place.opset < _FIRST_OPSET.get(kind, 0):
        yield f"{kind.name} needs operator set {_FIRST_OPSET[kind]}, the model has {place.opset}"
    if place.scale is not None and place.scale.size > 1 and place.opset < _PER_AXIS_OPSET:
        yield f"one scale a channel needs operator set {_PER_AXIS_OPSET}, the model has {place.opset}"


def _zero(place: Place) -> Iterator[str]:
    if place.input(2) is None:
        return
    if place.zero is None:
        yield "its zero point is computed while the model runs"
    elif np.any(place.zero.astype(np.float32) != 0):
        yield "its zero point is not 0; quantization must be symmetric"


def _sizes(place: Place) -> Iterator[str]:
    if place.zero is not None and place.scale is not None and place.zero.size != place.scale.size:
        yield f"it has {place.scale.size} scales and {place.zero.size} zero points"


def _scale(place: Place) -> Iterator[str]:
    if place.scale is None:
        yield "its scale is computed while the model runs"
    elif not place.scale.size:
        yield "it has no scale"
    elif not np.all(place.scale.astype(np.float64) > 0):
        yield "a scale is not above 0"


def _scale_type(place: Place) -> Iterator[str]:
    value = place.input(1)
    kind = value.dtype if value is not None else None
    if kind is not None and kind.name not in _SCALES:
        yield f"its scale has type {kind.name}; FLOAT, FLOAT16 and BFLOAT16 are parsed"


def _axis(place: Place) -> Iterator[str]:
    axis = attribute(place.node, "axis", None)
    if axis is not None and place.shape is not None and not -len(place.shape) <= axis <= len(place.shape):
        yield f"axis {axis} lies outside of the {len(place.shape)} dims of its input"


def _per_axis(place: Place) -> Iterator[str]:
    scale = place.scale
    if scale is None or scale.size <= 1 or scale.ndim > 1:
        return
    if place.weight is None and not _quantizes_weight(place):
        yield "it has one scale a channel on a tensor that is not constant; only weights may"
    elif place.shape is not None:
        axis = attribute(place.node, "axis", 1)
        inside = -len(place.shape) <= axis < len(place.shape)
        if not inside or place.shape[axis] not in (None, scale.size):
            yield f"it has {scale.size} scales along axis {axis} of a weight of shape {list(place.shape)}"


def _quantizes_weight(place: Place) -> bool:
    """True for the DequantizeLinear behind the QuantizeLinear of a float weight."""
    source = place.input(0)
    producer = source.producer() if source is not None else None
    return (
        producer is not None
        and producer.op_type == "QuantizeLinear"
        and Place(place.model, producer).weight is not None
    )


def _block(place: Place) -> Iterator[str]:
    scale, shape = place.scale, place.shape
    if scale is None or scale.ndim < 2 or scale.size <= 1:
        return
    if place.weight is None and not _quantizes_weight(place):
        yield "it has one scale a block on a tensor that is not constant; only weights may"
    if shape is None or None in shape:
        return
    sizes = tuple(d for d in shape if d is not None)
    if scale.ndim != len(sizes):
        yield f"its scales have {scale.ndim} dims and its input {len(sizes)}"
    elif sum(a != b for a, b in zip(sizes, scale.shape, strict=True)) != 1:
        yield f"scales of shape {list(scale.shape)} divide more than one axis of {list(sizes)} into blocks, or none"
    elif any(b == 0 or a % b for a, b in zip(sizes, scale.shape, strict=True)):
        yield f"the blocks of scales {list(scale.shape)} do not divide {list(sizes)} evenly"


def _four_bits(place: Place) -> Iterator[str]:
    if place.kind in _FOUR_BITS and place.shape and place.shape[-1] is not None and place.shape[-1] % 2:
        yield f"4-bit numbers are packed in pairs, and the last dim of {list(place.shape)} is odd"


def _four_bit_activations(place: Place) -> Iterator[str]:
    if place.kind == ir.DataType.INT4 and place.weight is None and not _quantizes_weight(place):
        yield "INT4 is for weights only, and its input is not constant"


def _unknown_op(place: Place) -> Iterator[str]:
    yield "there is no such operator in TensorRT; int8 goes in as Q/DQ pairs"


def _foreign_pair(place: Place) -> Iterator[str]:
    if place.node.domain == "com.microsoft":
        yield "it is ONNX Runtime's own; TensorRT parses the standard's Q/DQ nodes"


RULES: tuple[Rule, ...] = (
    Rule("LINT-TYPE", _PARSER, _type),
    Rule("LINT-INT32", _PARSER, _int32),
    Rule("LINT-OUTPUT-TYPE", _PARSER, _output_dtype),
    Rule("LINT-OPSET", _TYPES_PAGE, _opset),
    Rule("LINT-ZERO-POINT", _PARSER, _zero),
    Rule("LINT-SIZES", _PARSER, _sizes),
    Rule("LINT-SCALE", _PARSER, _scale),
    Rule("LINT-SCALE-TYPE", _PARSER, _scale_type),
    Rule("LINT-AXIS", _PARSER, _axis),
    Rule("LINT-PER-AXIS", _EXPLICIT, _per_axis),
    Rule("LINT-BLOCK", _PARSER, _block),
    Rule("LINT-ODD", _PARSER, _four_bits),
    Rule("LINT-INT4-ACTIVATION", _TYPES_PAGE, _four_bit_activations),
    Rule("LINT-DOMAIN", _TABLE, _foreign_pair),
    Rule("LINT-OPERATOR", _TABLE, _unknown_op, ops=INTEGER_OPS),
)
