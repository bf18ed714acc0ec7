"""What takes statistics over an axis that will be cut, in the masked reference: it sees only what is kept.

With mask m (a share s of the positions kept, row by row): mean(x) = mean(x m) / s; a largest value and a softmax ignore
the rest (-inf there). Norms are written out as d = (x - mean) m, y = d / sqrt(mean(d^2) / s + epsilon) * scale + bias:
LayerNormalization over its axes, InstanceNormalization over the axes after the channels, GroupNormalization over
[channels of a group, rest] of x as [N, groups, channels of a group, rest].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, attribute, fresh_name
from onnxcompress.passes.pruning.rewrite import hand_out

_FILL: Mapping[str, float] = {
    "LogSoftmax": -np.inf,
    "LpNormalization": 0.0,
    "ReduceL1": 0.0,
    "ReduceL2": 0.0,
    "ReduceLogSum": 0.0,
    "ReduceLogSumExp": -np.inf,
    "ReduceMax": -np.inf,
    "ReduceMean": 0.0,
    "ReduceMin": np.inf,
    "ReduceProd": 1.0,
    "ReduceSum": 0.0,
    "ReduceSumSquare": 0.0,
    "Softmax": -np.inf,
}
"""What stands at the doomed positions, so that it does not count."""

_MEANS = ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "SkipLayerNormalization")
_NORMS = (*_MEANS, "RMSNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization")
"""Norms; those that subtract the mean come first."""

POLES = ("Acosh", "Div", "Log", "LpNormalization", "Mod", "Pow", "Reciprocal", "ReduceLogSum")
"""Ops that may make of zero what is no number, which times a weight of zero is none either."""

_SKIP_BIAS = {"SkipLayerNormalization": 4, "SkipSimplifiedLayerNormalization": 3}
"""Where the bias of what is summed before the norm stands."""


FIRST_WHERE = 9
"""The opset that brought Where."""


def is_maskable(node: ir.Node, opset: int) -> bool:
    """Whether `Masker` knows the op."""
    return opset >= FIRST_WHERE and (node.op_type in _FILL or node.op_type in _NORMS)


def share(mask: np.ndarray, axes: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray:
    """The kept share along some axes; one where nothing is kept, so that the division stays finite."""
    kept = mask.mean(axis=tuple(axes), keepdims=True)
    return np.where(kept == 0, 1.0, kept).astype(dtype)


class Masker:
    """Rewrites nodes of the reference model.

    Args:
        model: The reference, edited in place.
        names: Names in use; grows.
    """

    def __init__(self, model: ir.Model, names: set[str]) -> None:
        self._graph, self._names, self._opset = model.graph, names, model.graph.opset_imports.get("", 1)

    def mask(self, node: ir.Node, mask: np.ndarray, axes: Sequence[int], dtype: np.dtype[Any]) -> None:
        """Let `node` see only the kept positions.

        Args:
            node: Of the reference.
            mask: True at the kept positions of its first input; of its rank, ones where all positions are alike.
            axes: The cut axes that it takes statistics over.
            dtype: Element type of the input.
        """
        if node.op_type in _NORMS:
            _Norm(self, node, mask, dtype).write()
            return
        hidden = self.constant(np.array(_FILL[node.op_type], dtype))
        seen = self.add(node, "Where", [self.constant(mask), node.inputs[0], hidden])
        if node.op_type == "ReduceMean":
            seen = self.add(node, "Div", [seen, self.constant(share(mask, axes, dtype))])
        node.replace_input_with(0, seen)

    def hide(self, node: ir.Node, keep: np.ndarray, dtype: np.dtype[Any]) -> None:
        """Let the readers of `node` see zero where `keep`, which broadcasts to its output, is False."""
        old, new = node.outputs[0], ir.Value(name=fresh_name(self._names, "hidden"))
        chosen = [self.constant(keep), old, self.constant(np.array(0, dtype))]
        where = ir.Node("", "Where", chosen, outputs=[new])
        assert node.graph is not None
        node.graph.insert_after(node, where)
        for use in [use for use in old.uses() if use.node is not where]:
            use.node.replace_input_with(use.idx, new)
        hand_out(old, new)

    def mean(self, node: ir.Node, value: ir.Value, axes: list[int]) -> ir.Value:
        """The mean over axes, which stay as ones."""
        if self._opset >= 18:
            return self.add(node, "ReduceMean", [value, self.constant(np.array(axes, np.int64))])
        mean = self.add(node, "ReduceMean", [value])
        producer = mean.producer()
        assert producer is not None
        producer.attributes["axes"] = ir.AttrInt64s("axes", axes)
        return mean

    def reshaped(self, node: ir.Node, value: ir.Value | None, *sizes: int) -> ir.Value:
        """A Reshape to constant sizes."""
        return self.add(node, "Reshape", [value, self.constant(np.array(sizes, np.int64))])

    def add(self, before: ir.Node, op: str, inputs: list[ir.Value | None]) -> ir.Value:
        """A new node's output."""
        output = ir.Value(name=fresh_name(self._names, "masked"))
        assert before.graph is not None
        before.graph.insert_before(before, ir.Node("", op, inputs, outputs=[output]))
        return output

    def constant(self, numbers: np.ndarray) -> ir.Value:
        """A new initializer."""
        return add_initializer(self._graph, fresh_name(self._names, "mask"), numbers)


