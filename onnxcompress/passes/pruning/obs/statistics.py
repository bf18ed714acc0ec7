"""Second moments of every reader's rows over seeded samples, in bounded memory.

For each reader: G = sum of p p^T over its rows p, their sum m, and their number n; then

    A = G / n + ridge * mean(diag(G / n)) I,
    variance of what it feeds = sum over outputs of (w^T G w / n - (w^T m / n)^2),

or, where it feeds a residual sum, the variance of that sum at the same samples. Sums are float64 and are added in the
order of the samples; rows are drawn by a generator of (seed, reader, run), so that the same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.pruning.obs.readers import Reader
from onnxcompress.passes.reconstruction.patches import choose
from onnxcompress.runtime import Session, runnable_part
from onnxcompress.runtime.source import feeds_of

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

SAMPLES = 512
RIDGE = 1e-3
_LEAST_ROWS, _MOST_ROWS, _ROWS_A_COLUMN = 4096, 60_000, 16
_RUN_ELEMENTS = 1 << 25
_TINY = 1e-12


class Moments:
    """Running sums of one reader.

    Args:
        reader: The reader.
    """

    def __init__(self, reader: Reader) -> None:
        groups, columns = reader.roots.shape
        self.gram = np.zeros((groups, columns, columns))
        self.total = np.zeros((groups, columns))
        self.rows = 0
        self._fed = _Spread()
        self._reader = reader

    def add(self, rows: np.ndarray, fed: np.ndarray | None) -> None:
        """Add rows (groups, n, columns), and the tensor that the reader feeds where it is not its own output."""
        for at, part in enumerate(rows):
            wide = part.astype(np.float64)
            self.gram[at] += wide.T @ wide
            self.total[at] += wide.sum(axis=0)
        self.rows += rows.shape[1]
        if fed is not None:
            self._fed.add(fed)

    def hessian(self) -> np.ndarray:
        """A, shape (groups, columns, columns)."""
        scaled = self.gram / max(self.rows, 1)
        level = np.trace(scaled, axis1=1, axis2=2) / max(scaled.shape[1], 1)
        at = np.arange(scaled.shape[1])
        scaled[:, at, at] += np.maximum(RIDGE * level, _TINY)[:, None]
        return scaled

    def variance(self) -> float:
        """Variance of what the reader feeds, summed over its channels."""
        if self._reader.feeds and self._fed.count:
            return max(self._fed.variance(), _TINY)
        weight, n = self._reader.weight, max(self.rows, 1)
        power = np.einsum("gio,gij,gjo->", weight, self.gram / n, weight, optimize=True)
        mean = np.einsum("gi,gio->go", self.total / n, weight)
        return max(float(power - np.square(mean).sum()), _TINY)


class _Spread:
    """Mean and variance of a channel-first or channel-last tensor, all channels summed; shifts by the first run."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = np.zeros(1)
        self._square = 0.0

    def add(self, x: np.ndarray) -> None:
        flat = (np.moveaxis(x, 1, -1) if x.ndim > 3 else x).reshape(-1, x.shape[1] if x.ndim > 3 else x.shape[-1])
        wide = flat.astype(np.float64)
        self._sum = self._sum + wide.sum(axis=0)
        self._square += float(np.einsum("ij,ij->", wide, wide))
        self.count += len(wide)

    def variance(self) -> float:
        mean = self._sum / self.count
        return self._square / self.count - float(np.square(mean).sum())


def measure(model: ir.Model, readers: Sequence[tuple[int, Reader]], ctx: Context) -> Iterator[tuple[int, Moments]]:
    """The moments of each (index, reader), from one walk over the samples.

    Args:
        model: The whole model, before anything is cut.
        readers: With the index that seeds the draw of rows.
        ctx: Data, seed, runtime.
    """
    part, _ = runnable_part(model, ctx.runtime)
    available = {v.name for node in part.graph for v in node.outputs} | {v.name for v in part.graph.inputs}
    able = [(i, r) for i, r in readers if set(r.sources) <= available]
    names = sorted({name for _, r in able for name in (*r.sources, r.feeds) if name in available})
    inputs = {v.name for v in part.graph.inputs}
    session = Session(part, ctx.runtime, taps=[n for n in names if n not in inputs])
    moments = {i: Moments(r) for i, r in able}
    runs = list(_feeds(part, ctx))
    for at, feeds in enumerate(runs):
        arrays = {**feeds, **session.run(feeds, [n for n in names if n not in inputs])}
        for i, reader in able:
            _add(moments[i], reader, arrays, (ctx.seed, i, at), len(runs))
    yield from moments.items()


def _add(
    into: Moments, reader: Reader, arrays: Mapping[str, np.ndarray], draw: tuple[int, int, int], runs: int
) -> None:
    if not all(np.isfinite(arrays[name]).all() for name in reader.sources):
        return
    columns = reader.roots.shape[1]
    wanted = min(max(_LEAST_ROWS, _ROWS_A_COLUMN * columns), _MOST_ROWS) // runs
    generator = np.random.Generator(np.random.PCG64(list(draw)))
    positions = choose(reader.view.count(arrays), max(1, wanted), generator)
    into.add(reader.view.rows(arrays, positions), arrays.get(reader.feeds))


def _feeds(model: ir.Model, ctx: Context) -> Iterator[dict[str, np.ndarray]]:
    assert ctx.data is not None
    count = min(len(ctx.data), SAMPLES)
    order = np.random.Generator(np.random.PCG64(ctx.seed)).permutation(len(ctx.data))[:count]
    for feeds in feeds_of(model, ctx.data.subset(np.sort(order)), batch=16):
        yield feeds.arrays
