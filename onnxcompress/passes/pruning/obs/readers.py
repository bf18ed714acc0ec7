"""Who reads the channels of a cell: each linear node as rows P and weights W, with the class behind every column.

A convolution's columns are (channel, kernel tap); a matrix product's are its inner axis, where a flattened map brings
a class once for each position. Recurrent nodes read their input, and their own hidden states. A product of two
activations a b over an inner axis d (attention's scores) is linear in what each d adds: its columns are a_id b_dj with
weights of one.

An error of a reader is measured against the variance of the tensor that it feeds: its output, behind a
BatchNormalization, or the sum where it goes into a residual addition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.pruning.rules_recurrent import GATES
from onnxcompress.passes.pruning.trace import Trace
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.linear import linear_of

Arrays = Mapping[str, np.ndarray]


class Rows(Protocol):
    """How a reader sees its inputs."""

    def count(self, arrays: Arrays) -> int:
        """How many rows one run gives."""
        ...

    def rows(self, arrays: Arrays, positions: np.ndarray) -> np.ndarray:
        """Rows at flat positions: shape (groups, len(positions), columns)."""
        ...


@dataclass(frozen=True, eq=False)
class Reader:
    """One reader.

    Attributes:
        node: Label of the node.
        sources: Tensors that its rows are made of.
        feeds: Tensor whose variance is the measure; empty for the reader's own output.
        axis: Channel axis of that tensor.
        roots: Class of every column [groups, columns]; -1 for what cannot go.
        weight: [groups, columns, outputs], float64, in units of the tensor that it feeds.
        view: How it sees its sources.
    """

    node: str
    sources: tuple[str, ...]
    feeds: str
    roots: np.ndarray
    weight: np.ndarray
    view: Rows
    axis: int = -1

    @property
    def bytes(self) -> int:
        """Bytes of its Gram matrices."""
        groups, columns = self.roots.shape
        return 8 * groups * columns * columns


def readers_of(found: Trace) -> Iterator[Reader]:
    """Every reader of the main graph that sees a labelled axis, in topological order."""
    for index, node in enumerate(found.model.graph):
        if node.domain not in ("", "ai.onnx"):
            continue
        linear = linear_of(node, index)
        if isinstance(linear, Linear):
            yield from _linear(found, linear)
        elif node.op_type in GATES:
            yield from _recurrent(found, node)
        elif node.op_type == "MatMul":
            yield from _product(found, node)


def _roots(found: Trace, value: ir.Value | None, axis: int) -> np.ndarray | None:
    labels = found.labels.get(value) if value is not None else None
    ids = labels[axis] if labels else None
    return None if ids is None else found.atoms.roots(ids)


@dataclass(frozen=True, eq=False)
class _LinearRows:
    linear: Linear

    def count(self, arrays: Arrays) -> int:
        return self.linear.count(arrays[self.linear.source].shape)

    def rows(self, arrays: Arrays, positions: np.ndarray) -> np.ndarray:
        return self.linear.rows(arrays[self.linear.source], positions)


def _linear(found: Trace, linear: Linear) -> Iterator[Reader]:
    geometry = linear.geometry
    weight = linear.matrix()
    groups, columns, outputs = weight.shape
    inputs = columns - linear.takes_bias
    taps = int(np.prod(geometry.kernel)) if geometry else 1
    inner = 1 if geometry else -2 if linear.turned else -1
    roots = _roots(found, linear.node.inputs[int(linear.left)], inner)
    if roots is None or (inputs == taps and groups > 1):
        return  # depthwise: a channel's output goes with it
    table = np.full((groups, columns), -1)
    table[:, :inputs] = np.repeat(roots.reshape(groups, -1), taps, axis=1)
    feeds, scale = _fed(linear.output, groups * outputs)
    weight *= scale.reshape(groups, 1, outputs)
    yield Reader(
        graph.label(linear.node), (linear.source,), feeds, table, weight, _LinearRows(linear), linear.channel_axis
    )


def _fed(value: ir.Value, outputs: int) -> tuple[str, np.ndarray]:
    """The sum that `value` goes into (empty: none), and the factors of a normalisation on the way."""
    scale = np.ones(outputs)
    while True:
        uses = list(value.uses())
        if len(uses) != 1 or value.is_graph_output():
            return "", scale
        node = uses[0].node
        if node.op_type == "BatchNormalization":
            gamma, _, _, variance = (graph.array_of(v) for v in node.inputs[1:5])
            if gamma is None or variance is None or gamma.size != outputs:
                return "", scale
            epsilon = graph.attribute(node, "epsilon", 1e-5)
            scale = scale * (gamma / np.sqrt(variance.astype(np.float64) + epsilon))
        elif node.op_type == "Add":
            other = node.inputs[1 - uses[0].idx]
            if other is not None and not graph.is_constant(other):
                return node.outputs[0].name or "", scale
        elif node.op_type != "Identity":
            return "", scale
        value = node.outputs[0]


@dataclass(frozen=True, eq=False)
class _PlainRows:
    source: str

    def count(self, arrays: Arrays) -> int:
        return int(np.prod(arrays[self.source].shape[:-1]))

    def rows(self, arrays: Arrays, positions: np.ndarray) -> np.ndarray:
        x = arrays[self.source]
        return x.reshape(-1, x.shape[-1])[positions][None]


def _recurrent(found: Trace, node: ir.Node) -> Iterator[Reader]:
    """The gates read the input through W and the hidden state through R."""
    output = node.outputs[0] if node.outputs and node.outputs[0].name else None
    for index, source, suffix in ((1, node.inputs[0], "input"), (2, output, "state")):
        weight = graph.array_of(node.inputs[index])
        roots = _roots(found, source, -1)
        if weight is None or roots is None or source is None or weight.dtype.kind != "f":
            continue
        matrix = weight.astype(np.float64).transpose(2, 0, 1).reshape(1, weight.shape[2], -1)
        if suffix == "state" and weight.shape[0] > 1:
            yield from _directions(found, node, weight.astype(np.float64), source)
            continue
        name = source.name or ""
        yield Reader(f"{graph.label(node)} {suffix}", (name,), "", roots[None], matrix, _PlainRows(name))


@dataclass(frozen=True, eq=False)
class _DirectionRows:
    source: str

    def count(self, arrays: Arrays) -> int:
        shape = arrays[self.source].shape
        return int(shape[0] * shape[2])

    def rows(self, arrays: Arrays, positions: np.ndarray) -> np.ndarray:
        x = arrays[self.source]  # (steps, directions, batch, hidden)
        return x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1, x.shape[3])[:, positions]


def _directions(found: Trace, node: ir.Node, weight: np.ndarray, source: ir.Value) -> Iterator[Reader]:
    """Each direction reads its own states: as many groups."""
    roots = _roots(found, source, -1)
    assert roots is not None
    name = source.name or ""
    table = np.broadcast_to(roots, (weight.shape[0], len(roots)))
    yield Reader(
        f"{graph.label(node)} state", (name,), "", table, weight.transpose(0, 2, 1).copy(), _DirectionRows(name)
    )


@dataclass(frozen=True, eq=False)
class _ProductRows:
    """Rows of a product of two activations."""

    left: str
    right: str

    def count(self, arrays: Arrays) -> int:
        """Entries of the product."""
        a, b = arrays[self.left], arrays[self.right]
        return int(np.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2])) * a.shape[-2] * b.shape[-1])

    def rows(self, arrays: Arrays, positions: np.ndarray) -> np.ndarray:
        """The products a_id b_dj at flat positions of the output."""
        a, b = arrays[self.left], arrays[self.right]
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a = np.broadcast_to(a, (*batch, *a.shape[-2:]))
        b = np.broadcast_to(b, (*batch, *b.shape[-2:]))
        at = np.unravel_index(positions, (*batch, a.shape[-2], b.shape[-1]))
        return (a[at[:-1]] * b[(*at[:-2], slice(None), at[-1])])[None]


def _product(found: Trace, node: ir.Node) -> Iterator[Reader]:
    """Both factors are activations and share a labelled inner axis."""
    left, right = node.inputs[0], node.inputs[1]
    if left is None or right is None or graph.is_constant(left) or graph.is_constant(right):
        return
    if min(len(found.shape(v) or ()) for v in (left, right)) < 2:
        return
    roots, other = _roots(found, left, -1), _roots(found, right, -2)
    if roots is None or other is None or not np.array_equal(roots, other):
        return
    names = (left.name or "", right.name or "")
    yield Reader(graph.label(node), names, "", roots[None], np.ones((1, len(roots), 1)), _ProductRows(*names))
