"""Norms and reductions over an axis that will be cut, in the masked reference: they see only what is kept.

With mask m (k of n positions kept): mean(x) = sum(x m) / k; a largest value ignores the rest; LayerNormalization is
written out as d = (x - mean) m, y = d / sqrt(sum(d^2)/k + epsilon) * scale + bias.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, attribute, fresh_name

MASKED_BY_ZERO = ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "LpNormalization")
_LEAST = {"ReduceMax": -np.inf, "ReduceMin": np.inf, "ReduceLogSumExp": -np.inf}
NORMS = ("LayerNormalization", "RMSNormalization")
MASKABLE = (*MASKED_BY_ZERO, *_LEAST, *NORMS, "ReduceMean", "ReduceLogSum")


class Masker:
    """Rewrites nodes of the reference model.

    Args:
        model: The reference, edited in place.
        names: Names in use; grows.
    """

    def __init__(self, model: ir.Model, names: set[str]) -> None:
        self._graph, self._names, self._opset = model.graph, names, model.graph.opset_imports.get("", 1)

    def mask(self, node: ir.Node, keeps: Sequence[tuple[int, np.ndarray]], rank: int, dtype: np.dtype) -> None:
        """Let `node` see only the kept positions of each axis."""
        mask = np.ones((1,) * rank, bool)
        for axis, keep in keeps:
            mask = mask & keep.reshape([-1 if a == axis else 1 for a in range(rank)])
        share = float(mask.mean())
        if node.op_type in NORMS:
            self._norm(node, self._constant(mask.astype(dtype)), share, rank, dtype)
            return
        hidden = self._constant(np.array(_LEAST.get(node.op_type, 0.0), dtype))
        seen = self._add(node, "Where", [self._constant(mask), node.inputs[0], hidden])
        if node.op_type == "ReduceMean":
            seen = self._add(node, "Div", [seen, self._constant(np.array(share, dtype))])
        node.replace_input_with(0, seen)

    def _norm(self, node: ir.Node, mask: ir.Value, share: float, rank: int, dtype: np.dtype) -> None:
        first = int(attribute(node, "axis", -1)) % rank
        x = self._add(node, "Mul", [node.inputs[0], mask])
        part = self._constant(np.array(share, dtype))
        if node.op_type == "LayerNormalization":
            mean = self._add(node, "Div", [self._mean(node, x, first, rank), part])
            x = self._add(node, "Mul", [self._add(node, "Sub", [x, mean]), mask])
        square = self._mean(node, self._add(node, "Mul", [x, x]), first, rank)
        epsilon = self._constant(np.array(attribute(node, "epsilon", 1e-5), dtype))
        spread = self._add(node, "Sqrt", [self._add(node, "Add", [self._add(node, "Div", [square, part]), epsilon])])
        y = self._add(node, "Div", [x, spread])
        for op, given in zip(("Mul", "Add"), node.inputs[1:3], strict=False):
            y = y if given is None else self._add(node, op, [y, given])
        for use in list(node.outputs[0].uses()):
            use.node.replace_input_with(use.idx, y)

    def _mean(self, node: ir.Node, value: ir.Value, first: int, rank: int) -> ir.Value:
        axes = list(range(first, rank))
        if self._opset >= 18:
            return self._add(node, "ReduceMean", [value, self._constant(np.array(axes, np.int64))])
        mean = self._add(node, "ReduceMean", [value])
        producer = mean.producer()
        assert producer is not None
        producer.attributes["axes"] = ir.AttrInt64s("axes", axes)
        return mean

    def _add(self, before: ir.Node, op: str, inputs: list[ir.Value | None]) -> ir.Value:
        output = ir.Value(name=fresh_name(self._names, "masked"))
        assert before.graph is not None
        before.graph.insert_before(before, ir.Node("", op, inputs, outputs=[output]))
        return output

    def _constant(self, numbers: np.ndarray) -> ir.Value:
        return add_initializer(self._graph, fresh_name(self._names, "mask"), numbers)
