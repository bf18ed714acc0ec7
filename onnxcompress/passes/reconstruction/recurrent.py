"""The walk's part for recurrent nodes: finds the teacher's node, gathers both sides, and keeps what is nearer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.cells import Cell, Inputs, Player, cell_of
from onnxcompress.passes.reconstruction.gates import Take, refit, take
from onnxcompress.passes.reconstruction.matching import match_units
from onnxcompress.passes.reconstruction.stream import Stream
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

Kept = Mapping[str, Mapping[int, Sequence[int]]]


class Recurrent:
    """Recurrent nodes of a student and their twins in the teacher.

    Args:
        student: Nodes in topological order.
        teacher: Likewise.
        kept: Channels that the student kept.
        rows: Rows of least squares, all batches together.
        ctx: Seed, runtime.
    """

    def __init__(
        self, student: Sequence[ir.Node], teacher: Sequence[ir.Node], kept: Kept, rows: int, ctx: Context
    ) -> None:
        makers = {v.name or "": (n, i) for i, n in enumerate(teacher) for v in n.outputs if v.name}
        self._kept, self._rows, self._ctx = kept, rows, ctx
        self.cells: dict[int, Cell | str] = {}
        self._twins: dict[int, Cell | str] = {}
        for index, node in enumerate(student):
            found = cell_of(node, index)
            if found:
                self.cells[index] = found
                self._twins[index] = self._twin(node, makers)

    def teacher_reads(self) -> set[str]:
        """Tensors of the teacher that the refits need."""
        return {name for twin in self._twins.values() if isinstance(twin, Cell) for name in twin.reads().values()}

    def refit(self, index: int, student: Stream, teacher: Stream, runs: int) -> Finding:
        """Refit one node in place; the student has advanced to it."""
        cell, twin = self.cells[index], self._twins[index]
        name = graph.label(cell.node) if isinstance(cell, Cell) else ""
        if isinstance(cell, str) or isinstance(twin, str):
            why = cell if isinstance(cell, str) else twin
            return Finding("RECONSTRUCT-SKIPPED", f"left as it is: {why}", name)
        teacher.advance_before(twin.index)
        kept = self._units(cell, twin)
        if isinstance(kept, str):
            return Finding("RECONSTRUCT-NO-TARGET", f"left as it is: {kept}", name)
        takes = list(self._takes(cell, twin, kept, student, teacher, runs))
        teacher.drop(twin.reads().values())
        if len(takes) < runs or len({t.fold for t in takes}) < 2:
            why = "its input does not depend on the data, or there are too few samples"
            return Finding("RECONSTRUCT-NO-TARGET", f"left as it is: {why}", name)
        found = refit(cell, takes, self._ctx.runtime)
        if found.sweeps:
            cell.store(found.weights)
        numbers = {"error_before": found.error_before, "error_after": found.error_after, "sweeps": found.sweeps}
        return Finding("RECONSTRUCT-REFITTED", "weights refitted to the teacher's gates", name, numbers=numbers)

    def _takes(
        self, cell: Cell, twin: Cell, kept: np.ndarray, student: Stream, teacher: Stream, runs: int
    ) -> Iterator[Take]:
        player = Player(twin, self._ctx.runtime)
        for run in range(runs):
            ours, theirs = _inputs(cell, student, run), _inputs(twin, teacher, run)
            if ours is None or theirs is None or ours.x.shape[:2] != theirs.x.shape[:2]:
                return
            seed = [self._ctx.seed, cell.index, run]
            yield take(cell, player, (ours, theirs), twin.weights(), kept, max(self._rows // runs, 1), seed)

    def _units(self, cell: Cell, twin: Cell) -> np.ndarray | str:
        """Original numbers of the units that the student has, [directions, units]."""
        ours, theirs, directions = cell.weights().hidden, twin.weights().hidden, len(cell.weights().w)
        for place, axis in enumerate((3, 2, 2)):
            name = cell.node.outputs[place].name if place < len(cell.node.outputs) else ""
            known = self._kept.get(name or "", {})
            if axis in known and len(known[axis]) == ours and max(known[axis]) < theirs:
                return np.tile(known[axis], (directions, 1))
        if ours == theirs:
            return np.tile(np.arange(ours), (directions, 1))
        inputs = self._kept.get(cell.reads()["x"], {})
        found = match_units(cell.node, twin.node, list(inputs[2]) if 2 in inputs else None)
        if found is not None:
            return found
        return "the teacher's node has other units and it is not known which were kept"

    def _twin(self, node: ir.Node, makers: Mapping[str, tuple[ir.Node, int]]) -> Cell | str:
        found = next((makers[v.name] for v in node.outputs if v.name and v.name in makers), None)
        if found is None or found[0].op_type != node.op_type:
            return "the teacher has no such node"
        return cell_of(*found)


def _inputs(cell: Cell, stream: Stream, run: int) -> Inputs | None:
    """What the node reads in one batch; None where something is not there."""
    given = cell.constants()
    for role, name in cell.reads().items():
        if role not in given:
            value = stream.value(run, name)
            if value is None:
                return None
            given[role] = value
    if not all(np.isfinite(a).all() for a in given.values()):
        return None
    return Inputs(**given)
