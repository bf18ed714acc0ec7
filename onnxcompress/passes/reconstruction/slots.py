"""Where a weight is read from and written to: a constant, or one behind Identity, Cast and Transpose nodes.

`Slot.read` gives the numbers that the operator sees. `Slot.write` puts numbers back through the same nodes, or, where
somebody else reads the constant too, gives the operator a constant of its own, so that nobody else changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress import graph

_THROUGH = ("Identity", "Cast", "Transpose")


@dataclass(frozen=True)
class Slot:
    """One constant input of a node.

    Attributes:
        node: The reader.
        index: Which of its inputs.
        chain: Nodes between the constant and the reader, nearest to the reader first.
        source: The constant.
    """

    node: ir.Node
    index: int
    chain: tuple[ir.Node, ...]
    source: ir.Value

    def read(self) -> np.ndarray:
        """The numbers as the reader gets them, in their own dtype."""
        array = graph.array_of(self.source)
        assert array is not None, "slot_of checked that it is constant"
        for step in reversed(self.chain):
            array = _applied(step, array)
        return array

    def write(self, array: np.ndarray) -> None:
        """Give the reader other numbers of the same shape; they take the dtype of the old ones."""
        cast = array.astype(self.read().dtype, copy=False)
        if not self._alone():
            self._unshare(cast)
            return
        for step in self.chain:
            if step.op_type == "Transpose":
                cast = cast.transpose(np.argsort(_permutation(step, cast.ndim)))
        constant = graph.array_of(self.source)
        assert constant is not None
        fresh = np.ascontiguousarray(cast).astype(constant.dtype, copy=False)
        graph.set_constant(self.source, fresh.copy() if np.shares_memory(fresh, array) else fresh)

    @property
    def shared(self) -> bool:
        """Whether somebody else reads the same constant."""
        return not self._alone()

    def _alone(self) -> bool:
        values = [self.source, *(step.outputs[0] for step in self.chain)]
        return all(len(list(v.uses())) == 1 and not v.is_graph_output() for v in values)

    def _unshare(self, array: np.ndarray) -> None:
        owner = self.node.graph
        assert isinstance(owner, ir.Graph)
        name = graph.fresh_name(set(owner.initializers), f"{self.source.name}_own")
        self.node.replace_input_with(self.index, graph.add_initializer(owner, name, np.ascontiguousarray(array)))


def slot_of(node: ir.Node, index: int) -> Slot | None:
    """The slot at an input of `node`; None where it is absent or not a constant of the main graph."""
    value = node.inputs[index] if index < len(node.inputs) else None
    chain: list[ir.Node] = []
    while value is not None and not graph.is_constant(value):
        maker = value.producer()
        if maker is None or maker.op_type not in _THROUGH or maker.domain not in ("", "ai.onnx"):
            return None
        chain.append(maker)
        value = maker.inputs[0]
    return None if value is None else Slot(node, index, tuple(chain), value)


def _applied(step: ir.Node, array: np.ndarray) -> np.ndarray:
    if step.op_type == "Transpose":
        return array.transpose(_permutation(step, array.ndim))
    if step.op_type == "Cast":
        return array.astype(ir.DataType(graph.attribute(step, "to")).numpy())
    return array


def _permutation(step: ir.Node, rank: int) -> list[int]:
    return list(graph.attribute(step, "perm") or range(rank - 1, -1, -1))
