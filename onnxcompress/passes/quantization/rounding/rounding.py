"""Second-order weight rounding: integers that, together and with the bias, give the teacher's outputs.

Layer by layer in topological order, the student's input as all earlier layers have become (quantized activations
included), the teacher's output as target (its sum after a residual Add less the student's shortcut, where there is
one): see `quadratic` for the problem and `nearest_plane` for its integers. The strength of the pull towards the float
weights is chosen by the error on batches that took no part; a layer that does not gain there keeps its integers.
Layers with float weights get their mean right (`correction`).

The sums are numpy's, by its BLAS: their last bits, and with them a tie between two integers, may depend on how many
threads that uses. ONNX Runtime's part runs at one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import label
from onnxcompress.passes.quantization.rounding.bias_writing import write_bias
from onnxcompress.passes.quantization.rounding.correction import correct_layer
from onnxcompress.passes.quantization.rounding.journal import Journal
from onnxcompress.passes.quantization.rounding.layer_rounding import Task
from onnxcompress.passes.quantization.rounding.rows import Part, gather
from onnxcompress.passes.quantization.rounding.twins import Twins, is_quantized
from onnxcompress.passes.quantization.rounding.walk import Way, walk
from onnxcompress.passes.quantization.rounding.weight_writing import (
    least_scales,
    levels_of,
    write_integers,
    write_scales,
)
from onnxcompress.passes.reconstruction.aims import Aim
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.linear import linear_of
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.data import DataSource
    from onnxcompress.passes.base import Context

_ROWS = 40_000


def round_weights(
    model: ir.Model, teacher: ir.Model, samples: DataSource, ctx: Context, *, rescale: bool = False
) -> list[Finding]:
    """Choose the integers of every weight anew, layer after layer, and the biases with them.

    Args:
        model: The quantized model; integers of weights, and biases, are edited in place.
        teacher: The float model; tensors are matched by name.
        samples: What to run; labels are not used. A few hundred are enough.
        ctx: Scope, target (whether new biases are int32), seed, runtime, memory ceiling, progress.
        rescale: Weight scales may change too, where each output has one of its own; that of an int32 bias follows.

    Returns:
        One finding a layer, and one for the whole: it is undone where the outputs did not come closer to the
        teacher's on batches that took no part.

    Raises:
        ModelError: Where the teacher is quantized itself or takes other inputs.
    """

    def each(way: Way) -> Iterator[Finding]:
        rounding = _Rounding(way.twins, way.teacher, way.journal, ctx, rescale=rescale)
        return rounding.findings(way.layers, way.runs)

    return walk(model, teacher, samples, ctx, "ROUND", each)


class _Rounding:
    """The walk's state."""

    def __init__(self, twins: Twins, teacher: ir.Model, journal: Journal, ctx: Context, *, rescale: bool) -> None:
        self._twins, self._journal, self._ctx, self._rescale = twins, journal, ctx, rescale
        self._makers = {v.name: (i, n) for i, n in enumerate(teacher.graph) for v in n.outputs}

    def findings(self, layers: list[Linear], runs: int) -> Iterator[Finding]:
        for done, layer in enumerate(layers):
            self._ctx.progress("round weights", done, len(layers))
            name = label(layer.node)
            aim = self._twins.reach(layer)
            if isinstance(aim, str):
                yield Finding("ROUND-NO-TARGET", f"left as it is: {aim}", name)
            elif not is_quantized(layer) or layer.kernel.shared:
                yield self._bias_alone(layer, aim, name)
            else:
                fit, judge = gather(layer, self._twins.sides(layer, aim), runs, self._most_rows(layer), self._ctx.seed)
                yield self._round(layer, fit, judge, name)
            self._twins.leave(layer)

    def _bias_alone(self, layer: Linear, aim: Aim, name: str) -> Finding:
        if layer.takes_bias:
            return correct_layer(self._twins, layer, aim, self._journal, integer=self._integer)
        why = "several nodes read its weight" if is_quantized(layer) else "its weight is float"
        return Finding("ROUND-SKIPPED", f"left as it is: {why}, and it adds no bias", name)

    def _round(self, layer: Linear, fit: Part, judge: Part, name: str) -> Finding:
        levels, current = levels_of(layer), layer.matrix()
        least = least_scales(layer, levels) if self._rescale else None
        start = self._start(layer, fit, current)
        memory = self._ctx.memory_bytes // 2
        choice = Task(fit, judge, current, start, levels, layer.takes_bias, least, memory).choose()
        numbers = {"error_before": choice.before, "error_after": choice.after, "ridge": choice.ridge}
        numbers |= {"blocks": choice.blocks} if choice.blocks > 1 else {}
        if choice.numbers is None:
            return Finding("ROUND-KEPT", "its integers are as good as any that were found", name, numbers=numbers)
        if least is not None:
            write_scales(layer, choice.levels, self._journal)
        write_integers(layer, choice.numbers, self._journal)
        if choice.bias is not None:
            write_bias(layer, choice.bias, self._journal, integer=self._integer)
        return Finding("ROUND-ROUNDED", "weights rounded to the teacher's output", name, numbers=numbers)

    def _start(self, layer: Linear, fit: Part, current: np.ndarray) -> np.ndarray:
        """The teacher's weights, or the present ones where those are nearer: the teacher's may stand before a norm."""
        index, twin = self._makers.get(layer.node.outputs[0].name, (0, None))
        linear = "" if twin is None else linear_of(twin, index, shared=True)
        if not isinstance(linear, Linear) or linear.matrix().shape != current.shape:
            return current
        return min((linear.matrix(), current), key=fit.loss)

    def _most_rows(self, layer: Linear) -> int:
        """As many rows as fit under half of the memory ceiling, twice: in pieces and joined."""
        groups, columns, outputs = layer.shape()
        room = self._ctx.memory_bytes // 2 // (8 * groups * (columns + 3 * outputs))
        return max(min(_ROWS, room), 1)

    @property
    def _integer(self) -> bool:
        return self._ctx.target.bias == "int32"
