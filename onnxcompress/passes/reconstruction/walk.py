"""Refit the linear nodes of a student one after the other, each on the student's own drifted input.

For the node y = f(x): the rows come from the student as refitted so far, the target from the teacher's tensor of the
same name, cut to the channels that the student kept. Where y goes straight into an Add whose other operand u the
student has already computed, the target is the teacher's sum minus the student's u: what has piled up on the shortcut
is corrected at every block. A refit is taken only where it lowers the error on batches that took no part in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.linear import Linear, linear_of
from onnxcompress.passes.reconstruction.patches import choose
from onnxcompress.passes.reconstruction.solve import Normal, fit
from onnxcompress.passes.reconstruction.stream import Run, Stream
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

Kept = Mapping[str, Mapping[int, Sequence[int]]]

# One batch in five takes no part in the fit and chooses the ridge.
_HELD_OUT_EVERY = 5


# Below this relative error a node already does what the teacher does, and keeps its very bytes.
_NOTHING_TO_GAIN = 1e-9


@dataclass(frozen=True)
class Aim:
    """Where a node's target comes from: the teacher's tensor `name`, less the student's `minus` where given.

    Attributes:
        name: Tensor of the teacher.
        minus: Tensor of the student, empty for none.
        norm: A BatchNormalization of the student between the node and that sum, to be undone.
    """

    name: str
    minus: str = ""
    norm: ir.Node | None = None

    def before_norm(self, target: np.ndarray) -> np.ndarray | None:
        """The target at the node itself: v = a y + b solved for y, channel by channel; None where a is 0."""
        if self.norm is None:
            return target
        scale, shift, mean, variance = (graph.array_of(v) for v in self.norm.inputs[1:5])
        assert scale is not None and shift is not None and mean is not None and variance is not None  # noqa: PT018
        factor = scale / np.sqrt(variance + graph.attribute(self.norm, "epsilon", 1e-5))
        if np.abs(factor).min() < 1e-6:
            return None
        wide = (-1, *(1,) * (target.ndim - 2))
        return (target - shift.reshape(wide)) / factor.reshape(wide) + mean.reshape(wide)


class Walk:
    """One pass over the student.

    Args:
        student: Edited in place, weights only (a Conv without bias may gain one).
        teacher: Read only.
        runs: Batches of inputs, the same for both.
        kept: Channels that the student kept, by tensor name and axis; absent tensors are whole.
        rows: Rows of least squares, all batches together.
        ctx: Memory ceiling, seed, runtime, progress.
    """

    def __init__(
        self, student: ir.Model, teacher: ir.Model, runs: Sequence[Run], kept: Kept, rows: int, ctx: Context
    ) -> None:
        self._nodes = list(student.graph)
        self._order = {v.name: i for i, n in enumerate(teacher.graph) for v in n.outputs}
        self._made = {v.name: i for i, n in enumerate(self._nodes) for v in n.outputs}
        self._kept, self._ctx, self._runs = kept, ctx, len(runs)
        self._rows_a_run = max(rows // max(len(runs), 1), 1)
        self._linears = [(n, linear_of(n, i)) for i, n in enumerate(self._nodes)]
        aims = [self._aims(found) for _, found in self._linears if isinstance(found, Linear)]
        room = ctx.memory_bytes
        self._student = Stream(student, runs, {a.minus for pair in aims for a in pair if a.minus}, ctx.runtime, room)
        self._teacher = Stream(teacher, runs, {a.name for pair in aims for a in pair}, ctx.runtime, room)

    def findings(self, allowed: set[str]) -> Iterator[Finding]:
        """Refit node by node; `allowed` holds the labels of the nodes that may be touched."""
        try:
            yield from self._each(allowed)
        finally:
            self._student.close()
            self._teacher.close()

    def _each(self, allowed: set[str]) -> Iterator[Finding]:
        total = sum(1 for _, found in self._linears if found)
        for done, (node, found) in enumerate((n, f) for n, f in self._linears if f):
            self._ctx.progress("reconstruct", done, total)
            name = graph.label(node)
            if name not in allowed:
                continue
            if isinstance(found, str):
                yield Finding("RECONSTRUCT-SKIPPED", f"left as it is: {found}", name)
            else:
                yield self._refit(found, name)

    def _refit(self, linear: Linear, name: str) -> Finding:
        start = linear.matrix()
        groups, columns, outputs = start.shape
        if 4 * 8 * groups * columns * (columns + outputs) > self._ctx.memory_bytes:
            return Finding("RECONSTRUCT-TOO-LARGE", f"left as it is: {columns} inputs exceed the memory ceiling", name)
        self._reach(linear)
        aim = self._choose_aim(linear)
        if aim is None:
            return Finding("RECONSTRUCT-NO-TARGET", "left as it is: the teacher has no tensor to fit it to", name)
        train, held_out = (Normal(groups, columns, outputs) for _ in range(2))
        problem = self._collect(linear, aim, train, held_out)
        self._done_with(linear)
        if problem:
            return Finding("RECONSTRUCT-NO-TARGET", f"left as it is: {problem}", name)
        solved = fit(train, held_out, start)
        if solved.after < solved.before and solved.before > _NOTHING_TO_GAIN:
            linear.store(solved.weight)
        numbers = {"error_before": solved.before, "error_after": solved.after}
        return Finding("RECONSTRUCT-REFITTED", "weights refitted to the teacher's output", name, numbers=numbers)

    def _reach(self, linear: Linear) -> None:
        """Advance the student until the node's input and shortcut are there; nodes side by side share a stop."""
        shortcuts = {a.minus for a in self._aims(linear)}
        needs = {linear.source} | {n for n in shortcuts if self._made.get(n, linear.index) < linear.index}
        if not all(self._student.has(n) for n in needs):
            self._student.advance_before(linear.index)

    def _collect(self, linear: Linear, aim: Aim, train: Normal, held_out: Normal) -> str:
        """Sum the normal equations; returns what does not fit, or nothing."""
        if aim.name in self._order:
            self._teacher.advance_before(self._order[aim.name] + 1)
        for run in range(self._runs):
            x, y = self._student.value(run, linear.source), self._target(run, aim)
            if x is None or y is None:
                return "its input or target does not depend on the data"
            problem = self._add(linear, run, x, y, held_out if run % _HELD_OUT_EVERY == 0 else train)
            if problem:
                return problem
        return "" if train.rows and held_out.rows else "there are too few samples"

    def _add(self, linear: Linear, run: int, x: np.ndarray, y: np.ndarray, into: Normal) -> str:
        width = y.shape[1] if linear.geometry else y.shape[-1]
        if width != into.cross.shape[0] * into.cross.shape[2]:
            return "the teacher's tensor has other channels and it is not known which were kept"
        generator = np.random.Generator(np.random.PCG64([self._ctx.seed, linear.index, run]))
        positions = choose(linear.positions(y.shape), self._rows_a_run, generator)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return "its input or target holds NaN or infinity"
        into.add(linear.rows(x, positions), linear.targets(y, positions))
        return ""

    def _target(self, run: int, aim: Aim) -> np.ndarray | None:
        whole = self._teacher.value(run, aim.name)
        if whole is None:
            return None
        for axis, indices in self._kept.get(aim.name, {}).items():
            if max(indices, default=-1) >= whole.shape[int(axis)]:
                return None
            whole = np.take(whole, indices, axis=int(axis))
        if not aim.minus:
            return whole
        shortcut = self._student.value(run, aim.minus)
        return None if shortcut is None or shortcut.shape != whole.shape else aim.before_norm(whole - shortcut)

    def _aims(self, linear: Linear) -> list[Aim]:
        """Possible targets, the better first."""
        aims = [Aim(linear.output.name or "")]
        norm = _only_reader(linear.output, "BatchNormalization") if linear.geometry else None
        if norm is not None and not all(graph.is_constant(v) for v in norm.inputs[1:5]):
            norm = None
        adder = _only_reader(linear.output if norm is None else norm.outputs[0], "Add")
        if adder is not None:
            mine = linear.output if norm is None else norm.outputs[0]
            other = next((v for v in adder.inputs if v is not mine), None)
            if other is not None and other.producer() is not None:
                aims.insert(0, Aim(adder.outputs[0].name or "", other.name or "", norm))
        return [a for a in aims if a.name in self._order]

    def _choose_aim(self, linear: Linear) -> Aim | None:
        for aim in self._aims(linear):
            if not aim.minus or self._student.value(0, aim.minus) is not None:
                return aim
        return None

    def _done_with(self, linear: Linear) -> None:
        self._teacher.drop(a.name for a in self._aims(linear))


def _only_reader(value: ir.Value, op_type: str) -> ir.Node | None:
    """The one node that reads `value`, where it is of that type and the value is no graph output."""
    uses = list(value.uses())
    alone = len(uses) == 1 and not value.is_graph_output()
    return uses[0].node if alone and uses[0].node.op_type == op_type else None
