"""A data source through a model: samples in order, several runs side by side, nothing kept.

Sessions have one thread each, and results come in order: the numbers depend on the model, the samples and the run
size, never on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.errors import DataError
from onnxcompress.report import Finding
from onnxcompress.runtime.batching import RunPlan, plan_runs
from onnxcompress.runtime.parallel import in_order, one_thread, runs_at_once
from onnxcompress.runtime.runnable import runnable_part
from onnxcompress.runtime.session import Session
from onnxcompress.runtime_options import RuntimeOptions

Progress = Callable[[str, int, int], None]


class Outputs(dict[str, np.ndarray]):
    """What one run gave, by tensor name.

    Attributes:
        indices: Which samples of the source went in, in order along the batch axis.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], indices: np.ndarray) -> None:
        super().__init__(arrays)
        self.indices = indices


@dataclass(frozen=True)
class RunFeeds:
    """The inputs of one run.

    Attributes:
        arrays: By input name, as the model takes them.
        indices: Which samples of the source they hold.
        padding: Samples repeated at the end because the model fixes the batch; they do not count.
    """

    arrays: dict[str, np.ndarray] = field(repr=False)
    indices: np.ndarray = field(repr=False)
    padding: int = 0

    def trim(self, outputs: Mapping[str, np.ndarray]) -> Outputs:
        """The outputs without the padded samples, where their first axis is the batch."""
        size = len(self.indices) + self.padding
        if not self.padding:
            return Outputs(outputs, self.indices)
        cut = {n: a[: len(self.indices)] if a.ndim and len(a) == size else a for n, a in outputs.items()}
        return Outputs(cut, self.indices)


def run_source(
    model: ir.Model,
    source: DataSource,
    names: Sequence[str] | None = None,
    *,
    options: RuntimeOptions | None = None,
    batch: int = 16,
    optimize: bool = True,
    taps: Sequence[str] = (),
    progress: Progress | None = None,
    findings: list[Finding] | None = None,
    at_once: int | None = None,
) -> Iterator[Outputs]:
    """Run every sample of `source` through `model` and yield each run's outputs, in order of the samples.

    Args:
        model: Any model; the part of it that ONNX Runtime can run is used.
        source: The samples.
        names: Tensors to return; all outputs and taps by default.
        options: Providers, custom operators, and threads: how many runs go side by side.
        batch: Samples in one run where the model leaves that free.
        optimize: ONNX Runtime's graph optimizations, on or off. Where they are on, what is tapped decides which nodes
            are fused, and with it the last bits.
        taps: Intermediate tensors of the main graph that are returned too.
        progress: Told the samples done; nothing by default.
        findings: Receives a note where the last run was padded, or a node could not be run.
        at_once: Most runs side by side, where their outputs are large; each run's outputs are held once.

    Yields:
        Arrays by tensor name, with the samples' indices in `.indices`.

    Raises:
        DataError: Where the samples do not fit the model.
        ModelError: Where ONNX Runtime does not load or run the model.
    """
    part, notes = runnable_part(model, options)
    if findings is not None:
        findings.extend(notes)
    session = Session(part, one_thread(options), optimize=optimize, taps=taps)

    def run(feeds: RunFeeds) -> Outputs:
        return feeds.trim(session.run(feeds.arrays, names))

    done, workers = 0, min(runs_at_once(options), at_once or 1 << 10)
    for outputs in in_order(run, feeds_of(part, source, batch=batch, findings=findings), workers):
        yield outputs
        done += len(outputs.indices)
        if progress is not None:
            progress("run", done, len(source))


def feeds_of(
    model: ir.Model, source: DataSource, *, batch: int = 16, findings: list[Finding] | None = None
) -> Iterator[RunFeeds]:
    """The inputs of every run that takes `source` through `model`, in order of the samples.

    Raises:
        DataError: Where the source is empty or does not fit the model.
    """
    if not len(source):
        raise DataError(
            "cannot run the model", why="the data holds no sample", hint="Give at least one.", code="DATA-EMPTY"
        )
    plan = plan_runs(model, {name: array.shape for name, array in source.read([0]).items()})
    if plan.unit is not None and plan.unit > 1 and len(source) % plan.unit and findings is not None:
        findings.append(_padding_finding(plan.unit, len(source)))
    size = _size(plan, source, batch)
    for start in range(0, len(source), size):
        chosen = np.arange(start, min(start + size, len(source)))
        yield from _feeds(plan, source.read(chosen), chosen)


def run_size(model: ir.Model, source: DataSource, batch: int) -> int:
    """How many samples `feeds_of` takes at a time.

    Raises:
        DataError: Where the samples do not fit the model.
    """
    return _size(plan_runs(model, {name: array.shape for name, array in source.read([0]).items()}), source, batch)


def _size(plan: RunPlan, source: DataSource, batch: int) -> int:
    return plan.unit or (max(1, batch) if source.uniform else 1)


def _feeds(plan: RunPlan, samples: Mapping[str, np.ndarray], chosen: np.ndarray) -> Iterator[RunFeeds]:
    """One run, or several where settings without a batch axis differ between the samples."""
    padding = (plan.unit or 0) - len(chosen) if plan.unit else 0
    if padding > 0:
        rows = np.concatenate([np.arange(len(chosen)), np.full(padding, len(chosen) - 1)])
        yield RunFeeds(plan.assemble(samples, rows), chosen, padding)
        return
    for rows in _equal_settings(plan, samples, len(chosen)):
        yield RunFeeds(plan.assemble(samples, rows), chosen[rows])


def _equal_settings(plan: RunPlan, samples: Mapping[str, np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Row ranges within which every shared input keeps its value."""
    changes = np.zeros(count, dtype=bool)
    for name, feed in plan.feeds.items():
        if feed.shared:
            flat = np.asarray(samples[name]).reshape(count, -1)
            changes[1:] |= (flat[1:] != flat[:-1]).any(axis=1)
    yield from np.split(np.arange(count), np.flatnonzero(changes))


def _padding_finding(unit: int, count: int) -> Finding:
    message = f"the model takes {unit} samples a run: the last run repeats a sample, whose outputs are dropped"
    return Finding("RUNTIME-PADDED-RUN", message, numbers={"samples": count, "unit": unit})
