"""Second moments of every reader's rows over seeded samples, in bounded memory.

For each reader: G = sum of p p^T over its rows p, their sum m, and their number n; then

    A = G / n + ridge * mean(diag(G / n)) I,
    variance of what it feeds = sum over outputs of (w^T G w / n - (w^T m / n)^2),

the ridge chosen by the error on the runs held out (one in four); where the reader feeds a residual sum, the variance is
that sum's. Sums are float64 and are added in the order of the samples; rows are drawn by a generator of (seed, reader,
run), so that the same seed gives the same bytes. From 1,024 columns on, where it decides how long a prune takes, rows
are multiplied as float32, some thousand at a time: what rounding adds is a hundredth of the least ridge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.passes.pruning.obs.readers import Reader
from onnxcompress.passes.pruning.trace import Trace
from onnxcompress.passes.reconstruction.patches import choose
from onnxcompress.runtime import Session, runnable_part
from onnxcompress.runtime.leading import leading_to
from onnxcompress.runtime.source import feeds_of

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

SAMPLES = 512
RIDGE, RIDGES = 1e-3, (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_HELD_OUT_EVERY = 4
_LEAST_ROWS, _MOST_ROWS, _ROWS_A_COLUMN = 4096, 60_000, 16
_WIDE, _TOGETHER = 1024, 4096
_RUN_ELEMENTS = 1 << 24
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
        self._fed = _Spread(reader.axis)
        self._reader = reader
        self._wide = columns >= _WIDE
        self._waiting: list[np.ndarray] = []

    def add(self, rows: np.ndarray, fed: np.ndarray | None) -> None:
        """Add rows (groups, n, columns), and the tensor that the reader feeds where it is not its own output."""
        self._waiting.append(rows)
        self.rows += rows.shape[1]
        if not self._wide or sum(part.shape[1] for part in self._waiting) >= _TOGETHER:
            self.settle()
        if fed is not None:
            self._fed.add(fed)

    def settle(self) -> None:
        """Multiply the rows that wait for others: to touch the whole matrix for a few rows would take longer."""
        if not self._waiting:
            return
        for at, part in enumerate(np.concatenate(self._waiting, axis=1)):
            self.total[at] += part.sum(axis=0, dtype=np.float64)
            step = _TOGETHER if self._wide else max(len(part), 1)
            for start in range(0, len(part), step):
                block = part[start : start + step].astype(np.float32 if self._wide else np.float64)
                self.gram[at] += block.T @ block
        self._waiting.clear()

    def mean_gram(self) -> np.ndarray:
        """G / n, shape (groups, columns, columns)."""
        return self.gram / max(self.rows, 1)

    def variance(self) -> float:
        """Variance of what the reader feeds, summed over its channels."""
        if self._reader.feeds and self._fed.count:
            return max(self._fed.variance(), _TINY)
        weight, n = self._reader.weight, max(self.rows, 1)
        power = np.einsum("gio,gij,gjo->", weight, self.gram / n, weight, optimize=True)
        mean = np.einsum("gi,gio->go", self.total / n, weight)
        return max(float(power - np.square(mean).sum()), _TINY)


@dataclass(frozen=True)
class Statistics:
    """What the samples say of one reader.

    Attributes:
        reader: The reader.
        fit: Moments of most samples.
        held_out: Moments of the others; without rows where there are too few samples.
    """

    reader: Reader
    fit: Moments
    held_out: Moments

    def held_gram(self) -> np.ndarray | None:
        """G / n of the samples held out, shape (groups, columns, columns)."""
        return self.held_out.mean_gram() if self.held_out.rows else None

    def hessian(self) -> np.ndarray:
        """A, shape (groups, columns, columns), with the ridge that serves the samples held out best."""
        gram, held = self.fit.mean_gram(), self.held_gram()
        level = np.trace(gram, axis1=1, axis2=2) / max(gram.shape[1], 1)
        ridge = RIDGE if held is None else _least(lambda r: self._error(gram, held, r * level))
        return _raised(gram, ridge * level)

    def _error(self, gram: np.ndarray, held: np.ndarray, ridge: np.ndarray) -> float:
        """Error on the samples held out, with every second class gone and the rest adapted."""
        gone = np.isin(self.reader.roots, np.unique(self.reader.roots[self.reader.roots >= 0])[1::2])
        total = 0.0
        for a, h, w, out in zip(_raised(gram, ridge), held, self.reader.weight, gone, strict=True):
            change = np.where(out[:, None], -w, 0.0)
            change[~out] = np.linalg.solve(a[np.ix_(~out, ~out)], a[np.ix_(~out, out)] @ w[out])
            total += float(np.einsum("ij,ij->", h, change @ change.T))  # numpy knows A A^T for symmetric: half the work
        return total


def _least(error: Callable[[float], float]) -> float:
    """The ridge of the least error, downhill from the usual one: each look is a solve of the whole layer."""
    at = RIDGES.index(RIDGE)
    least = error(RIDGES[at])
    for step in (1, -1):
        begin = at
        while 0 <= at + step < len(RIDGES) and (found := error(RIDGES[at + step])) < least:
            at, least = at + step, found
        if at != begin:
            break
    return RIDGES[at]


def _raised(gram: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    raised, at = gram.copy(), np.arange(gram.shape[1])
    raised[:, at, at] += np.maximum(ridge, _TINY)[:, None]
    return raised


class _Spread:
    """Mean and variance of a tensor, all channels summed.

    Args:
        axis: Its channel axis.
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self.count = 0
        self._sum = np.zeros(1)
        self._square = 0.0

    def add(self, x: np.ndarray) -> None:
        wide = np.moveaxis(x, self._axis, -1).reshape(-1, x.shape[self._axis]).astype(np.float64)
        self._sum = self._sum + wide.sum(axis=0)
        self._square += float(np.einsum("ij,ij->", wide, wide))
        self.count += len(wide)

    def variance(self) -> float:
        mean = self._sum / self.count
        return self._square / self.count - float(np.square(mean).sum())


