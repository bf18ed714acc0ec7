"""Histograms of many tensors in one streamed pass over the samples.

The tensors are tapped as extra outputs, a run at a time, and counted in the thread that ran it while nothing is kept.
Where the tapped tensors of one run would not fit the memory ceiling, they are taken in groups, one pass over the data a
group. Sessions have one thread, and several runs go side by side. ONNX Runtime's graph optimizations are off: what it
fuses, and with it the last bits, would depend on what is tapped. So the states depend on the model, the samples and
the run size alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from queue import Empty, SimpleQueue

import numpy as np
import onnx_ir as ir

from onnxcompress.calibrators.float_histogram import FloatHistogram
from onnxcompress.data import DataSource
from onnxcompress.runtime import Session, feeds_of, in_order, one_thread, runnable_part, runs_at_once
from onnxcompress.runtime.source import Progress, RunFeeds
from onnxcompress.runtime_options import RuntimeOptions

RUN_SAMPLES = 4
"""Samples in one run. More gain no time (the outputs leave the cache either way), and their outputs lie in memory."""

EVERY_ELEMENT = 1 << 14
"""Elements of one sample up to which each is counted; above, a stride thins them."""

_LARGEST_STRIDE = 7

Found = dict[str, FloatHistogram]


def collect(
    model: ir.Model,
    source: DataSource,
    tensor_names: Sequence[str],
    *,
    options: RuntimeOptions | None = None,
    progress: Progress | None = None,
    batch: int = RUN_SAMPLES,
    memory_bytes: int = 1 << 30,
) -> dict[str, FloatHistogram]:
    """One histogram for each tensor of the main graph named, over all samples.

    Args:
        model: The float model; it is not edited.
        source: Calibration samples; their shapes may differ.
        tensor_names: Graph inputs or node outputs, of any numeric type.
        options: Providers, custom operators, and threads: how many runs go side by side.
        progress: Told the samples done.
        batch: Samples in one run where the model leaves that free.
        memory_bytes: Ceiling for the tapped tensors of the runs under way.

    Returns:
        Histograms by tensor name. `low` and `high` are exact; NaN and infinity are counted and enter neither. The
        result does not depend on the order of the samples, and on how they are divided into runs only as far as ONNX
        Runtime's own last bits do.
    """
    counter = Counter(model, tensor_names, options=options, batch=batch, memory_bytes=memory_bytes)
    return counter.count(source, progress=progress)


class Counter:
    """Counts the same tensors of the same model for one part of the samples after the other.

    Args:
        model: The float model; it is not edited.
        tensor_names: Graph inputs or node outputs.
        options: Providers, custom operators, runs side by side.
        batch: Samples in one run.
        memory_bytes: Ceiling for the tapped tensors of the runs under way.
    """

    def __init__(
        self,
        model: ir.Model,
        tensor_names: Sequence[str],
        *,
        options: RuntimeOptions | None = None,
        batch: int = RUN_SAMPLES,
        memory_bytes: int = 1 << 30,
    ) -> None:
        self._part, _ = runnable_part(model, options)
        self._names, self._options = list(dict.fromkeys(tensor_names)), options
        self._batch, self._memory = batch, memory_bytes
        self._inputs = {value.name or "" for value in self._part.graph.inputs}
        self._groups: list[tuple[list[str], int]] = []
        self._session: tuple[tuple[str, ...], Session] | None = None

    def count(self, source: DataSource, *, progress: Progress | None = None) -> Found:
        """Histograms of all tensors over `source`."""
        if not self._groups:
            self._groups = self._grouped(source)
        found: Found = {}
        for group, at_once in self._groups:
            found |= self._count_group(group, source, at_once, progress)
        return found

    def _count_group(self, group: list[str], source: DataSource, at_once: int, progress: Progress | None) -> Found:
        taps = [name for name in group if name not in self._inputs]
        session = self._tapped(taps) if taps else None
        free: SimpleQueue[Found] = SimpleQueue()

        def work(feeds: RunFeeds) -> int:
            mine = _taken(free, group)
            given = {name: feeds.arrays[name] for name in group if name in self._inputs}
            run = feeds.trim({**given, **(session.run(feeds.arrays, taps) if session else {})})
            for name in group:
                count_samples(mine[name], run[name], len(feeds.indices))
            free.put(mine)
            return len(feeds.indices)

        done, runs = 0, feeds_of(self._part, source, batch=self._batch)
        for samples in in_order(work, runs, min(at_once, runs_at_once(self._options))):
            done += samples
            if progress is not None:
                progress("calibrate", done, len(source))
        return _merged(free, group)

    def _tapped(self, taps: list[str]) -> Session:
        """The session for these taps; the last one is kept."""
        if self._session is None or self._session[0] != tuple(taps):
            self._session = None  # so that two are never held
            made = Session(self._part, one_thread(self._options), optimize=False, taps=taps)
            self._session = (tuple(taps), made)
        return self._session[1]

    def _grouped(self, source: DataSource) -> list[tuple[list[str], int]]:
        """The tensors, divided so that one run's taps stay below the ceiling, and how many runs fit below it.

        What ONNX Runtime holds and what it hands over are two copies.
        """
        sizes = self._sizes(source) if source else {}
        groups: list[list[str]] = [[]]
        used, largest = 0, 0
        for name in self._names:
            size = sizes.get(name, 0) * self._batch * 2
            if groups[-1] and used + size > self._memory:
                groups.append([])
                used = 0
            groups[-1].append(name)
            used += size
            largest = max(largest, used)
        at_once = max(1, self._memory // max(largest, 1))
        return [(group, at_once) for group in groups if group]

    def _sizes(self, source: DataSource) -> dict[str, int]:
        """Bytes of each tapped tensor, measured on one sample."""
        inner = [name for name in self._names if name not in self._inputs]
        if not inner:
            return {}
        first = next(iter(feeds_of(self._part, source.subset([0]), batch=1)))
        return {name: array.nbytes for name, array in self._tapped(inner).run(first.arrays, inner).items()}


def count_samples(hist: FloatHistogram, array: np.ndarray, samples: int) -> None:
    """Count one run's tensor. Where its first axis holds whole samples, each is thinned by its own size."""
    divided = samples and array.ndim and array.shape[0] % samples == 0
    rows = array.reshape(samples, -1) if divided else array.reshape(1, -1)
    hist.update(rows, stride=stride_of(rows.shape[1]) if divided else 1)


def stride_of(elements: int) -> int:
    """Every how many-th element of a sample is counted; odd, so that it does not beat with channels or rows."""
    stride = min(_LARGEST_STRIDE, math.ceil(elements / EVERY_ELEMENT))
    return max(1, stride if stride % 2 else stride - 1)


def merged(parts: Sequence[Found]) -> Found:
    """The sums, by tensor name."""
    total: Found = {}
    for part in parts:
        for name, hist in part.items():
            total.setdefault(name, FloatHistogram()).merge(hist)
    return total


def _taken(free: SimpleQueue[Found], names: Sequence[str]) -> Found:
    try:
        return free.get_nowait()
    except Empty:
        return {name: FloatHistogram() for name in names}


def _merged(free: SimpleQueue[Found], names: Sequence[str]) -> Found:
    """What the threads counted, added up."""
    parts = [free.get_nowait() for _ in range(free.qsize())]
    return merged([{name: FloatHistogram() for name in names}, *parts])
