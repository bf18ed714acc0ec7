"""Axis equations of integer arithmetic: scales and zero points go with the axis that they belong to."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.rows import through
from onnxcompress.passes.pruning.rules_linear import convolve, product
from onnxcompress.passes.pruning.trace import Trace


def quantize(found: Trace, node: ir.Node) -> None:
    """QuantizeLinear and DequantizeLinear: scales by axis, or by blocks along it."""
    labels = found.of(node, 0)
    if not labels:
        return
    axis, block = int(attribute(node, "axis", 1)) % len(labels), int(attribute(node, "block_size", 0))
    for index in (1, 2):
        if found.has(node, index) and np.prod(found.shape_of(node, index)) > 1:
            if block:
                _in_blocks(found, node, index, axis, block)
            else:
                found.unify(node, labels[axis], found.of(node, index)[0])
    found.put(node, 0, list(labels))
    through(found, node, {a: a for a in range(len(labels))})
    if any(found.has(node, i) and np.prod(found.shape_of(node, i)) > 1 for i in (1, 2)):
        found.pin(joint for joint in found.joints_of(node, 0) if block or axis == joint.free)


def _in_blocks(found: Trace, node: ir.Node, index: int, axis: int, block: int) -> None:
    """One scale serves a block of values: all of them go, or none."""
    data, scale = found.of(node, 0), found.of(node, index)
    for a, (ids, own) in enumerate(zip(data, scale, strict=True)):
        if a != axis:
            if found.shape_of(node, 0)[a] > 1:
                found.unify(node, ids, own)
        elif ids is None or len(ids) % block:
            found.freeze([ids, own], node, "PRUNE-FROZEN-OP", "the last block of values is shorter than the others")
        elif len(ids) == block:
            found.freeze([ids], node, "PRUNE-FROZEN-OP", "one scale serves all values")
        else:
            blocks = ids.reshape(-1, block)
            found.atoms.unify(blocks.ravel(), np.repeat(blocks[:, 0], block))
            found.unify(node, blocks[:, 0], own)


def dynamic(found: Trace, node: ir.Node) -> None:
    """DynamicQuantizeLinear: the range always includes zero, so that zeros that go do not move it."""
    found.put(node, 0, list(found.of(node, 0)))
    for index in (1, 2):
        found.put(node, index, [])


def linear_conv(found: Trace, node: ir.Node) -> None:
    """QLinearConv: x, w and bias stand at 0, 3 and 8, scales and zero points of w by output channel at 4 and 5."""
    convolve(found, node, 0, 3, 8)
    _vectors(found, node, (4, 5), found.of(node, 3)[0])


def integer_conv(found: Trace, node: ir.Node) -> None:
    """ConvInteger: zero points of w by output channel at 3."""
    convolve(found, node, 0, 1, None)
    _vectors(found, node, (3,), found.of(node, 1)[0])


def linear_matmul(found: Trace, node: ir.Node) -> None:
    """QLinearMatMul: a and b stand at 0 and 3; their scales and zero points by row or column."""
    product(found, node, 0, 3)
    _vectors(found, node, (1, 2), found.of(node, 0)[-2] if len(found.of(node, 0)) > 1 else None)
    _vectors(found, node, (4, 5), found.of(node, 3)[-1])


def integer_matmul(found: Trace, node: ir.Node) -> None:
    """MatMulInteger: zero points of a by row at 2, of b by column at 3."""
    product(found, node, 0, 1)
    _vectors(found, node, (2,), found.of(node, 0)[-2] if len(found.of(node, 0)) > 1 else None)
    _vectors(found, node, (3,), found.of(node, 1)[-1])


def _vectors(found: Trace, node: ir.Node, indices: tuple[int, ...], ids: Ids | None) -> None:
    for index in indices:
        if found.has(node, index) and np.prod(found.shape_of(node, index)) > 1:
            own = found.of(node, index)
            if len(own) == 1:
                found.unify(node, ids, own[0])
            else:
                found.freeze([ids, *own], node, "PRUNE-FROZEN-OP", "its scales differ along several axes")
