"""One layer: integers from its rows, the pull towards the float weights chosen by rows that took no part.

A layer whose Gram matrix would not fit under the memory ceiling is solved a block of columns at a time, the others held
as they are then; its scales stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from onnxcompress.passes.quantization.rounding.nearest_plane import Levels
from onnxcompress.passes.quantization.rounding.quadratic import Equations, Quadratic
from onnxcompress.passes.quantization.rounding.rescaling import Rounded, rescaled, rounded
from onnxcompress.passes.quantization.rounding.rows import Part

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
_GRAMS = 6  # matrices of the Gram matrix' size that are there at once
_REVISIONS = 2
_SWEEPS = 3


@dataclass(frozen=True)
class Choice:
    """A layer rounded.

    Attributes:
        numbers: Integers in the form of `Linear.to_matrix`; None where none were better than those that are there.
        levels: Their grid.
        bias: One number for each output; None where the layer takes none.
        before: Squared error on the rows that judge, relative to their targets' power.
        after: The same with the new integers.
        ridge: The ridge that won; 0 for none.
        blocks: In how many blocks of columns the layer was solved.
    """

    numbers: np.ndarray | None
    levels: Levels
    bias: np.ndarray | None
    before: float
    after: float
    ridge: float
    blocks: int


@dataclass(frozen=True)
class Task:
    """What a layer is rounded from.

    Attributes:
        fit: Rows to fit.
        judge: Rows that judge.
        current: Its weights as they are, bias column last where it takes one.
        start: The float weights to stay near to, in the same form.
        levels: The grid.
        free: Whether it takes a bias.
        least: Smallest scales allowed where scales may change; None where they may not.
        memory: Bytes for Gram matrices.
    """

    fit: Part
    judge: Part
    current: np.ndarray
    start: np.ndarray
    levels: Levels
    free: bool
    least: np.ndarray | None = None
    memory: int = 1 << 29

    def choose(self) -> Choice:
        """The best integers by the rows that judge."""
        blocks = self._blocks()
        was = least = self.judge.loss(self.current)
        power = max(float(np.square(self.judge.y, dtype=np.float64).sum()), 1e-30)
        best: tuple[Rounded | None, np.ndarray, float] = (None, self.current, 0.0)
        for ridge, found, whole in self._candidates(blocks):
            loss = self.judge.loss(whole)
            if loss < least:
                best, least = (found, whole, ridge), loss
        found, whole, ridge = best
        numbers, levels = (None, self.levels) if found is None else (found.numbers, found.levels)
        bias = whole[:, -1].reshape(-1) if self.free else None
        return Choice(numbers, levels, bias, was / power, least / power, ridge, len(blocks))

    def _candidates(self, blocks: list[np.ndarray]) -> Iterator[tuple[float, Rounded, np.ndarray]]:
        """For each ridge the rounded weights, and with their bias as last column."""
        if len(blocks) > 1:
            yield from ((ridge, *self._in_blocks(blocks, ridge)) for ridge in _RIDGES[1:])
            return
        equations = Equations(self.fit, self.start, free=self.free)
        for ridge in _RIDGES:
            problem = equations.quadratic(ridge, revisions=_REVISIONS)
            found = self._rounded(problem)
            yield ridge, found, problem.with_bias(found.weight)

    def _rounded(self, problem: Quadratic) -> Rounded:
        if self.least is None:
            return rounded(problem, self.levels, _SWEEPS)
        return rescaled(problem, self.levels, self.least, _SWEEPS)

    def _blocks(self) -> list[np.ndarray]:
        """The weights' columns in blocks whose Gram matrices fit under the ceiling."""
        groups, columns = self.levels.scale.shape[:2]
        widest = max(int((self.memory / (8 * _GRAMS * groups)) ** 0.5), 1)
        return np.array_split(np.arange(columns), -(-columns // widest))

    def _in_blocks(self, blocks: list[np.ndarray], ridge: float) -> tuple[Rounded, np.ndarray]:
        """Block after block, each with the bias, the outputs of the other columns held."""
        whole = self.start.copy()
        numbers = np.zeros_like(self.levels.scale)
        last = [whole.shape[1] - 1] if self.free else []
        for block in blocks:
            own = np.array([*block, *last])
            others = np.setdiff1d(np.arange(whole.shape[1]), own)
            rest = self.fit.p[:, :, others] @ whole[:, others].astype(np.float32)
            problem = Equations(self.fit.columns(own, rest), whole[:, own], free=self.free).quadratic(ridge)
            found = rounded(problem, self.levels.part(block), _SWEEPS)
            numbers[:, block] = found.numbers
            whole[:, own] = problem.with_bias(found.weight)
        return Rounded(numbers, self.levels, np.zeros((len(numbers), numbers.shape[2]))), whole
