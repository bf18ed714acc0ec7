"""Axis equations of ops that work element by element, over windows or along an axis."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.rows import met, shifted, through
from onnxcompress.passes.pruning.trace import Labels, Trace

UNARY = (
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitwiseNot",
    "Bernoulli",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Not",
    "RandomNormalLike",
    "RandomUniformLike",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
)
BROADCAST = (
    "Add",
    "And",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Sum",
    "Where",
    "Xor",
)
POOLS = (
    "AveragePool",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "LpPool",
    "MaxPool",
)
REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
)
ALONG = (
    "ArgMax",
    "ArgMin",
    "CumSum",
    "Hardmax",
    "LogSoftmax",
    "Softmax",
    "TopK",
)


def unary(found: Trace, node: ir.Node) -> None:
    """Every axis passes."""
    for index in range(len(node.outputs)):
        found.put(node, index, list(found.of(node, 0)))
        found.joints[node.outputs[index]] = found.joints_of(node, 0)
    if node.inputs[0] in found.uniform:
        found.uniform.update(node.outputs)


def broadcast(found: Trace, node: ir.Node) -> None:
    """Axes align at the right; operands of size one are not coupled."""
    given = [i for i in range(len(node.inputs)) if found.has(node, i)]
    shapes = [found.shape_of(node, i) for i in given]
    labels = [found.of(node, i) for i in given]
    found.put(node, 0, aligned(found, node, labels, shapes))
    found.joints[node.outputs[0]] = met(found, node, given, max(len(shape) for shape in shapes))


def aligned(found: Trace, node: ir.Node, labels: list[Labels], shapes: list[tuple[int, ...]]) -> Labels:
    """Unify by NumPy's broadcasting rule; returns the labels of the result."""
    rank = max(len(shape) for shape in shapes)
    result: Labels = []
    for back in range(rank, 0, -1):
        here = [(each[-back], shape[-back]) for each, shape in zip(labels, shapes, strict=True) if len(shape) >= back]
        lists = [ids for ids, size in here if size > 1]
        result.append(found.unify(node, *lists) if lists else None)
    return result


def pool(found: Trace, node: ir.Node) -> None:
    """Batch and channels pass, windows do not; indices name positions in the whole tensor."""
    labels = found.of(node, 0)
    found.freeze(labels[2:], node, "PRUNE-FROZEN-OP", "a window slides along this axis")
    result: Labels = [*labels[:2], *([None] * (len(labels) - 2))]
    if len(node.outputs) > 1:
        if not all(use.node.op_type == "MaxUnpool" for use in node.outputs[1].uses()):
            found.freeze(labels, node, "PRUNE-FROZEN-OP", "the indices of MaxPool are read")
        found.put(node, 1, list(result))
    found.put(node, 0, result)


def reduction(found: Trace, node: ir.Node) -> None:
    """Reduced axes vanish (and their statistics change), others pass."""
    labels = found.of(node, 0)
    axes = _axes(found, node, len(labels))
    if axes is None:
        found.freeze(labels, node, "PRUNE-FROZEN-DATA-DEPENDENT", "which axes are reduced depends on data")
        return
    if node.op_type == "ReduceProd":
        found.freeze([labels[a] for a in axes], node, "PRUNE-FROZEN-OP", "a product runs along this axis")
    found.statistic(node, labels, axes)
    keep = bool(attribute(node, "keepdims", 1))
    result = [None if a in axes else ids for a, ids in enumerate(labels) if keep or a not in axes]
    found.put(node, 0, result)
    places = range(len(labels)) if keep else [a for a in range(len(labels)) if a not in axes]
    if node.op_type == "ReduceProd":
        found.pin(found.joints_of(node, 0))
    through(found, node, {a: i for i, a in enumerate(places) if a not in axes})


def _axes(found: Trace, node: ir.Node, rank: int) -> list[int] | None:
    listed = attribute(node, "axes")
    if listed is None and found.has(node, 1):
        listed = found.concrete(node, 1)
        if listed is None:
            return None
    if listed is None or not len(listed):
        return [] if attribute(node, "noop_with_empty_axes", 0) else list(range(rank))
    return [int(axis) % rank for axis in listed]


