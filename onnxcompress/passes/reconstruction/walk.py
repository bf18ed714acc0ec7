"""Refit the linear nodes of a student one after the other, each on the student's own drifted input.

For the node y = f(x): the rows come from the student as refitted so far, the target from the teacher's tensor of the
same name, cut to the channels that the student kept. Where y goes straight into an Add whose other operand u the
student has already computed, the target is the teacher's sum minus the student's u: what has piled up on the shortcut
is corrected at every block. A refit is taken only where it lowers the error on batches that took no part in it.

One sweep is enough: a second one, from the first one's weights, never lowered the outputs' error on the models that it
was tried on (ResNets, a VGG, a ViT, a GRU).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.affine import Norm, fit_affine, norm_of, store_linear
from onnxcompress.passes.reconstruction.aims import Aim, aims_of
from onnxcompress.passes.reconstruction.linear import Linear, linear_of
from onnxcompress.passes.reconstruction.patches import choose
from onnxcompress.passes.reconstruction.problem import FOLDS, Problem
from onnxcompress.passes.reconstruction.problem import plan as choose_plan
from onnxcompress.passes.reconstruction.recurrent import Recurrent
from onnxcompress.passes.reconstruction.stream import Run, Stream
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

Kept = Mapping[str, Mapping[int, Sequence[int]]]

# Below this relative error a node already does what the teacher does, and keeps its very bytes.
_NOTHING_TO_GAIN = 1e-9


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
        self._order = {v.name or "": i for i, n in enumerate(teacher.graph) for v in n.outputs}
        self._made = {v.name: i for i, n in enumerate(self._nodes) for v in n.outputs}
        self._kept, self._ctx, self._runs = kept, ctx, len(runs)
        self._rows = rows
        self._recurrent = Recurrent(self._nodes, list(teacher.graph), kept, rows, ctx)
        self._linears = [(n, linear_of(n, i, shared=True)) for i, n in enumerate(self._nodes)]
        self._all_aims = {f.index: aims_of(f, self._order) for _, f in self._linears if isinstance(f, Linear)}
        norms = {i: norm_of(n) for i, n in enumerate(self._nodes)}
        self._norms = {i: norm for i, norm in norms.items() if norm is not None and norm.output.name in self._order}
        aims = [a for some in self._all_aims.values() for a in some]
        room = ctx.memory_bytes
        minus = {n for a in aims for n in (a.minus, a.bound_minus) if n}
        self._student = Stream(student, runs, minus, ctx.runtime, room)
        theirs = {a.name for a in aims} | {n.output.name or "" for n in self._norms.values()}
        self._teacher = Stream(teacher, runs, theirs | self._recurrent.teacher_reads(), ctx.runtime, room)

    def findings(self, allowed: set[str]) -> Iterator[Finding]:
        """Refit node by node; `allowed` holds the labels of the nodes that may be touched."""
        try:
            yield from self._each(allowed)
        finally:
            self._student.close()
            self._teacher.close()

    def _each(self, allowed: set[str]) -> Iterator[Finding]:
        cells = self._recurrent.cells
        todo = [(i, n, f) for i, (n, f) in enumerate(self._linears) if f or i in cells or i in self._norms]
        for done, (index, node, found) in enumerate(todo):
            self._ctx.progress("reconstruct", done, len(todo))
            name = graph.label(node)
            if name not in allowed:
                continue
            if index in cells:
                self._student.advance_before(index)
                yield self._recurrent.refit(index, self._student, self._teacher, self._runs)
            elif index in self._norms:
                yield self._rescale(index, self._norms[index], name)
            elif isinstance(found, str):
                yield Finding("RECONSTRUCT-SKIPPED", f"left as it is: {found}", name)
            else:
                yield self._refit(found, name)

    def _refit(self, linear: Linear, name: str) -> Finding:
        plan = choose_plan(linear.shape(), self._rows, self._ctx.memory_bytes)
        if plan is None:
            return self._rescale(linear.index, linear, name)
        self._reach(linear)
        problem: Problem | str = "the teacher has no tensor to fit it to"
        for aim in self._aims(linear):
            problem = self._collect(linear, aim, Problem(linear, plan))
            if isinstance(problem, Problem):
                break
        self._teacher.drop(a.name for a in self._aims(linear))
        if isinstance(problem, str):
            return Finding("RECONSTRUCT-NO-TARGET", f"left as it is: {problem}", name)
        return self._solve(linear, problem, name)

    def _rescale(self, index: int, what: Linear | Norm, name: str) -> Finding:
        """One scale and shift a channel: for norms, and where a layer's inputs exceed the memory ceiling."""
        made = what.output.name or ""
        if made not in self._order:
            return Finding("RECONSTRUCT-NO-TARGET", "left as it is: the teacher has no tensor to fit it to", name)
        self._teacher.advance_before(self._order[made] + 1)
        rows: list[list[np.ndarray]] = [[], [], []]
        for run, y in enumerate(self._student.peek(index, self._made[made] + 1, made)):
            axis = what.channel_axis if isinstance(what, Linear) else what.axis_of(y.ndim)
            t = self._target(run, Aim(made), axis)
            if isinstance(t, str) or t.shape != y.shape or not (np.isfinite(t).all() and np.isfinite(y).all()):
                why = t if isinstance(t, str) else "the teacher's tensor has other channels, or holds NaN"
                return Finding("RECONSTRUCT-NO-TARGET", f"left as it is: {why}", name)
            flat = [np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis]) for a in (y, t)]
            generator = np.random.Generator(np.random.PCG64([self._ctx.seed, index, run]))
            at = choose(len(flat[0]), max(self._rows // self._runs, 1), generator)
            for into, part in zip(rows, (flat[0][at], flat[1][at], np.full(len(at), run % FOLDS)), strict=True):
                into.append(part)
        self._teacher.drop([made])
        found = fit_affine(*(np.concatenate(part) for part in rows))
        if found.after < found.before:
            what.store(found) if isinstance(what, Norm) else store_linear(what, found)
        numbers = {"error_before": found.before, "error_after": found.after, "form": "scale and shift"}
        return Finding("RECONSTRUCT-RESCALED", "each channel got a scale and a shift", name, numbers=numbers)

    def _solve(self, linear: Linear, problem: Problem, name: str) -> Finding:
        weight, found = problem.solve()
        power = max(problem.power, 1e-30)
        before, after = float(found.before.sum()) / power, float(found.after.sum()) / power
        if weight is not None and before > _NOTHING_TO_GAIN:
            linear.store(weight)
        numbers = {
            "error_before": before,
            "error_after": after,
            "form": problem.plan.form,
            "ridge": found.ridge,
            "rounds": found.rounds,
        }
        return Finding("RECONSTRUCT-REFITTED", "weights refitted to the teacher's output", name, numbers=numbers)

    def _reach(self, linear: Linear) -> None:
        """Advance the student until the node's input and shortcut are there; nodes side by side share a stop."""
        shortcuts = {a.bound_minus for a in self._aims(linear)}
        needs = {linear.source} | {n for n in shortcuts if self._made.get(n, linear.index) < linear.index}
        if not all(self._student.has(n) for n in needs):
            self._student.advance_before(linear.index)

    def _collect(self, linear: Linear, aim: Aim, problem: Problem) -> Problem | str:
        """The problem with its rows, or what does not fit."""
        self._teacher.advance_before(self._order[aim.name] + 1)
        for run in range(self._runs):
            x, y = self._student.value(run, linear.source), self._target(run, aim, linear.channel_axis)
            if isinstance(y, str):
                return y
            if x is None:
                return "its input does not depend on the data"
            if not _fits(linear, x, y):
                return "the teacher's tensor has other channels and it is not known which were kept"
            if not (np.isfinite(x).all() and np.isfinite(y).all()):
                return "its input or target holds NaN or infinity"
            generator = np.random.Generator(np.random.PCG64([self._ctx.seed, linear.index, run]))
            at = choose(linear.positions(y.shape), max(problem.plan.rows // self._runs, 1), generator)
            problem.add(x, y, self._bounds(run, aim, linear), at, run % FOLDS)
        return problem if problem.folds > 1 else "there are too few samples"

    def _target(self, run: int, aim: Aim, axis: int) -> np.ndarray | str:
        whole = self._teacher.value(run, aim.name)
        if whole is None:
            return "its target does not depend on the data"
        for cut, indices in self._kept.get(aim.name, {}).items():
            if max(indices, default=-1) >= whole.shape[int(cut)]:
                return "the teacher's tensor is smaller than what was kept of it"
            whole = np.take(whole, indices, axis=int(cut))
        shortcut = self._student.value(run, aim.minus) if aim.minus else None
        if aim.minus and (shortcut is None or shortcut.shape != whole.shape):
            return "what is added to it is not there yet"
        return aim.target(whole, shortcut, axis)

    def _bounds(self, run: int, aim: Aim, linear: Linear) -> tuple[np.ndarray | None, np.ndarray | None]:
        shortcut = self._student.value(run, aim.bound_minus) if aim.bound_minus else None
        if aim.bound_minus and shortcut is None:
            return None, None
        return aim.bounds(shortcut, linear.channel_axis)

    def _aims(self, linear: Linear) -> list[Aim]:
        return self._all_aims[linear.index]


def _fits(linear: Linear, x: np.ndarray, y: np.ndarray) -> bool:
    groups, _, outputs = linear.shape()
    wide = y.ndim >= -linear.channel_axis and y.shape[linear.channel_axis] == groups * outputs
    return wide and linear.count(x.shape) == linear.positions(y.shape)
