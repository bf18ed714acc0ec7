"""Which elements share a scale: the classes of channels that the walk over a model finds.

With a scale s_k > 0 for each class k, the equalized model computes x' = x / s for every tensor x, element by element.
A tensor's marks are an array of atoms that broadcasts to its shape: (1, C, 1, 1) where the scale goes by channel.
Atom 0 has the scale 1 for ever; what must stay as it is joins its class. A constant c takes part by its slot, which
says that it becomes c' = c * s^power. A class may be chosen freely, because the constants around it make up for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import tensor_of
from onnxcompress.passes.pruning.atoms import Atoms, Ids
from onnxcompress.shapes.table import ShapeTable

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)

_LARGEST = 1e30  # of a constant that may be scaled: masks of -1e38 stay what they are
_COPIED = 1 << 14  # elements of a constant that is copied where others read it too


@dataclass(frozen=True, eq=False)
class Slot:
    """A constant that makes up for the scales around it.

    Attributes:
        node: Its reader.
        index: Which of the reader's inputs it is.
        ids: Atoms, broadcasting with the constant.
        power: 1 where it is multiplied by s, -1 where it is divided.
    """

    node: ir.Node
    index: int
    ids: Ids
    power: int


@dataclass(frozen=True, eq=False)
class Cap:
    """A Clip at zero and at `high`: what it yields, and its marks."""

    value: ir.Value
    ids: Ids
    high: float


@dataclass(eq=False)
class Marks:
    """What the walk finds out.

    Attributes:
        model: The model; not edited.
        table: Its shapes under a probe.
        atoms: All atoms and their classes.
        ids: Marks by tensor; a tensor without marks stays as it is.
        slots: The constants that take part.
        caps: Clips that pass scales on, so that those must be chosen by what reaches them; None where they freeze.
    """

    model: ir.Model
    table: ShapeTable
    atoms: Atoms = field(default_factory=Atoms)
    ids: dict[ir.Value, Ids] = field(default_factory=dict[ir.Value, Ids])
    slots: list[Slot] = field(default_factory=list[Slot])
    caps: list[Cap] | None = None

    def __post_init__(self) -> None:
        self.atoms.fresh(1)

    def shape(self, value: ir.Value | None) -> tuple[int, ...] | None:
        """Sizes under the probe, or of the constant; None where they are not known."""
        tensor = tensor_of(value)
        if tensor is not None:
            return tuple(tensor.shape.numpy())
        return None if value is None else self.table.probe(value.name)

    def of(self, node: ir.Node, index: int) -> Ids:
        """Marks of an input, one dimension for each of its axes; all atom 0 where it stays as it is."""
        value = node.inputs[index]
        rank = len(self.shape(value) or ())
        found = None if value is None else self.ids.get(value)
        return np.zeros((1,) * rank, np.int64) if found is None else found

    def put(self, node: ir.Node, ids: Ids, index: int = 0) -> None:
        """Set the marks of an output; they stay fixed where a free axis or an unknown type would not bear them."""
        if index >= len(node.outputs) or not node.outputs[index].name:
            return
        value, ids = node.outputs[index], narrowed(ids)
        sizes, dims, dtype = self.shape(value), self.table.dims(value.name), self.table.dtype(value.name)
        known = sizes is not None and len(sizes) == ids.ndim and dtype in FLOATS
        bears = all(size == 1 or (dims is not None and isinstance(dims[a], int)) for a, size in enumerate(ids.shape))
        if not known or not bears:
            self.freeze(ids)
            return
        self.ids[value] = ids

    def fresh(self, count: int, axis: int, rank: int) -> Ids:
        """New classes along one axis."""
        sizes = [1] * rank
        sizes[axis] = count
        return self.atoms.fresh(count).reshape(sizes)

    def freeze(self, ids: Ids) -> None:
        """These classes keep the scale 1."""
        if ids.any():
            self.atoms.unify(ids.ravel(), np.zeros(ids.size, np.int64))

    def freeze_inputs(self, node: ir.Node) -> None:
        """All that the node reads keeps the scale 1."""
        for value in node.inputs:
            if value is not None and value in self.ids:
                self.freeze(self.ids[value])

    def unify(self, *parts: Ids) -> Ids:
        """One scale for elements that meet, by NumPy's rule of broadcasting."""
        wide = np.broadcast_arrays(*parts)
        for other in wide[1:]:
            self.atoms.unify(wide[0].ravel(), other.ravel())
        return wide[0]

    def tie(self, ids: Ids, axes: Iterable[int]) -> Ids:
        """One scale for all along `axes`; the marks with size 1 there."""
        for axis in axes:
            first = ids.take([0], axis=axis)
            if ids.shape[axis] > 1:
                self.unify(first, ids)
            ids = first
        return ids

    def slot(self, node: ir.Node, index: int, ids: Ids, power: int) -> None:
        """A constant input is multiplied by s^power; where it cannot be, the classes freeze."""
        if index >= len(node.inputs) or node.inputs[index] is None:
            return
        if self.scalable(node.inputs[index]):
            self.slots.append(Slot(node, index, ids, power))
        else:
            self.freeze(ids)

    def scalable(self, value: ir.Value | None) -> bool:
        """Whether a constant may be edited: a finite float that is not large and shared."""
        tensor = tensor_of(value)
        if value is None or tensor is None or tensor.dtype not in FLOATS:
            return False
        shared = len(value.uses()) > 1 or value.is_graph_output()
        if shared and tensor.size > _COPIED:
            return False
        return bool(tensor.size) and float(np.abs(tensor.numpy()).max()) < _LARGEST

    def varies(self, ids: Ids) -> tuple[int, ...]:
        """The axes along which the scale is not one for all."""
        return tuple(axis for axis, size in enumerate(narrowed(ids).shape) if size > 1)

    def free(self, ids: Ids) -> bool:
        """Whether some of the classes may still be scaled."""
        return bool(self.atoms.roots(ids.ravel()).any())


def narrowed(ids: Ids) -> Ids:
    """The marks with size 1 on every axis along which they repeat."""
    for axis in range(ids.ndim):
        first = ids.take([0], axis=axis)
        if ids.shape[axis] > 1 and bool((ids == first).all()):
            ids = first
    return ids
