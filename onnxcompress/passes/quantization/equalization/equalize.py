"""The whole of equalization: mark, observe, choose part by part, write."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.graph import in_scope, iter_nodes, label
from onnxcompress.passes.quantization.equalization.activations import Seen, observe
from onnxcompress.passes.quantization.equalization.apply import write
from onnxcompress.passes.quantization.equalization.candidates import choose
from onnxcompress.passes.quantization.equalization.insert import insert, take_back
from onnxcompress.passes.quantization.equalization.marks import Marks
from onnxcompress.passes.quantization.equalization.problem import Grids, Problem, free_results, linears, problem_of
from onnxcompress.passes.quantization.equalization.walk import mark
from onnxcompress.passes.quantization.ranges import spread
from onnxcompress.report import Finding
from onnxcompress.shapes import infer

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

_SAMPLES = 32


def equalize(
    model: ir.Model,
    samples: DataSource | None,
    ctx: Context,
    *,
    method: str = "auto",
    alpha: float = -1.0,
    iterations: int = 2,
    only: Collection[str] | None = None,
    insertion: bool = False,
    caps: bool = False,
    per_channel: bool = True,
) -> list[Finding]:
    """Edit a float model in place so that it computes the same and loses less in int8.

    Args:
        model: The model; constants folded and batch normalization too (passes normalize, fold-batchnorm).
        samples: Calibration samples, of which a few are used; None evens out weights alone.
        ctx: Target, shapes, scope and runtime.
        method: ``cross-layer``, ``smooth``, or ``auto``: both are tried, part by part.
        alpha: Share of the range that smoothing takes off the tensor, 0..1; below 0 several are tried.
        iterations: How often all parts are gone through, since neighbours share weights.
        only: Names of tensors (inputs of multiplying nodes) to equalize; None for all.
        insertion: Put a Div behind a tensor of `only` that no node can scale (after HardSwish, Sigmoid, a Concat with
            a graph input, ...).
        caps: Scale through Clips with a cap too (ReLU6), where no value of the samples comes near it. The function
            is the same on such values only.
        per_channel: Weights get one scale for each output channel.

    Returns:
        ``EQUALIZE-DONE`` for each part that changed, with the noise before and after, or ``EQUALIZE-NONE``.
    """
    excluded = {label(node) for node in iter_nodes(model)} - in_scope(model, ctx.scope.only, ctx.scope.exclude)
    caps = caps and samples is not None
    marks = mark(model, infer(model, shapes=ctx.shapes, runtime=ctx.runtime), excluded, caps=caps)
    inserted, divisions = insert(marks, only) if only is not None and insertion else ({}, set[str]())
    if divisions:
        marks = mark(model, infer(model, shapes=ctx.shapes, runtime=ctx.runtime), excluded, caps=caps)
    grids = Grids(per_channel, ctx.target.activation_symmetric, 63 if ctx.target.reduce_range else 127)
    problem = problem_of(marks, _seen(marks, samples, ctx), grids)
    wanted = None if only is None else {*only, *inserted.values()}
    scales, findings = _chosen(problem, len(marks.atoms), wanted, iterations, method, alpha)
    write(marks, scales)
    take_back(model.graph, divisions)
    return findings or [Finding("EQUALIZE-NONE", "no tensor gains from other scales between its channels")]


def _seen(marks: Marks, samples: DataSource | None, ctx: Context) -> list[Seen]:
    """Values of the tensors that multiplying nodes read; without samples one of power 1 a channel."""
    tensors = list(
        dict.fromkeys(
            [
                *(linear.value(0) for linear in linears(marks.model)),
                *free_results(marks),
                *(c.value for c in marks.caps or ()),
            ]
        )
    )
    if samples is not None:
        return observe(marks, tensors, spread(samples, _SAMPLES), ctx) if tensors else []
    ids = [marks.ids.get(value, np.zeros(1, np.int64)).reshape(-1) for value in tensors]
    return [
        Seen(value, each, np.ones((len(each), 1), np.float32), np.ones(len(each)))
        for value, each in zip(tensors, ids, strict=True)
    ]


def _chosen(
    problem: Problem, atoms: int, wanted: set[str] | None, iterations: int, method: str, alpha: float
) -> tuple[np.ndarray, list[Finding]]:
    scales = np.ones(atoms)
    named = [(part, problem.named(part)) for part in problem.parts]
    parts = [(part, names) for part, names in named if wanted is None or wanted & set(names)]
    first = [problem.noise(part, scales) for part, _ in parts]
    for _ in range(iterations):
        before = scales.copy()
        for part, _ in parts:
            choose(problem, part, scales, method, alpha)
        if (scales == before).all():
            break
    return scales, list(_findings(problem, parts, first, scales))


def _findings(
    problem: Problem, parts: list[tuple[np.ndarray, list[str]]], first: list[float], scales: np.ndarray
) -> Iterator[Finding]:
    for (part, names), before in zip(parts, first, strict=True):
        if (scales[part] == 1).all():
            continue
        after = problem.noise(part, scales)
        gain = 10 * np.log10(max(before, 1e-30) / max(after, 1e-30))
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield Finding(
            "EQUALIZE-DONE",
            f"{len(part)} channels of {names[0]}{more} scaled against their neighbours: rounding noise {-gain:.1f} dB",
            node=names[0],
            numbers={"noise_before": before, "noise_after": after, "gain_db": round(float(gain), 3)},
        )
