"""What the samples themselves do to a calibration: absurd values, too few of them, tensors that never change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.calibrators import FloatHistogram
from onnxcompress.data import DataSource
from onnxcompress.report import Finding, Severity

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

FEWEST_SAMPLES = 8
"""Samples below which a calibration is said to be thin."""

_ABSURD = 1e6
"""Times the usual peak of a sample, and at least this itself: on a grid that holds it, all else is one step, in 8 bits
and in 16. Masks (-1e9, -3e38) are not meant: they are in most samples, or in more than a twentieth."""

_RARE = 0.05
_CHUNK = 16


def without_outliers(ctx: Context) -> tuple[Context, list[Finding]]:
    """The context without those few samples whose largest value would swallow every other one, and why."""
    assert ctx.data is not None
    found = outlying(ctx.data)
    if not found:
        return ctx, []
    kept = np.setdiff1d(np.arange(len(ctx.data)), list(found))
    findings = [_outlier(ctx.data, index, *what) for index, what in sorted(found.items())]
    return replace(ctx, data=ctx.data.subset(kept)), findings


def outlying(source: DataSource) -> dict[int, tuple[str, float, float]]:
    """Samples that hold an absurd value: by index, the input, the sample's largest magnitude and the usual one."""
    peaks: dict[str, list[float]] = {}
    for batch in source.batches(_CHUNK):
        for name, array in batch.items():
            if array.dtype.kind == "f" and array.size:
                rows = np.abs(array.reshape(len(array), -1))
                peaks.setdefault(name, []).extend(rows.max(axis=1).astype(np.float64).tolist())
    found: dict[int, tuple[str, float, float]] = {}
    for name, values in peaks.items():
        usual = float(np.median(values))
        beyond = np.flatnonzero(np.array(values) > _ABSURD * max(usual, 1.0))
        if beyond.size <= max(1, _RARE * len(values)) < len(values):
            found |= {int(i): (name, values[i], usual) for i in beyond}
    return found


def _outlier(source: DataSource, index: int, name: str, peak: float, usual: float) -> Finding:
    message = (
        f"sample {source.origin(index)} is left out of the calibration: input {name!r} reaches {peak:.3g} in it, and "
        f"{usual:.3g} in others; one range for both would leave nothing of the others"
    )
    numbers = {"sample": source.origin(index), "peak": peak, "usual": usual}
    return Finding("QUANT-OUTLIER", message, node=name, severity=Severity.WARNING, numbers=numbers)


def few(samples: DataSource) -> Iterator[Finding]:
    """A warning where too few samples set the ranges."""
    count = len(samples)
    if count < FEWEST_SAMPLES:
        message = (
            f"ranges come from {count} sample{'s' if count > 1 else ''}: what others hold beyond them will be clipped; "
            "give some hundred samples like those in use"
        )
        yield Finding("QUANT-FEW-SAMPLES", message, severity=Severity.WARNING, numbers={"samples": count})


def constant_tensors(found: Mapping[str, FloatHistogram]) -> Iterator[Finding]:
    """A word on each calibrated tensor that holds one number in every sample: its range means little."""
    for name, hist in found.items():
        if hist.low == hist.high:
            message = f"{name} is {hist.low + 0.0:g} everywhere in all samples: its range tells nothing about others"
            yield Finding("QUANT-CONSTANT", message, node=name, numbers={"value": hist.low})
