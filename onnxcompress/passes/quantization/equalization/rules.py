"""What a positive factor may pass through, op by op; what is not listed keeps the scale 1 on all that it reads.

Positively homogeneous ops (f(x / s) = f(x) / s) pass it on. Sums need one scale for all terms, and a constant term is
divided by it. A gate multiplies by something whose scale is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, attribute, opset, tensor_of
from onnxcompress.passes.quantization.equalization import rules_linear as linear
from onnxcompress.passes.quantization.equalization.marks import FLOATS, Cap, Marks
from onnxcompress.passes.quantization.equalization.movement import MOVEMENT, concat, moved

Rule = Callable[[Marks, ir.Node], None]

_NO_CAP = 1e30


def passed(found: Marks, node: ir.Node) -> None:
    """Element by element, positively homogeneous."""
    found.put(node, found.of(node, 0))
    for index in range(1, len(node.inputs)):
        if node.op_type == "PRelu" and found.of(node, index).any():
            found.freeze(found.of(node, index))


def cast(found: Marks, node: ir.Node) -> None:
    """A cast between float types."""
    source = node.inputs[0]
    if source is not None and found.table.dtype(source.name) in FLOATS:
        passed(found, node)
        return
    found.freeze_inputs(node)


def clip(found: Marks, node: ir.Node) -> None:
    """A ReLU written as a Clip; a cap is another one on another scale, so it freezes where it is not to be observed."""
    if opset(found.model) < 11:
        low, high = attribute(node, "min", -np.inf), attribute(node, "max", np.inf)
    else:
        low, high = (_bound(node, index, default) for index, default in ((1, -np.inf), (2, np.inf)))
    capped = high is not None and high < _NO_CAP
    if low is None or high is None or (low and low > -_NO_CAP) or (capped and (found.caps is None or low or high <= 0)):
        found.freeze_inputs(node)
        return
    ids = found.of(node, 0)
    found.put(node, ids)
    if capped and found.caps is not None:
        found.caps.append(Cap(node.outputs[0], ids, high))


def _bound(node: ir.Node, index: int, default: float) -> float | None:
    if index >= len(node.inputs) or node.inputs[index] is None:
        return default
    array = array_of(node.inputs[index])
    return None if array is None or array.size != 1 else float(array.item())


def added(found: Marks, node: ir.Node) -> None:
    """Sums, maxima and choices: all terms share their scale, and constants take it."""
    first = 1 if node.op_type == "Where" else 0
    given = [i for i in range(first, len(node.inputs)) if node.inputs[i] is not None]
    terms = [i for i in given if tensor_of(node.inputs[i]) is None]
    constants = [i for i in given if i not in terms]
    sizes = [found.shape(node.inputs[i]) for i in given]
    if any(size is None for size in sizes) or not terms:
        found.freeze_inputs(node)
        return
    rank = max(len(size) for size in sizes if size is not None)
    ids = found.unify(*(_raised(found.of(node, i), rank) for i in terms))
    for index in constants:
        _constant(found, node, index, ids)
    found.put(node, ids)


def _constant(found: Marks, node: ir.Node, index: int, ids: np.ndarray) -> None:
    """A constant term: it may grow to one number a channel, but not beyond."""
    array = array_of(node.inputs[index])
    if array is None or (array.dtype.kind == "f" and not array.any()):
        return
    wide = np.broadcast_shapes(array.shape, ids.shape)
    if int(np.prod(wide)) > max(array.size, ids.size):
        found.freeze(ids)
        return
    found.slot(node, index, ids, -1)


def _raised(ids: np.ndarray, rank: int) -> np.ndarray:
    return ids.reshape((1,) * (rank - ids.ndim) + ids.shape)


def multiplied(found: Marks, node: ir.Node) -> None:
    """Mul and Div: by a number a channel, by a number, or by a gate of scale 1."""
    constants = [i for i in (0, 1) if tensor_of(node.inputs[i]) is not None]
    if len(constants) == 1:
        data = 1 - constants[0]
        if linear.scaled(found, node, data):
            return
        if data == 1 and node.op_type == "Div":
            found.freeze_inputs(node)
            return
        _gated(found, node, data, constants[0])
        return
    left, right = (found.of(node, i) for i in (0, 1))
    sizes = [np.prod(found.shape(v) or 1) for v in node.inputs]
    second = node.op_type == "Mul" and (not found.free(left) or sizes[0] < sizes[1]) and found.free(right)
    _gated(found, node, *((1, 0) if second else (0, 1)))


def _gated(found: Marks, node: ir.Node, data: int, gate: int) -> None:
    found.freeze(found.of(node, gate))
    shape = found.shape(node.outputs[0])
    ids = found.of(node, data)
    if shape is None:
        found.freeze(ids)
        return
    found.put(node, _raised(ids, len(shape)))


def pooled(found: Marks, node: ir.Node) -> None:
    """Windows over the spatial axes; all in one share a scale."""
    ids = found.of(node, 0)
    if sum(bool(v.name) for v in node.outputs) > 1:
        found.freeze(ids)
        return
    found.put(node, found.tie(ids, range(2, ids.ndim)))


def resized(found: Marks, node: ir.Node) -> None:
    """Resize: one scale along a resized axis."""
    before, after = found.shape(node.inputs[0]), found.shape(node.outputs[0])
    ids = found.of(node, 0)
    fills = attribute(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize"
    if before is None or after is None or fills:
        found.freeze(ids)
        return
    found.put(node, found.tie(ids, (a for a, size in enumerate(before) if size != after[a])))


def padded(found: Marks, node: ir.Node) -> None:
    """Pad by zeros, or by what is there, with one scale along each padded axis."""
    ids, pads, axes = found.of(node, 0), attribute(node, "pads"), range(found.of(node, 0).ndim)
    if pads is None and len(node.inputs) > 1:
        pads = array_of(node.inputs[1])
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        axes = array_of(node.inputs[3])
    if pads is None or axes is None or (attribute(node, "mode", "constant") == "constant" and not _zero_fill(node)):
        found.freeze(ids)
        return
    sides = np.asarray(pads).reshape(2, -1)
    found.put(node, found.tie(ids, (int(axis) % ids.ndim for i, axis in enumerate(axes) if sides[:, i].any())))


def _zero_fill(node: ir.Node) -> bool:
    if attribute(node, "value", 0.0):
        return False
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return True
    array = array_of(node.inputs[2])
    return array is not None and not array.any()


def reduced(found: Marks, node: ir.Node) -> None:
    """Means, sums and extremes, with one scale along their axes."""
    ids, axes = found.of(node, 0), attribute(node, "axes")
    if not ids.ndim:
        return
    if axes is None and len(node.inputs) > 1 and node.inputs[1] is not None:
        axes = array_of(node.inputs[1])
        axes = () if axes is None else axes.ravel()
        if not len(axes):
            found.freeze(ids)
            return
    along = range(ids.ndim) if axes is None else [int(a) % ids.ndim for a in axes]
    ids = found.tie(ids, along)
    kept = ids if attribute(node, "keepdims", 1) else ids.squeeze(tuple(along))
    found.put(node, kept)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Identity", "Dropout", "Neg", "Abs"), passed),
    **dict.fromkeys(("Add", "Sub", "Sum", "Mean", "Max", "Min", "Where"), added),
    **dict.fromkeys(("Mul", "Div"), multiplied),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), pooled),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), reduced),
    **dict.fromkeys(("Conv", "ConvTranspose"), linear.conv),
    **dict.fromkeys(
        (
            "LayerNormalization",
            "RMSNormalization",
            "SimplifiedLayerNormalization",
            "InstanceNormalization",
            "GroupNormalization",
        ),
        linear.normalization,
    ),
    **dict.fromkeys(MOVEMENT, moved),
    **dict.fromkeys(("Resize", "Upsample"), resized),
    "BatchNormalization": linear.batch_norm,
    "Cast": cast,
    "Clip": clip,
    "Concat": concat,
    "Gemm": linear.gemm,
    "MatMul": linear.matmul,
    "Pad": padded,
}
