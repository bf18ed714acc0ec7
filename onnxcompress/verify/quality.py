"""Two models on the same samples: distances, agreement, accuracy, the user's metric; streamed and paired."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.errors import ModelError
from onnxcompress.report import Finding
from onnxcompress.runtime import Outputs, Session, batch_axis, dims_of, feeds_of, runnable_part
from onnxcompress.runtime.session import is_tensor
from onnxcompress.runtime.source import Progress, RunFeeds
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.verify import intervals
from onnxcompress.verify.comparison import Comparison
from onnxcompress.verify.freed import left, narrowed
from onnxcompress.verify.numbers import Distance
from onnxcompress.verify.scores import user_metric

Metric = Callable[..., float | Mapping[str, float]]


def compare(
    reference: ir.Model,
    candidate: ir.Model,
    source: DataSource | Mapping[str, np.ndarray],
    *,
    options: RuntimeOptions | None = None,
    labels: np.ndarray | None = None,
    metric: Metric | None = None,
    seed: int = 0,
    batch: int = 16,
    optimize: bool = True,
    progress: Progress | None = None,
) -> Comparison:
    """Measure a candidate against a reference.

    Args:
        reference: The model to be measured against, usually the original.
        candidate: A model with the same interface; of output axes that it was allowed to cut, the rest is compared.
        source: Samples, or the inputs of one run by name.
        options: Providers, threads, custom operators.
        labels: One label a sample; those of the source by default.
        metric: ``f(outputs, labels) -> float``, higher is better; outputs are stacked over all samples. A dict of
            several by name is taken too.
        seed: Kept for metrics that draw; the comparison itself draws nothing.
        batch: Samples in one run where the model leaves that free.
        optimize: ONNX Runtime's graph optimizations, on or off.
        progress: Told the samples done.

    Raises:
        DataError: Where the samples do not fit the models, or a metric is asked for without labels.
        ModelError: Where the two have no output in common or give different shapes.
    """
    findings: list[Finding] = []
    first, notes = runnable_part(reference, options)
    second, _ = runnable_part(candidate, options)
    findings.extend(notes)
    names = _common_outputs(first, second)
    sessions = [Session(model, options, optimize=optimize) for model in (first, second)]
    tally, cut = _Tally(names, keep=metric is not None), left(reference, candidate)
    total = len(source) if isinstance(source, DataSource) else 0
    stricter = second if batch_axis(first) and not batch_axis(second) else first
    for feeds in _runs(stricter, source, batch, findings):
        whole, other = (feeds.trim(session.run(feeds.arrays, names)) for session in sessions)
        whole.update({name: narrowed(name, whole[name], cut) for name in cut})
        tally.add(whole, other)
        if progress is not None and total:
            progress("compare", tally.samples, total)
    if labels is None and isinstance(source, DataSource):
        labels = source.labels(np.arange(len(source)))
    return tally.comparison(labels, metric, findings, first)


def class_output(model: ir.Model) -> str:
    """Name of the first output whose largest entry may be a class, by its declared shape; empty where none is.

    That is ``[batch, classes]`` (or ``[batch, classes, 1, 1]``) in floats, or class ids ``[batch]`` in integers.
    """
    for value in model.graph.outputs:
        dims = dims_of(value)
        if dims is None or value.dtype is None:
            continue
        if len(dims) > 3 and all(dim == 1 for dim in dims[2:]):
            dims = dims[:2]
        ids = value.dtype.is_integer() and len(dims) == 1
        classes = dims[1] if len(dims) == 2 else None
        scores = value.dtype.is_floating_point() and isinstance(classes, int) and classes > 1
        if ids or (scores and not _normalized(value)):
            return value.name or ""
    return ""


def _normalized(value: ir.Value) -> bool:
    """True for a vector divided by its own norm: an embedding."""
    node = value.producer()
    if node is None or node.op_type not in ("Div", "LpNormalization"):
        return False
    if node.op_type == "LpNormalization":
        return True
    norm = node.inputs[1].producer() if node.inputs[1] is not None else None
    return norm is not None and norm.op_type in ("ReduceL2", "Sqrt", "Clip", "Expand", "Max", "Add")


def _runs(
    model: ir.Model, source: DataSource | Mapping[str, np.ndarray], batch: int, findings: list[Finding]
) -> Iterator[RunFeeds]:
    if isinstance(source, DataSource):
        yield from feeds_of(model, source, batch=batch, findings=findings)
        return
    sizes = [len(array) for array in source.values() if np.ndim(array)]
    yield RunFeeds(dict(source), np.arange(sizes[0] if sizes else 1))


def _common_outputs(first: ir.Model, second: ir.Model) -> list[str]:
    there = {value.name for value in second.graph.outputs}
    names = [value.name for value in first.graph.outputs if value.name in there]
    if not names:
        hint = "Give two models with the same outputs, such as a model and its compressed form."
        why = "they have no output name in common"
        raise ModelError("cannot compare the models", why=why, hint=hint, code="MODEL-NO-COMMON-OUTPUT")
    return [name for name in names if name]


@dataclass
class _Tally:
    """What has been counted so far."""

    names: Sequence[str]
    keep: bool
    samples: int = 0
    distances: dict[str, Distance] = field(default_factory=dict)
    classes: dict[str, list[np.ndarray]] = field(default_factory=dict)
    scores: set[str] = field(default_factory=set)
    kept: list[Outputs] = field(default_factory=list)
    others: list[Outputs] = field(default_factory=list)

    def add(self, first: Outputs, second: Outputs) -> None:
        self.samples += len(first.indices)
        for name in self.names:
            if not is_tensor(first[name]):
                continue
            try:
                self.distances.setdefault(name, Distance()).add(first[name], second[name])
            except ValueError as fault:
                hint = "Compare models with the same interface."
                where, code = f"output {name}", "MODEL-OUTPUT-SHAPE"
                raise ModelError(
                    "cannot compare the models", where=where, why=str(fault), hint=hint, code=code
                ) from fault
            self._add_classes(name, first[name], second[name], len(first.indices))
        if self.keep:
            self.kept.append(first)
            self.others.append(second)

    def _add_classes(self, name: str, first: np.ndarray, second: np.ndarray, count: int) -> None:
        chosen = [_classes(array, count) for array in (first, second)]
        if chosen[0] is not None and chosen[1] is not None:
            self.classes.setdefault(name, []).append(np.stack([chosen[0], chosen[1]]))
        if not _directions(first):
            self.scores.add(name)

    def class_pairs(self) -> tuple[str, np.ndarray | None]:
        """The class output and its classes, [reference or candidate, sample]; embeddings do not name classes."""
        for name, blocks in self.classes.items():
            pairs = np.concatenate(blocks, axis=1)
            if pairs.shape[1] == self.samples and name in self.scores:
                return name, pairs
        return "", None

    def comparison(
        self, labels: np.ndarray | None, metric: Metric | None, findings: list[Finding], model: ir.Model
    ) -> Comparison:
        figures: dict[str, Any] = {}
        labels = None if labels is None else np.asarray(labels)
        name, pairs = self.class_pairs()
        if pairs is not None:
            figures.update(_agreement(name, pairs))
            if labels is not None and labels.shape == (self.samples,) and labels.dtype.kind in "iub":
                figures.update(_accuracy(pairs == labels))
        if metric is not None:
            figures.update(user_metric(metric, _stacked(self.kept), _stacked(self.others), labels))
        outputs = {name: distance.result() for name, distance in self.distances.items()}
        return Comparison(outputs, self.samples, findings=tuple(findings), **figures)


def _classes(array: np.ndarray, count: int) -> np.ndarray | None:
    """One class a sample: the largest of scores, or the id itself; None where the tensor is neither."""
    if array.dtype.kind in "iu" and array.shape == (count,):
        return array.astype(np.int64)
    # [batch, classes, 1, 1] is a pooled classifier; [batch, boxes, 1] is a detector's scores, which name no class.
    if array.ndim > 3 and array[0, 0].size == 1:
        array = array.reshape(array.shape[:2])
    if array.ndim != 2 or array.dtype.kind != "f" or len(array) != count or array.shape[1] < 2:
        return None
    return array.argmax(axis=1)


def _directions(array: np.ndarray) -> bool:
    """True for rows of norm one that do not add up to one: an embedding, whose largest entry is no class."""
    if array.ndim != 2 or array.dtype.kind != "f":
        return False
    rows = array.astype(np.float64)
    unit = np.abs(np.linalg.norm(rows, axis=1) - 1) < 1e-3
    return bool(unit.all() and (np.abs(rows.sum(axis=1) - 1) > 1e-2).any())


def _agreement(name: str, pairs: np.ndarray) -> dict[str, Any]:
    same = int(np.count_nonzero(pairs[0] == pairs[1]))
    count = pairs.shape[1]
    interval = intervals.proportion(same, count)
    return {"class_output": name, "top1_agreement": same / count, "agreement_interval": interval}


def _accuracy(right: np.ndarray) -> dict[str, Any]:
    count = right.shape[1]
    lost, won = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    return {
        "accuracy_reference": float(right[0].mean()),
        "accuracy_candidate": float(right[1].mean()),
        "accuracy_interval": intervals.paired_difference(lost, won, count),
    }


def _stacked(runs: Sequence[Outputs]) -> dict[str, np.ndarray]:
    """Each output over all samples, the sample axis first."""
    names = [name for name, array in runs[0].items() if is_tensor(array)]
    return {name: _join([run[name] for run in runs], [len(run.indices) for run in runs]) for name in names}


def _join(arrays: list[np.ndarray], counts: list[int]) -> np.ndarray:
    """Concatenate along the axis that counts samples in every run; stack where none does."""
    for axis in range(arrays[0].ndim):
        if all(array.shape[axis] == count for array, count in zip(arrays, counts, strict=True)):
            return np.concatenate([np.moveaxis(array, axis, 0) for array in arrays])
    return np.stack(arrays)
