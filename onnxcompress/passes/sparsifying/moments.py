"""Second moments of each layer's input, layer by layer, as the weights before it have become.

Two copies of the model run side by side on the same samples: the one that is being pruned gives the input of a layer,
the one as it was gives the output that the layer should have. Every fifth batch takes no part in the fit and judges it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.base import Context
from onnxcompress.passes.reconstruction.linear import Linear
from onnxcompress.passes.reconstruction.patches import choose
from onnxcompress.passes.reconstruction.solve import Normal
from onnxcompress.passes.reconstruction.stream import Run, Stream

_HELD_OUT_EVERY = 5
_CHUNK_BYTES = 1 << 26

Add = Callable[[np.ndarray, np.ndarray, bool], None]
"""Takes rows (g, n, c), their targets (g, n, r), and whether they only judge."""


@dataclass
class Moments:
    """Sums over the rows that fit, and the rows that judge; the same rows where there is only one batch.

    Attributes:
        train: The normal equations.
        judges: Rows (g, n, c) and targets (g, n, r), float32.
    """

    train: Normal
    judges: list[tuple[np.ndarray, np.ndarray]]

    def error(self, weight: np.ndarray) -> float:
        """Squared error of weights (g, c, r) on the rows that judge, relative to their targets' power."""
        off = sum(float(np.square(rows @ weight - targets).sum()) for rows, targets in self.judges)
        power = sum(float(np.square(targets, dtype=np.float64).sum()) for _, targets in self.judges)
        return off / max(power, 1e-30)


class Walk:
    """Both copies, and how far they have run.

    Args:
        model: The model whose weights are being pruned; edited ahead of the walk only.
        linears: The layers that will be asked for, in order.
        runs: Batches of inputs.
        rows: Most rows of one layer, all batches together.
        ctx: Seed and runtime.
    """

    def __init__(
        self, model: ir.Model, linears: Sequence[Linear], runs: Sequence[Run], rows: int, ctx: Context
    ) -> None:
        self._seed, self._count = ctx.seed, len(runs)
        self._rows_a_run = max(rows // len(runs), 1)
        teacher = graph.clone(model)
        self._made = {v.name: i for i, n in enumerate(teacher.graph) for v in n.outputs}
        self._student = Stream(model, runs, (), ctx.runtime)
        self._teacher = Stream(teacher, runs, {linear.output.name or "" for linear in linears}, ctx.runtime)

    def moments(self, linear: Linear) -> Moments | str:
        """Gram matrices of the layer, or why there are none."""
        found = Moments(Normal(*linear.matrix().shape), [])

        def add(rows: np.ndarray, targets: np.ndarray, judges: bool) -> None:
            if not judges or self._count == 1:
                found.train.add(rows, targets)
            if judges or self._count == 1:
                found.judges.append((rows.astype(np.float32), targets.astype(np.float32)))

        return self.rows(linear, add) or found

    def squares(self, linear: Linear) -> np.ndarray | str:
        """Mean square of each column, shape (g, c): the diagonal alone, for layers that are too large."""
        groups, columns, _ = linear.matrix().shape
        total, count = np.zeros((groups, columns)), 0

        def add(rows: np.ndarray, targets: np.ndarray, judges: bool) -> None:
            nonlocal total, count
            total += np.einsum("gnc,gnc->gc", rows, rows, dtype=np.float64)
            count += rows.shape[1]

        return self.rows(linear, add) or total / max(count, 1)

    def rows(self, linear: Linear, add: Add) -> str:
        """Give `add` the layer's rows, a chunk at a time; returns why there are none, else nothing."""
        name = linear.output.name or ""
        self._student.advance_before(linear.index)
        self._teacher.advance_before(self._made[name] + 1)
        pairs = [(self._student.value(i, linear.source), self._teacher.value(i, name)) for i in range(self._count)]
        self._teacher.drop([name])
        if any(x is None or y is None for x, y in pairs):
            return "its input does not depend on the data"
        if not all(np.isfinite(v).all() for pair in pairs for v in pair if v is not None):
            return "its input or output holds NaN or infinity"
        for run, (x, y) in enumerate(pairs):
            assert x is not None and y is not None  # noqa: PT018
            self._add(linear, run, x, y, add)
        return ""

    def _add(self, linear: Linear, run: int, x: np.ndarray, y: np.ndarray, add: Add) -> None:
        generator = np.random.Generator(np.random.PCG64([self._seed, linear.index, run]))
        positions = choose(linear.positions(y.shape), self._rows_a_run, generator)
        groups, columns, _ = linear.matrix().shape
        chunk = max(_CHUNK_BYTES // (8 * groups * columns), 1)
        for start in range(0, len(positions), chunk):
            part = positions[start : start + chunk]
            add(linear.rows(x, part), linear.targets(y, part), self._judges(run))

    def _judges(self, run: int) -> bool:
        last = self._count - 1
        return run % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1 or (0 < run == last < _HELD_OUT_EVERY - 1)
