"""Repair without data: what the removed channels gave on average goes into the next layer's bias.

A removed channel c of the tensor x fed every output o of the next linear node with W[o, c] * x_c. Where x is an
activation after a BatchNormalization, the normalisation's own statistics say that its input is about N(beta, gamma^2)
there, so that

    b'[o] = b[o] + sum over removed c of (sum over the kernel of W[o, c]) * E[act(z)],   z ~ N(beta_c, gamma_c^2)

with the expectation by Gauss-Hermite quadrature. Exact where x_c is constant and no padding is in reach; nothing is
done where no BatchNormalization tells the mean. Source: mean compensation as in data-free quantization (Nagel et al.
2019, section 4.2.1), applied to removed channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.linear import Linear, linear_of
from onnxcompress.report import Finding

Kept = Mapping[str, Mapping[int, Sequence[int]]]

# Operators that a mean per channel passes through unchanged.
_TRANSPARENT = ("Identity", "AveragePool", "GlobalAveragePool", "Dropout")


def compensate(student: ir.Model, teacher: ir.Model, kept: Kept, allowed: set[str]) -> Iterator[Finding]:
    """Edit the biases of `student`; one finding a node that was compensated or could not be."""
    twins = {v.name: node for node in teacher.graph for v in node.outputs}
    for index, node in enumerate(student.graph):
        source = node.inputs[0] if node.inputs else None
        if source is None or 1 not in kept.get(source.name or "", {}) or graph.label(node) not in allowed:
            continue
        found = linear_of(node, index)
        if isinstance(found, Linear):
            yield _one(found, twins.get(node.outputs[0].name), kept)


def _one(linear: Linear, twin: ir.Node | None, kept: Kept) -> Finding:
    name = graph.label(linear.node)
    if not linear.takes_bias or linear.groups != 1:
        return Finding("RECONSTRUCT-NO-MEAN", "left as it is: it has no bias to carry a mean", name)
    means = None if twin is None else _means(twin.inputs[0])
    weight = None if twin is None else graph.array_of(twin.inputs[1])
    if means is None or weight is None:
        return Finding("RECONSTRUCT-NO-MEAN", "left as it is: no BatchNormalization tells its input's mean", name)
    lost = np.setdiff1d(np.arange(len(means)), list(kept[linear.source][1]))
    per_channel = weight.reshape(*weight.shape[:2], -1).sum(axis=2)
    per_channel = per_channel if linear.outputs_first else per_channel.T
    if per_channel.shape[1] != len(means):
        return Finding("RECONSTRUCT-NO-MEAN", "left as it is: its input was flattened", name)
    shift = per_channel[:, lost].astype(np.float64) @ means[lost]
    rows = kept.get(linear.output.name or "", {}).get(1)
    matrix = linear.matrix()
    matrix[:, -1] += (shift if rows is None else shift[list(rows)]).reshape(1, -1)
    linear.store(matrix)
    return Finding("RECONSTRUCT-MEAN", f"the means of {len(lost)} removed channels went into its bias", name)


def _means(value: ir.Value | None) -> np.ndarray | None:
    """The mean of each channel of a teacher's tensor, shape (channels,), or None where it is not known."""
    act: Callable[[np.ndarray], np.ndarray] = np.asarray
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in _TRANSPARENT:
        value = node.inputs[0]
        node = value.producer() if value is not None else None
    found = _activation(node)
    if found is not None:
        act = found
        value = node.inputs[0] if node is not None else None
        node = value.producer() if value is not None else None
    if node is None or node.op_type != "BatchNormalization":
        return None
    scale, shift = (graph.array_of(v) for v in node.inputs[1:3])
    return None if scale is None or shift is None else _expectation(act, shift, np.abs(scale))


def _expectation(act: Callable[[np.ndarray], np.ndarray], mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """E[act(z)] for z ~ N(mean, deviation^2), by Gauss-Hermite quadrature with 64 nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    z = mean.astype(np.float64)[:, None] + deviation.astype(np.float64)[:, None] * nodes
    return act(z) @ weights / weights.sum()


def _activation(node: ir.Node | None) -> Callable[[np.ndarray], np.ndarray] | None:
    if node is None:
        return None
    if node.op_type == "Relu":
        return lambda z: np.maximum(z, 0.0)
    if node.op_type == "HardSwish":
        return lambda z: z * np.clip(z / 6.0 + 0.5, 0.0, 1.0)
    if node.op_type == "Clip":
        bounds = [graph.attribute(node, "min"), graph.attribute(node, "max")]
        for place, value in enumerate(node.inputs[1:3]):
            array = graph.array_of(value)
            bounds[place] = bounds[place] if array is None else float(array)
        low, high = (-np.inf if bounds[0] is None else bounds[0]), (np.inf if bounds[1] is None else bounds[1])
        return lambda z: np.clip(z, low, high)
    return None
