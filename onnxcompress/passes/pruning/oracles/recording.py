"""Runs of one model, and how far two recordings lie apart.

One model at a time is loaded, without ONNX Runtime's optimizations, run at all probes, and let go; of its numbers only
those stay that can be compared (outputs, or the floats before a step that jumps).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnxcompress.runtime import Session, runnable_part
from onnxcompress.runtime.session import is_tensor
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.verify.exact import Tolerance, tolerance_of
from onnxcompress.verify.freed import narrowed
from onnxcompress.verify.producers import comparable, random_nodes

SCALE_FLOOR = 1e-2
"""Least scale of a tensor: a sigmoid near zero carries the rounding of values near one."""

LIMITS: Mapping[str, float] = {"float": 1e-5, "double": 1e-9}
"""Allowed difference over the largest reference value where the runtime's own rounding is no larger; for other types
that of `tolerance_of`."""

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Recording:
    """What one model computed.

    Attributes:
        outputs: Names of its outputs.
        names: Names of the tensors that can be compared.
        runs: Numbers by name, one mapping a probe.
    """

    outputs: tuple[str, ...]
    names: tuple[str, ...]
    runs: tuple[Mapping[str, np.ndarray], ...]


def record(
    model: ir.Model,
    probes: Sequence[Feeds],
    options: RuntimeOptions,
    *,
    names: Sequence[str] | None = None,
    optimize: bool = False,
) -> Recording:
    """Run `model` at every probe.

    Args:
        model: Any model; what ONNX Runtime lacks is left out.
        probes: Seeded inputs in range.
        options: Providers, threads, custom operators.
        names: Tensors to compare, of which those that the model makes are taken; found out where absent.
        optimize: With ONNX Runtime's optimizations.

    Raises:
        CompressError: Where ONNX Runtime does not load or run the model.
    """
    part, _ = runnable_part(model, options)
    outputs = tuple(value.name for value in part.graph.outputs if value.name)
    if names is None:
        wanted = () if random_nodes(part) else tuple(comparable(part))
    else:
        made = {value.name for node in part.graph for value in node.outputs}
        wanted = tuple(name for name in names if name in made)
    taps = list(dict.fromkeys([*outputs, *wanted]))
    session = Session(part, options, optimize=optimize, taps=taps)
    return Recording(outputs, wanted, tuple(session.run(feeds, taps) for feeds in probes))


def limit_of(*models: ir.Model) -> Tolerance:
    """What counts as equal: the limit of the coarsest type that the models compute in."""
    known = tolerance_of(*models)
    return Tolerance(LIMITS.get(known.dtype, known.relative), known.within, known.dtype)


def narrow(recording: Recording, axes: Mapping[str, Mapping[int, np.ndarray]]) -> Recording:
    """The same without what a freed output axis has lost."""
    runs = [{name: narrowed(name, numbers, axes) for name, numbers in run.items()} for run in recording.runs]
    return replace(recording, runs=tuple(runs))


def shapes_differ(wanted: Recording, got: Recording) -> Iterator[tuple[str, str]]:
    """Outputs whose shape differs, and how."""
    for first, second in zip(wanted.runs, got.runs, strict=True):
        for name in wanted.outputs:
            a, b = first[name], second[name]
            if is_tensor(a) and a.shape != b.shape:
                yield name, f"its shape {list(a.shape)} became {list(b.shape)}"


def gaps(wanted: Recording, got: Recording, within: float) -> dict[str, float]:
    """The largest difference of each tensor over its largest reference value, at the worst probe.

    Args:
        wanted: The reference.
        got: Of the result; tensors that it lacks are left out.
        within: Fraction of a tensor's elements that count, the nearest first.
    """
    result: dict[str, float] = {}
    for first, second in zip(wanted.runs, got.runs, strict=True):
        for name in got.names:
            a, b = first[name], second[name]
            if is_tensor(a) and a.shape == b.shape and a.size and a.dtype.kind in "fV":
                result[name] = max(result.get(name, 0.0), gap(a, b, within))
    return result


def gap(wanted: np.ndarray, got: np.ndarray, within: float = 1.0) -> float:
    """The difference that the fraction `within` of all elements keeps to, over the largest reference value."""
    a, b = (np.atleast_1d(numbers).astype(np.float64) for numbers in (wanted, got))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    scale = max(float(np.abs(a[np.isfinite(a)]).max(initial=0.0)), SCALE_FLOOR)
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b)) / scale
    apart[np.isnan(apart)] = np.inf
    if within >= 1.0:
        return float(apart.max())
    return float(np.partition(apart, index := min(apart.size - 1, int(np.ceil(within * apart.size)) - 1), None)[index])
