"""The rows of one layer: windows of its input in the student, and the outputs that they should give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from onnxcompress.passes.quantization.rounding.twins import Side
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.patches import choose


@dataclass(frozen=True)
class Part:
    """Some of the rows.

    Attributes:
        p: Shape (groups, n, columns), float32; a column of ones at the end where the layer takes a bias.
        y: Targets, shape (groups, n, outputs), float32.
        low: Outputs below it are all the same; None where they are not.
        high: The same above.
    """

    p: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    @property
    def clipped(self) -> bool:
        """Whether an activation with a flat part follows."""
        return self.low is not None or self.high is not None

    def outputs(self, weight: np.ndarray) -> np.ndarray:
        """What weights (groups, columns, outputs) give."""
        return self.p @ weight.astype(np.float32)

    def loss(self, weight: np.ndarray) -> float:
        """Squared error behind the clip that follows, summed over all rows and outputs."""
        off = self._seen(self.outputs(weight)) - self._seen(self.y)
        return float(np.square(off, dtype=np.float64).sum())

    def reachable(self, weight: np.ndarray) -> np.ndarray:
        """Targets that beyond the clip ask for nothing that `weight` lacks (majoriser of `reconstruction.solve`)."""
        y, t = self.outputs(weight), self.y
        if self.low is not None:
            t = np.where(self.y <= self.low, np.minimum(y, self.low), t)
        if self.high is not None:
            t = np.where(self.y >= self.high, np.maximum(y, self.high), t)
        return t

    def columns(self, chosen: np.ndarray, others: np.ndarray) -> Part:
        """The rows of the columns `chosen`, where the outputs that the other columns give are `others`."""
        ends = (None if b is None else b - others for b in (self.low, self.high))
        return Part(self.p[:, :, chosen], self.y - others, *ends)

    def _seen(self, y: np.ndarray) -> np.ndarray:
        y = y if self.low is None else np.maximum(y, self.low)
        return y if self.high is None else np.minimum(y, self.high)


def gather(layer: Linear, sides: Iterable[Side], runs: int, rows: int, seed: int) -> tuple[Part, Part]:
    """The rows that fit and the rows that judge.

    Args:
        layer: The layer.
        sides: What each of its `runs` batches gives.
        runs: Number of batches.
        rows: Most rows in all.
        seed: Of the choice of rows.
    """
    fit: list[Part] = []
    judge: list[Part] = []
    for run, side in enumerate(sides):
        generator = np.random.Generator(np.random.PCG64([seed, layer.index, run]))
        at = choose(layer.positions(side.target.shape), max(rows // runs, 1), generator)
        (judge if side.judges else fit).append(_picked(layer, side, at))
    return _joined(fit), _joined(judge)


def _picked(layer: Linear, side: Side, at: np.ndarray) -> Part:
    shape = side.target.shape
    part = Part(layer.rows(side.x, at).astype(np.float32), layer.targets(side.target, at).astype(np.float32))
    ends = [None if b is None else layer.targets(np.broadcast_to(b, shape), at) for b in side.bounds]
    low, high = (None if end is None else end.astype(np.float32) for end in ends)
    return replace(part, low=low, high=high)


def _joined(parts: list[Part]) -> Part:
    """One part of all; a bound that one of them lacks is no bound."""
    columns = [[getattr(part, name) for part in parts] for name in ("p", "y", "low", "high")]
    p, y, low, high = (None if any(a is None for a in c) else np.concatenate(c, axis=1) for c in columns)
    assert p is not None and y is not None  # noqa: PT018
    return Part(p, y, low, high)
