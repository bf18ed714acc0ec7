"""The quantized model and its float teacher, side by side on the same samples, layer by layer.

One batch in five takes no part in any fit and judges it; with fewer than five batches, the last one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.errors import ModelError
from onnxcompress.passes.quantization.rounding.slots import QuantizedSlot, quantized_or_plain
from onnxcompress.passes.reconstruction.aims import Aim, aims_of
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.linear import linear_of
from onnxcompress.passes.reconstruction.naming import with_names_of
from onnxcompress.passes.reconstruction.stream import Run, Stream
from onnxcompress.runtime import one_thread
from onnxcompress.runtime.source import feeds_of

if TYPE_CHECKING:
    from onnxcompress.data import DataSource
    from onnxcompress.passes.base import Context

_HELD_OUT_EVERY = 5
_BATCH = 32
_RUNS = 10

Bounds = tuple[np.ndarray | None, np.ndarray | None]


@dataclass(frozen=True)
class Side:
    """What one batch gives a layer.

    Attributes:
        x: The layer's input in the student.
        target: What its output should be, by the teacher.
        bounds: Below and above what an output makes no difference.
        judges: The batch takes no part in the fit.
    """

    x: np.ndarray
    target: np.ndarray
    bounds: Bounds
    judges: bool


def layers_of(model: ir.Model) -> list[Linear | tuple[ir.Node, str]]:
    """The multiplying nodes of the main graph in order; with the reason where one is none by a constant."""
    found: list[Linear | tuple[ir.Node, str]] = []
    for index, node in enumerate(model.graph):
        linear = linear_of(node, index, shared=True, reader=quantized_or_plain)
        if linear:
            found.append((node, linear) if isinstance(linear, str) else linear)
    return found


def is_quantized(linear: Linear) -> bool:
    """Whether the layer's weight is stored as integers."""
    return isinstance(linear.kernel, QuantizedSlot)


def named_teacher(student: ir.Model, teacher: ir.Model) -> ir.Model:
    """The teacher with the student's names.

    Raises:
        ModelError: Where it is quantized itself, or takes other inputs.
    """
    copy = with_names_of(student, teacher)
    own = [layer for layer in layers_of(copy) if isinstance(layer, Linear) and is_quantized(layer)]
    if own:
        raise ModelError(
            "cannot refine the quantized model",
            where=f"the teacher's node {graph.label(own[0].node)}",
            why="its weight is quantized too, so it cannot say what the float model does",
            hint="Give the float model that the quantized one was made from as --teacher.",
            code="MODEL-TEACHER-QUANTIZED",
        )
    return copy


def runs_of(model: ir.Model, samples: DataSource) -> list[Run]:
    """The samples as inputs of at least ten runs where there are so many."""
    batch = max(1, min(_BATCH, len(samples) // _RUNS))
    return [feeds.arrays for feeds in feeds_of(model, samples, batch=batch)]


def judges(run: int, count: int) -> bool:
    """Whether a batch takes no part in the fit."""
    return run % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1 or (0 < run == count - 1 < _HELD_OUT_EVERY - 1)


class Twins:
    """Both models and how far they have run.

    Args:
        student: The quantized model; constants ahead of the walk may be edited.
        teacher: The float model, with the student's names.
        layers: The layers that will be asked for, in order.
        runs: Batches of inputs.
        ctx: Runtime and memory ceiling, of which the two share a half.
    """

    def __init__(
        self, student: ir.Model, teacher: ir.Model, layers: Sequence[Linear], runs: Sequence[Run], ctx: Context
    ) -> None:
        order = {v.name or "": i for i, n in enumerate(teacher.graph) for v in n.outputs}
        self._order, self._count = order, len(runs)
        self._made = {v.name or "": i for i, n in enumerate(student.graph) for v in n.outputs}
        self._aims = {layer.index: aims_of(layer, order) for layer in layers}
        every = [aim for aims in self._aims.values() for aim in aims]
        options = one_thread(ctx.runtime)
        minus = {n for aim in every for n in (aim.minus, aim.bound_minus) if n}
        room = ctx.memory_bytes // 4
        self._student = Stream(student, runs, minus, options, room)
        self._teacher = Stream(teacher, runs, {aim.name for aim in every}, options, room)

    def close(self) -> None:
        """Forget every tensor."""
        self._student.close()
        self._teacher.close()

    def reach(self, layer: Linear) -> Aim | str:
        """Run both models up to the layer; its target, or why there is none."""
        shortcuts = {aim.bound_minus for aim in self._aims[layer.index]}
        needs = {layer.source} | {n for n in shortcuts if self._made.get(n, layer.index) < layer.index}
        if not all(self._student.has(n) for n in needs):
            self._student.advance_before(layer.index)
        why = "the teacher has no tensor of its output's name"
        for aim in self._aims[layer.index]:
            self._teacher.advance_before(self._order[aim.name] + 1)
            why = self._fault(layer, aim)
            if not why:
                return aim
        return why

    def sides(self, layer: Linear, aim: Aim) -> Iterator[Side]:
        """What each batch gives the layer."""
        for run in range(self._count):
            x = self._student.value(run, layer.source)
            assert x is not None
            yield Side(x, self._target(layer, aim, run), self._bounds(layer, aim, run), judges(run, self._count))

    def outputs(self, layer: Linear) -> Iterator[np.ndarray]:
        """The layer's output in the student, each batch."""
        name = layer.output.name or ""
        yield from self._student.peek(layer.index, self._made[name] + 1, name)

    def leave(self, layer: Linear) -> None:
        """The layer's targets are no longer needed."""
        self._teacher.drop(aim.name for aim in self._aims[layer.index])

    def _fault(self, layer: Linear, aim: Aim) -> str:
        """Why a target does not fit; empty where it does."""
        for run in range(self._count):
            x, whole = self._student.value(run, layer.source), self._teacher.value(run, aim.name)
            if x is None or whole is None:
                return "its input or target does not depend on the data"
            shortcut = self._student.value(run, aim.minus) if aim.minus else None
            if aim.minus and (shortcut is None or shortcut.shape != whole.shape):
                return "what is added to it is not there yet"
            if not _fits(layer, x, whole):
                return "the teacher's tensor of that name has another shape"
            if not (np.isfinite(x).all() and np.isfinite(whole).all()):
                return "its input or target holds NaN or infinity"
        return ""

    def _target(self, layer: Linear, aim: Aim, run: int) -> np.ndarray:
        whole = self._teacher.value(run, aim.name)
        assert whole is not None
        return aim.target(whole, self._student.value(run, aim.minus) if aim.minus else None, layer.channel_axis)

    def _bounds(self, layer: Linear, aim: Aim, run: int) -> Bounds:
        shortcut = self._student.value(run, aim.bound_minus) if aim.bound_minus else None
        return (None, None) if aim.bound_minus and shortcut is None else aim.bounds(shortcut, layer.channel_axis)


def _fits(layer: Linear, x: np.ndarray, y: np.ndarray) -> bool:
    groups, _, outputs = layer.shape()
    wide = y.ndim >= -layer.channel_axis and y.shape[layer.channel_axis] == groups * outputs
    return wide and layer.count(x.shape) == layer.positions(y.shape)
