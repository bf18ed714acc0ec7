"""Edits of constants that can be taken back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnxcompress import graph


class Journal:
    """Edits a graph and remembers how to undo it.

    Args:
        model: The model, whose main graph is edited.
    """

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self._taken = graph.all_names(model)
        self._undo: list[Callable[[], None]] = []
        self._left: list[ir.Value] = []

    def set(self, value: ir.Value, array: np.ndarray) -> None:
        """Give a constant other numbers."""
        former = graph.tensor_of(value)
        assert former is not None
        graph.set_constant(value, array)
        self._undo.append(lambda: graph.set_constant(value, former))

    def constant(self, base: str, array: np.ndarray) -> ir.Value:
        """A new initializer."""
        value = graph.add_initializer(self.graph, graph.fresh_name(self._taken, base), array)
        self._undo.append(lambda: self._forget(value))
        return value

    def dequantize(self, base: str, inputs: list[ir.Value], axis: int | None, reader: ir.Node) -> ir.Value:
        """A new DequantizeLinear before `reader`; its output."""
        tensor = graph.tensor_of(inputs[0])
        assert tensor is not None
        name = graph.fresh_name(self._taken, f"{base}_dequantized")
        out = ir.Value(name=name, shape=ir.Shape(tensor.shape.numpy()), type=inputs[1].type)
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        node = ir.Node("", "DequantizeLinear", inputs, attributes, outputs=[out])
        node.name = graph.fresh_name(self._taken, f"{base}_DequantizeLinear")
        self.graph.insert_before(reader, [node])
        self._undo.append(lambda: self.graph.remove(node, safe=True))
        return out

    def redirect(self, node: ir.Node, index: int, value: ir.Value) -> None:
        """Let an input of `node` read `value`; the input is made where there is none."""
        size = len(node.inputs)
        former = node.inputs[index] if index < size else None
        if index >= size:
            node.resize_inputs(index + 1)
        node.replace_input_with(index, value)
        self._left += [former] if former is not None else []
        self._undo.append(lambda: self._restore(node, index, former, size))

    def undo(self) -> None:
        """Take back everything, the last edit first."""
        while self._undo:
            self._undo.pop()()

    def __bool__(self) -> bool:
        """Whether anything was edited."""
        return bool(self._undo)

    def settle(self) -> None:
        """The edits stay: constants that nobody reads any more because of them go."""
        for value in self._left:
            if value.is_initializer() and not value.uses() and not value.is_graph_output():
                self._forget(value)

    def _forget(self, value: ir.Value) -> None:
        del self.graph.initializers[value.name or ""]

    @staticmethod
    def _restore(node: ir.Node, index: int, former: ir.Value | None, size: int) -> None:
        node.replace_input_with(index, former)
        node.resize_inputs(size)