def along(found: Trace, node: ir.Node) -> None:
    """One axis is worked along and freezes; others pass."""
    labels = found.of(node, 0)
    rank = len(labels)
    old = node.op_type in ("Softmax", "LogSoftmax", "Hardmax") and found.model.graph.opset_imports.get("", 13) < 13
    axis = attribute(node, "axis", 1 if old else (0 if node.op_type.startswith("Arg") else -1))
    if node.op_type == "CumSum":
        place = found.concrete(node, 1)
        axis = None if place is None else int(np.ravel(place)[0])
    touched = range(rank) if axis is None else (range(axis % rank, rank) if old else [axis % rank])
    found.freeze([labels[a] for a in touched], node, "PRUNE-FROZEN-OP", f"{node.op_type} works along this axis")
    result: Labels = [None if a in touched else ids for a, ids in enumerate(labels)]
    if node.op_type.startswith("Arg") and not attribute(node, "keepdims", 1):
        result = [ids for a, ids in enumerate(result) if a not in touched]
    for index in range(len(node.outputs)):
        found.put(node, index, list(result))
    dropped = node.op_type.startswith("Arg") and not attribute(node, "keepdims", 1)
    places = [a for a in range(rank) if not (dropped and a in touched)]
    through(found, node, {a: i for i, a in enumerate(places) if a not in touched})
    if any(axis in touched for joint in found.joints_of(node, 0) for axis in joint.axes):
        found.pin(found.joints_of(node, 0))


def resize(found: Trace, node: ir.Node) -> None:
    """Axes whose size stays pass; resized ones freeze."""
    labels, before = found.of(node, 0), found.shape_of(node, 0)
    after = found.shape(node.outputs[0])
    passed = [after is not None and a == b for a, b in zip(after or before, before, strict=True)]
    lists = [ids for ids, same in zip(labels, passed, strict=True) if not same]
    found.freeze(lists, node, "PRUNE-FROZEN-OP", "Resize changes the size of this axis")
    found.put(node, 0, [ids if same else None for ids, same in zip(labels, passed, strict=True)])


def expanded(found: Trace, node: ir.Node) -> None:
    """Expand: copies along a fixed axis are as many as their partners; other axes pass, aligned at the right."""
    data, before = found.of(node, 0), found.shape_of(node, 0)
    after, dims = found.shape(node.outputs[0]), found.dims(node.outputs[0])
    if after is None:
        found.freeze(data, node, "PRUNE-FROZEN-DATA-DEPENDENT", "the shape that Expand makes depends on data")
        return
    result: Labels = []
    for axis, size in enumerate(after):
        own = axis - (len(after) - len(before))
        fixed = dims is not None and isinstance(dims[axis], int)
        copied = own < 0 or before[own] == 1
        if copied:
            result.append(found.atoms.fresh(size) if fixed and size > 1 else None)
        else:
            result.append(data[own])
    found.put(node, 0, result)
    found.joints[node.outputs[0]] = shifted(found.joints_of(node, 0), len(after) - len(before))
    if node.inputs[0] in found.uniform or np.prod(before) == 1:
        found.uniform.add(node.outputs[0])


def filled(found: Trace, node: ir.Node) -> None:
    """ConstantOfShape: every fixed axis of the result may be cut, if its partners are."""
    shape, dims = found.shape(node.outputs[0]), found.dims(node.outputs[0])
    kinds = dims if dims is not None else [None] * len(shape or ())
    result: Labels = [
        found.atoms.fresh(n) if n > 1 and isinstance(d, int) else None for n, d in zip(shape or (), kinds, strict=True)
    ]
    found.put(node, 0, result)
    found.uniform.add(node.outputs[0])


def silent(found: Trace, node: ir.Node) -> None:
    """Shape: what it reads is put right afterwards; nothing is labelled."""
