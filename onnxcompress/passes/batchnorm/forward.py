"""A normalization before a Conv: W (s x + t) + b = (W s) x + (b + sum of W t), where no pad gets in the way."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.batchnorm.affine import Affine, LeftAlone
from onnxcompress.passes.batchnorm.weights import floats_of, put, rounded


def fold_into_consumer(node: ir.Node, graph: ir.Graph, affine: Affine, names: set[str]) -> str:
    """Fold `node` into the Conv that alone reads it; `node` itself is left for the caller to remove.

    Returns:
        The Conv's name.

    Raises:
        LeftAlone: Where there is no such Conv, or a number would change.
    """
    result = node.outputs[0]
    readers = [use.node for use in result.uses() if use.idx == 0 and use.node.graph is graph]
    alone = len(readers) == 1 == len(result.uses()) and not result.is_graph_output()
    if not alone or readers[0].op_type != "Conv" or readers[0].domain != "":
        raise LeftAlone(
            "FOLD-NO-PARTNER", "neither its input nor its only reader is a linear node with constant weights"
        )
    conv = readers[0]
    if np.any(affine.shift) and not _is_unpadded(conv):
        raise LeftAlone("FOLD-PADDED", f"{_place(conv)} pads, and a pad is 0 after the normalization, not before it")
    _fold(conv, graph, affine, names)
    conv.replace_input_with(0, node.inputs[0])
    return _place(conv)


def _is_unpadded(conv: ir.Node) -> bool:
    return attribute(conv, "auto_pad", "NOTSET") in ("NOTSET", "VALID") and not any(attribute(conv, "pads", ()))


def _fold(conv: ir.Node, graph: ir.Graph, affine: Affine, names: set[str]) -> None:
    like, groups = conv.inputs[1], attribute(conv, "group", 1)
    weights = floats_of(like, "weights")
    assert like is not None
    outputs, per_group, *kernel = weights.shape
    if groups * per_group != affine.scale.size:
        raise LeftAlone("FOLD-CHANNELS", f"{affine.scale.size} parameters do not fit {groups * per_group} channels")
    by_group = weights.reshape(groups, outputs // groups, per_group, -1)
    scaled = by_group * affine.scale.reshape(groups, 1, per_group, 1)
    carried = np.einsum("gmck,gc->gm", by_group, affine.shift.reshape(groups, per_group)).reshape(-1)
    old = conv.inputs[2] if len(conv.inputs) > 2 else None
    bias = carried if old is None else carried + floats_of(old, "biases")
    new_weights, new_bias = rounded(scaled.reshape(outputs, per_group, *kernel), like), rounded(bias, like)
    put(conv, 1, new_weights, graph, names, "weights")
    put(conv, 2, new_bias, graph, names, f"{like.name or 'weights'}_bias")


def _place(node: ir.Node) -> str:
    return node.name or node.outputs[0].name or node.op_type