class _Norm:
    """One norm, written out before its node, whose readers get the result."""

    def __init__(self, masker: Masker, node: ir.Node, mask: np.ndarray, dtype: np.dtype[Any]) -> None:
        self._masker, self._node, self._mask, self._dtype = masker, node, mask, dtype
        self._rank = mask.ndim
        self._groups = int(attribute(node, "num_groups", 1))

    def write(self) -> None:
        node, x = self._node, self._node.inputs[0]
        if node.op_type == "GroupNormalization":
            y = self._grouped(x)
        elif node.op_type == "InstanceNormalization":
            y = self._affine(self._normalised(x, self._mask, 2), self._rank - 2)
        elif node.op_type in _SKIP_BIAS:
            bias = _SKIP_BIAS[node.op_type]
            for given in (node.inputs[1], *node.inputs[bias : bias + 1]):
                x = x if given is None else self._masker.add(node, "Add", [x, given])
            y = self._affine(self._normalised(x, self._mask, self._rank - 1), 0, node.inputs[2:bias])
        else:
            first = int(attribute(node, "axis", -1)) % self._rank
            y = self._affine(self._normalised(x, self._mask, first), 0)
        for use in list(node.outputs[0].uses()):
            use.node.replace_input_with(use.idx, y)
        hand_out(node.outputs[0], y)

    def _grouped(self, x: ir.Value | None) -> ir.Value:
        m, groups, node = self._masker, self._groups, self._node
        apart = m.reshaped(node, x, 0, groups, self._mask.shape[1] // groups, -1)
        y = self._normalised(apart, self._mask.reshape(1, groups, -1, 1), 2)
        by_group = node.inputs[1] is not None and _length(node.inputs[1]) == groups
        y = self._affine(y, 2) if by_group else y
        y = m.add(node, "Reshape", [y, m.add(node, "Shape", [x])])
        return y if by_group else self._affine(y, self._rank - 2)

    def _normalised(self, x: ir.Value | None, mask: np.ndarray, first: int) -> ir.Value:
        """(x - mean) / sqrt(variance + epsilon) over the axes from `first` on; RMSNormalization without the mean."""
        m, node, axes = self._masker, self._node, list(range(first, mask.ndim))
        kept = m.constant(mask.astype(self._dtype))
        part = m.constant(share(mask, axes, self._dtype))
        y = m.add(node, "Mul", [x, kept])
        if node.op_type in _MEANS:
            mean = m.add(node, "Div", [m.mean(node, y, axes), part])
            y = m.add(node, "Mul", [m.add(node, "Sub", [y, mean]), kept])
        square = m.add(node, "Div", [m.mean(node, m.add(node, "Mul", [y, y]), axes), part])
        epsilon = m.constant(
            np.array(attribute(node, "epsilon", 1e-12 if node.op_type in _SKIP_BIAS else 1e-5), self._dtype)
        )
        return m.add(node, "Div", [y, m.add(node, "Sqrt", [m.add(node, "Add", [square, epsilon])])])

    def _affine(self, y: ir.Value, trailing: int, given: Sequence[ir.Value | None] | None = None) -> ir.Value:
        """Times scale, plus bias, which lack `trailing` axes at their end; inputs 1 and 2 where not told otherwise."""
        m, node = self._masker, self._node
        for op, factor in zip(("Mul", "Add"), node.inputs[1:3] if given is None else given, strict=False):
            if factor is not None:
                wide = m.reshaped(node, factor, -1, *([1] * trailing)) if trailing else factor
                y = m.add(node, op, [y, wide])
        return y


def _length(value: ir.Value) -> int | None:
    """Entries of a vector, where its shape is written."""
    if value.const_value is not None:
        return int(value.const_value.size)
    size = value.shape[0] if value.shape is not None and len(value.shape) == 1 else None
    return size if isinstance(size, int) else None
