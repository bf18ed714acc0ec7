"""Where to compare two models: outputs, or the float tensors before a step that jumps.

ArgMax, TopK, NonMaxSuppression and comparisons turn a rounding error into another index; a random operator gives other
numbers each time. What comes after such a node is not compared: the tensors that go into it are.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxcompress.graph import array_of, attribute, is_constant
from onnxcompress.shapes import types

DISCRETE = frozenset(
    [
        *["ArgMax", "ArgMin", "TopK", "NonMaxSuppression", "NonZero", "Unique", "Hardmax", "Round", "Floor", "Ceil"],
        *["Sign", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Multinomial", "RoiAlign", "MaxRoiPool"],
        *["Mod", "BitShift", "StringNormalizer", "TfIdfVectorizer", "NonMaxSuppressionV2"],
    ]
)
"""Operators whose output jumps where their float input moves a little. IsNaN and IsInf do not belong to them: exporters
guard every attention with them, and no rounding makes a number of NaN."""

RANDOM = frozenset(
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"]
)
"""Operators that draw."""

SATURATING = frozenset(["Sigmoid", "HardSigmoid"])
"""Operators whose output may lie near zero as a whole, where the runtime is exact to a part of one, not of the output;
what goes into them is compared too."""


def comparable(model: ir.Model) -> list[str]:
    """Names of the tensors of the main graph at which the model's numbers can be held to another's, sorted."""
    search = _Search(types(model))
    for value in model.graph.outputs:
        search.collect(value)
    return sorted(search.found)


def random_nodes(model: ir.Model) -> list[ir.Node]:
    """Nodes that draw random numbers, those inside bodies too."""
    return [node for node in model.graph.all_nodes() if is_random(node)]


def is_random(node: ir.Node) -> bool:
    """True for a node that draws; Dropout draws only in training mode."""
    if node.op_type == "Dropout":
        mode = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
        return bool(mode is not None and mode.any())
    return node.op_type in RANDOM


class _Search:
    """Walks back from outputs; iterative, so that deep graphs do not exhaust the stack."""

    def __init__(self, kinds: Mapping[str, ir.DataType]) -> None:
        self._kinds = kinds
        self.found: set[str] = set()
        self._jumps: dict[ir.Value, bool] = {}
        self._seen: set[ir.Value] = set()

    def collect(self, output: ir.Value) -> None:
        waiting = [output]
        while waiting:
            value = waiting.pop()
            if value in self._seen or is_constant(value) or not value.name:
                continue
            self._seen.add(value)
            node = value.producer()
            if node is None:
                continue
            if not self._jumps_before(value):
                self.found.add(value.name)
                waiting += [given for given in node.inputs[:1] if given is not None and node.op_type in SATURATING]
            else:
                waiting += [given for given in node.inputs if given is not None]

    def _jumps_before(self, value: ir.Value) -> bool:
        """True where some node on the way to `value` jumps or draws."""
        waiting = [value]
        while waiting:
            current = waiting[-1]
            node = current.producer()
            inputs = [] if node is None else [given for given in node.inputs if given is not None]
            open_inputs = [given for given in inputs if given not in self._jumps]
            if current in self._jumps:
                waiting.pop()
            elif open_inputs:
                waiting += open_inputs
            else:
                own = node is not None and self._jumps_itself(node)
                self._jumps[current] = own or any(self._jumps[given] for given in inputs)
                waiting.pop()
        return self._jumps[value]

    def _jumps_itself(self, node: ir.Node) -> bool:
        if is_random(node):
            return True
        if node.op_type == "Cast" and not ir.DataType(int(attribute(node, "to", 1))).is_floating_point():
            return self._is_float(node.inputs[0])
        return node.op_type in DISCRETE and any(self._is_float(value) for value in node.inputs)

    def _is_float(self, value: ir.Value | None) -> bool:
        """True where the type is float, or not known."""
        if value is None:
            return False
        kind = value.dtype or self._kinds.get(value.name or "")
        return kind is None or kind.is_floating_point()
