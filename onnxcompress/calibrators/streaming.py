"""Histograms of many tensors in one streamed pass over the samples.

The tensors are tapped as extra outputs, a run at a time, and counted in threads while nothing is kept. Where the
tapped tensors of one run would not fit the memory ceiling, they are taken in groups, one pass over the data a group.
ONNX Runtime's graph optimizations are off: what it fuses, and with it the last bits, would depend on what is tapped.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import onnx_ir as ir

from onnxcompress.calibrators.float_histogram import FloatHistogram
from onnxcompress.data import DataSource
from onnxcompress.errors import DataError
from onnxcompress.runtime import run_source
from onnxcompress.runtime.source import Progress
from onnxcompress.runtime_options import RuntimeOptions

EVERY_ELEMENT = 1 << 16
"""Elements of one sample up to which each is counted; above, a stride thins them."""

_LARGEST_STRIDE = 8


def collect(
    model: ir.Model,
    source: DataSource,
    tensor_names: Sequence[str],
    *,
    options: RuntimeOptions | None = None,
    progress: Progress | None = None,
    batch: int = 16,
    memory_bytes: int = 1 << 30,
    executor: Executor | None = None,
) -> dict[str, FloatHistogram]:
    """One histogram for each tensor of the main graph named, over all samples.

    Args:
        model: The float model; it is not edited.
        source: Calibration samples; their shapes may differ.
        tensor_names: Graph inputs or node outputs, of any numeric type.
        options: Providers, threads, custom operators.
        progress: Told the samples done.
        batch: Samples in one run where the model leaves that free.
        memory_bytes: Ceiling for the tapped tensors of one run.
        executor: Counts tensors side by side (threads; numpy releases the interpreter lock); by default one thread
            for each of the session's.

    Returns:
        Histograms by tensor name. `low` and `high` are exact. The result does not depend on the order of the samples,
        and on how they are divided into runs only as far as ONNX Runtime's own last bits do.

    Raises:
        DataError: Where a tensor holds NaN or infinity for some sample.
    """
    names = list(dict.fromkeys(tensor_names))
    found = {name: FloatHistogram() for name in names}
    inputs = {value.name or "" for value in model.graph.inputs}
    groups = _groups(model, source, names, options=options, batch=batch, memory_bytes=memory_bytes)
    with _counting(executor, options) as pool:
        for group in groups:
            taps = [name for name in group if name not in inputs]
            kept = [name for name in group if name in inputs]
            runs = run_source(
                model, source, taps or None, options=options, batch=batch, taps=taps, progress=progress, optimize=False
            )
            for run in runs:
                arrays = {**run, **(source.read(run.indices) if kept else {})}
                jobs = [(found[name], arrays[name], len(run.indices)) for name in group]
                list(pool.map(_count, jobs))
    return {name: _checked(name, hist) for name, hist in found.items()}


def count_samples(hist: FloatHistogram, array: np.ndarray, samples: int) -> None:
    """Count one run's tensor. Where its first axis holds whole samples, each is thinned by its own size."""
    divided = samples and array.ndim and array.shape[0] % samples == 0
    rows = array.reshape(samples, -1) if divided else array.reshape(1, -1)
    stride = stride_of(rows.shape[1]) if divided else 1
    if stride == 1:
        hist.update(rows)
        return
    for row in rows:
        hist.update(row, stride=stride)


def stride_of(elements: int) -> int:
    """Every how many-th element of a sample is counted; odd, so that it does not beat with channels or rows."""
    stride = min(_LARGEST_STRIDE, math.ceil(elements / EVERY_ELEMENT))
    return stride if stride % 2 else stride - 1


def _count(job: tuple[FloatHistogram, np.ndarray, int]) -> None:
    count_samples(*job)


def _groups(
    model: ir.Model,
    source: DataSource,
    names: Sequence[str],
    *,
    options: RuntimeOptions | None,
    batch: int,
    memory_bytes: int,
) -> list[list[str]]:
    """The tensors, divided so that one run's taps stay below the ceiling; measured on the first sample."""
    inner = [name for name in names if name not in {value.name for value in model.graph.inputs}]
    sizes: dict[str, int] = {}
    for run in (
        run_source(model, source.subset([0]), inner, options=options, taps=inner, optimize=False) if inner else ()
    ):
        sizes |= {name: array.nbytes for name, array in run.items()}
    groups: list[list[str]] = [[]]
    used = 0
    for name in names:
        size = sizes.get(name, 0) * batch
        if groups[-1] and used + size > memory_bytes:
            groups.append([])
            used = 0
        groups[-1].append(name)
        used += size
    return [group for group in groups if group]


@contextlib.contextmanager
def _counting(executor: Executor | None, options: RuntimeOptions | None) -> Generator[Executor]:
    if executor is not None:
        yield executor
        return
    threads = (options.threads if options else 0) or os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        yield pool


def _checked(name: str, hist: FloatHistogram) -> FloatHistogram:
    if hist.nan or hist.inf:
        raise DataError(
            "cannot calibrate",
            where=f"tensor {name}",
            why=f"{hist.nan} of its {hist.elements} elements are NaN and {hist.inf} infinite on these samples",
            hint="Check the samples and the model in float; a node can be left out with --exclude.",
            code="DATA-NOT-FINITE",
        )
    return hist
