"""Axis equations of the normalisations: parameters go with their axis; what statistics run over is noted."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.trace import Trace


def batch_norm(found: Trace, node: ir.Node) -> None:
    """BatchNormalization: four vectors along axis 1."""
    labels = found.of(node, 0)
    if len(labels) > 1 and found.shape_of(node, 0)[1] > 1:
        found.unify(node, labels[1], *(found.of(node, i)[0] for i in range(1, 5)))
    if len(node.outputs) > 1 and any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        found.freeze([labels[1]], node, "PRUNE-FROZEN-OP", "batch statistics are read")
    found.put(node, 0, list(labels))


def instance_norm(found: Trace, node: ir.Node) -> None:
    """InstanceNormalization: scale and bias along axis 1; statistics over the rest."""
    labels = found.of(node, 0)
    if found.shape_of(node, 0)[1] > 1:
        found.unify(node, labels[1], found.of(node, 1)[0], found.of(node, 2)[0])
    found.statistic(node, labels, range(2, len(labels)))
    found.put(node, 0, list(labels))
    found.joints[node.outputs[0]] = found.joints_of(node, 0)
    found.pin(joint for joint in found.joints_of(node, 0) if joint.free == 1)


def layer_norm(found: Trace, node: ir.Node) -> None:
    """LayerNormalization and RMSNormalization: scale and bias on the normalised axes."""
    labels, shape = found.of(node, 0), found.shape_of(node, 0)
    first = int(attribute(node, "axis", -1)) % len(labels)
    for index in range(1, len(node.inputs)):
        if found.has(node, index):
            own, sizes = found.of(node, index), found.shape_of(node, index)
            for back in range(1, len(own) + 1):
                if sizes[-back] > 1:
                    found.unify(node, labels[len(shape) - back], own[-back])
    found.statistic(node, labels, range(first, len(labels)))
    if any(value.uses() for value in node.outputs[1:]):
        found.freeze(labels[:first], node, "PRUNE-FROZEN-OP", "the statistics of the norm are read")
    found.put(node, 0, list(labels))


def group_norm(found: Trace, node: ir.Node) -> None:
    """GroupNormalization: equal counts in each group; from opset 21 scale and bias go by channel."""
    labels, groups = found.of(node, 0), int(attribute(node, "num_groups", 1))
    ids = labels[1]
    for index in (1, 2):
        own = found.of(node, index)
        if found.shape_of(node, index)[0] == found.shape_of(node, 0)[1]:
            found.unify(node, ids, own[0])
        elif groups > 1:
            found.freeze(own, node, "PRUNE-FROZEN-OP", "one scale serves a group")
    if ids is not None:
        lists = found.divide(ids.reshape(groups, -1))
        found.freeze([ids] if lists is None else lists[:1], node, "PRUNE-FROZEN-OP", "it counts the groups of a norm")
        found.statistic(node, labels, [1])
    found.put(node, 0, list(labels))


def length_norm(found: Trace, node: ir.Node) -> None:
    """LpNormalization: a vector divided by its length, to which zeros add nothing."""
    labels = found.of(node, 0)
    found.statistic(node, labels, [int(attribute(node, "axis", -1)) % len(labels)])
    found.put(node, 0, list(labels))
