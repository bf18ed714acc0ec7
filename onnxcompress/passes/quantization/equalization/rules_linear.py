"""Nodes that multiply by constants: they read one scale, write another, and their constants make up for both.

Conv      W' = W s_in / s_out, b' = b / s_out; likewise ConvTranspose, Gemm and MatMul
scaling   y = k x: k' = k s_in / s_out; a division by k the other way round
BatchNorm y = g (x - m) / sqrt(v + e) + b: g' = g s_in / s_out, m' = m / s_in, b' = b / s_out
LayerNorm y = g n(x) + b, and s_in = 1: g' = g / s_out, b' = b / s_out
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute, opset, tensor_of
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.quantization.equalization.marks import Marks


def along(found: Marks, node: ir.Node, index: int, axis: int, size: int) -> Ids:
    """Marks of an input as a list along `axis`; what differs along another axis shares its scale."""
    ids = found.of(node, index)
    if not ids.ndim:
        return np.zeros(size, np.int64)
    ids = found.tie(ids, (a for a in range(ids.ndim) if a != axis % ids.ndim))
    return np.broadcast_to(ids.reshape(-1), size)


def conv(found: Marks, node: ir.Node) -> None:
    """Conv and ConvTranspose, grouped or not: scales go by channel."""
    value = node.inputs[1]
    shape, rank = found.shape(value), len(found.shape(node.inputs[0]) or ())
    if (
        tensor_of(value) is None
        or shape is None
        or not found.scalable(value)
        or rank < 2
        or not _plain_bias(found, node)
    ):
        found.freeze_inputs(node)
        return
    groups = int(attribute(node, "group", 1))
    turned = node.op_type == "ConvTranspose"
    read, made = (shape[0], shape[1] * groups) if turned else (shape[1] * groups, shape[0])
    into, out = along(found, node, 0, 1, read), found.atoms.fresh(made)
    block, ones = np.arange(shape[0]) * groups // shape[0], (1,) * (len(shape) - 2)
    inner = np.arange(shape[1])[None, :] + block[:, None] * shape[1]
    many, rows = (out, into) if turned else (into, out)
    power = -1 if turned else 1
    found.slot(node, 1, many[inner].reshape(*shape[:2], *ones), power)
    found.slot(node, 1, rows.reshape(-1, 1, *ones), -power)
    found.slot(node, 2, out, -1)
    found.put(node, out.reshape(1, -1, *(1,) * (rank - 2)))


def _plain_bias(found: Marks, node: ir.Node) -> bool:
    return len(node.inputs) < 3 or node.inputs[2] is None or found.scalable(node.inputs[2])


def gemm(found: Marks, node: ir.Node) -> None:
    """Gemm with a constant second factor."""
    shape = found.shape(node.inputs[1])
    if shape is None or not found.scalable(node.inputs[1]) or not _plain_bias(found, node):
        found.freeze_inputs(node)
        return
    turned = bool(attribute(node, "transB", 0))
    read, made = shape[::-1] if turned else shape
    into = along(found, node, 0, 0 if attribute(node, "transA", 0) else 1, read)
    out = found.atoms.fresh(made)
    found.slot(node, 1, into[None, :] if turned else into[:, None], 1)
    found.slot(node, 1, out[:, None] if turned else out[None, :], -1)
    found.slot(node, 2, out, -1)
    found.put(node, out[None, :])


def matmul(found: Marks, node: ir.Node) -> None:
    """A product with a constant on the right; of two tensors the right one's columns pass (attention's values)."""
    left, right = (found.shape(v) for v in node.inputs[:2])
    if left is None or right is None or len(left) < 2 or len(right) < 2:
        found.freeze_inputs(node)
    elif tensor_of(node.inputs[1]) is None:
        _product(found, node, len(left))
    elif not found.scalable(node.inputs[1]):
        found.freeze_inputs(node)
    else:
        into, out = along(found, node, 0, -1, left[-1]), found.atoms.fresh(right[-1])
        found.slot(node, 1, into[:, None], 1)
        found.slot(node, 1, out[None, :], -1)
        found.put(node, out.reshape(*(1,) * (max(len(left), len(right)) - 1), -1))


def _product(found: Marks, node: ir.Node, rank: int) -> None:
    found.freeze(found.of(node, 0))
    ids = found.of(node, 1)
    ids = found.tie(ids, [ids.ndim - 2])
    found.put(node, ids.reshape(*(1,) * max(0, rank - ids.ndim), *ids.shape))


def scaled(found: Marks, node: ir.Node, data: int) -> bool:
    """Mul or Div by a constant with one number a channel; False where it is none, or changes the shape."""
    other = node.inputs[1 - data]
    sizes, shape, result = found.shape(other), found.shape(node.inputs[data]), found.shape(node.outputs[0])
    if sizes is None or shape is None or result != shape or len(sizes) > len(shape) or not found.scalable(other):
        return False
    sizes = (1,) * (len(shape) - len(sizes)) + sizes
    axes = [a for a, size in enumerate(sizes) if size > 1]
    if len(axes) != 1 or (node.op_type == "Div" and data == 1):
        return False
    axis, power = axes[0], 1 if node.op_type == "Mul" else -1
    into = along(found, node, data, axis, sizes[axis]).reshape(sizes)
    out = found.fresh(sizes[axis], axis, len(shape))
    found.slot(node, 1 - data, into, power)
    found.slot(node, 1 - data, out, -power)
    found.put(node, out)
    return True


def batch_norm(found: Marks, node: ir.Node) -> None:
    """BatchNormalization at inference."""
    channels, rank = found.shape(node.inputs[1]), len(found.shape(node.inputs[0]) or ())
    trains = attribute(node, "training_mode", 0) or sum(bool(v.name) for v in node.outputs) > 1
    constant = all(found.scalable(v) for v in node.inputs[1:5])
    if trains or channels is None or rank < 2 or not constant or opset(found.model) < 9:
        found.freeze_inputs(node)
        return
    into, out = along(found, node, 0, 1, channels[0]), found.atoms.fresh(channels[0])
    for index, ids, power in ((1, into, 1), (1, out, -1), (2, out, -1), (3, into, -1)):
        found.slot(node, index, ids, power)
    found.put(node, out.reshape(1, -1, *(1,) * (rank - 2)))


def normalization(found: Marks, node: ir.Node) -> None:
    """Layer, RMS, instance and group normalization: what comes in has the scale 1, what goes out is free."""
    found.freeze_inputs(node)
    shape, constants = found.shape(node.outputs[0]), [v for v in node.inputs[1:] if v is not None]
    last = node.op_type not in ("InstanceNormalization", "GroupNormalization")
    if not shape or not constants or not all(found.scalable(v) for v in constants):
        return
    axis = int(attribute(node, "axis", -1)) % len(shape) if last else 1
    if (last and axis != len(shape) - 1) or any(found.shape(v) != (shape[axis],) for v in constants):
        return
    out = found.fresh(shape[axis], axis, len(shape))
    found.slot(node, 1, out.reshape(-1), -1)
    found.slot(node, 2, out.reshape(-1), -1)
    found.put(node, out)