def measure(found: Trace, readers: Mapping[int, Reader], ctx: Context) -> dict[int, Statistics]:
    """The statistics of each reader, from one walk of the whole model over the samples.

    Args:
        found: The trace; its model is run as it is, before anything is cut.
        readers: By the number that seeds the draw of rows.
        ctx: Data, seed, runtime. One thread, so that the bytes do not depend on how many there are.
    """
    options = replace(ctx.runtime, threads=1)
    part, _ = runnable_part(found.model, options)
    inputs = {v.name for v in part.graph.inputs}
    available = inputs | {v.name for node in part.graph for v in node.outputs}
    able = {at: reader for at, reader in readers.items() if set(reader.sources) <= available}
    names = {name for r in able.values() for name in (*r.sources, r.feeds) if name in available}
    taps = sorted(name for name in names if name not in inputs)
    session = Session(leading_to(part, taps), options)
    result = {at: Statistics(reader, Moments(reader), Moments(reader)) for at, reader in able.items()}
    runs = list(_runs(found, taps, ctx))
    for run, feeds in enumerate(runs):
        arrays = {**feeds, **session.run(feeds, taps)}
        for at, reader in able.items():
            into = result[at].held_out if run % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1 else result[at].fit
            _add(into, reader, arrays, (ctx.seed, at, run), len(runs))
    for statistics in result.values():
        statistics.fit.settle()
        statistics.held_out.settle()
    return result


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


def _runs(found: Trace, taps: Sequence[str], ctx: Context) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of each run: as many samples at once as their tapped tensors stay small."""
    assert ctx.data is not None
    drawn = ctx.data.draw(SAMPLES, seed=ctx.seed)
    elements = sum(int(np.prod((found.table.probe(name) or (1,))[1:])) for name in taps)
    batch = int(np.clip(_RUN_ELEMENTS // max(elements, 1), 1, max(1, min(16, len(drawn) // 8))))
    for feeds in feeds_of(found.model, drawn, batch=batch):
        yield feeds.arrays
