"""Ranges of the tensors that carry a pair: one streamed pass over the samples, then the calibrator's rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxcompress.calibrators import FloatHistogram, Statistics, calibrator
from onnxcompress.calibrators.uniform import bounds
from onnxcompress.data import DataSource
from onnxcompress.passes.quantization.bounded import bounded
from onnxcompress.passes.quantization.fixed_point import fixed_point_range
from onnxcompress.passes.quantization.placement.plan import Plan
from onnxcompress.passes.quantization.scales import Grid, activation_grid, levels
from onnxcompress.shapes import ShapeTable
from onnxcompress.targets import Target

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context


@dataclass(frozen=True)
class Rule:
    """How ranges are chosen.

    Attributes:
        name: Registered name of the calibrator.
        settings: Its own keyword arguments.
        target: Data type and symmetry.
    """

    name: str
    settings: Mapping[str, Any]
    target: Target


def histograms(
    model: ir.Model, plan: Plan, ctx: Context, samples: DataSource, others: Sequence[Plan] = ()
) -> dict[str, FloatHistogram]:
    """A histogram for every tensor with a scale of its own; a group that shares one is merged.

    What the plans in `others` need is counted in the same pass.
    """
    groups = plan.members()
    names = [name for root, members in groups.items() for name in (members if ctx.target.shared_concat else [root])]
    further = [name for other in others for name in other.pairs]
    found = (ctx.statistics or Statistics(executor=ctx.executor)).collect(
        model,
        samples,
        [*names, *further],
        options=ctx.runtime,
        progress=ctx.progress,
        memory_bytes=ctx.memory_bytes,
    )
    if not ctx.target.shared_concat:
        return {root: found[root] for root in groups}
    return {root: _merged([found[name] for name in members]) for root, members in groups.items()}


def _merged(parts: Sequence[FloatHistogram]) -> FloatHistogram:
    total = FloatHistogram()
    for part in parts:
        total.merge(part)
    return total


def grids(
    plan: Plan, found: Mapping[str, FloatHistogram], rule: Rule, table: ShapeTable
) -> tuple[dict[str, Grid], dict[str, tuple[float, float]]]:
    """Grids and ranges by the tensor that leads its group."""
    forms = {root: _form(plan, members, rule.target) for root, members in plan.members().items()}
    ranges = {root: _range(plan.pairs.get(root), found[root], rule, *forms[root]) for root in forms}
    made = {
        root: activation_grid(low, high, forms[root][0], symmetric=forms[root][1], kind=_kind(table, root, plan))
        for root, (low, high) in ranges.items()
    }
    return made, ranges


def _form(plan: Plan, members: Sequence[str], target: Target) -> tuple[str, bool]:
    """Type and symmetry of the tensors that share one scale."""
    usual = target.activation_dtype, target.activation_symmetric
    return next((plan.kinds[name] for name in members if name in plan.kinds), usual)


def _range(pair: Any, hist: FloatHistogram, rule: Rule, dtype: str, symmetric: bool) -> tuple[float, float]:
    low, high = _chosen(pair, hist, rule, dtype, symmetric)
    return fixed_point_range(low, high, levels(dtype), symmetric=symmetric) if rule.target.power_of_two else (low, high)


def _chosen(pair: Any, hist: FloatHistogram, rule: Rule, dtype: str, symmetric: bool) -> tuple[float, float]:
    limits = bounded(pair.value, *bounds(hist.low, hist.high, symmetric=False)) if pair is not None else None
    if limits is not None:
        return bounds(*limits, symmetric)
    return calibrator(rule.name)(hist, levels=levels(dtype), symmetric=symmetric, **rule.settings)


def _kind(table: ShapeTable, name: str, plan: Plan) -> np.dtype[Any]:
    pair = plan.pairs.get(name)
    dtype = table.dtype(name) or (pair.value.dtype if pair is not None else None)
    return np.dtype(np.float16 if dtype == ir.DataType.FLOAT16 else np.float32)


def spread(source: DataSource, most: int) -> DataSource:
    """At most `most` samples, evenly spaced; all of them where `most` is 0."""
    if not most or len(source) <= most:
        return source
    return source.subset(np.linspace(0, len(source) - 1, most).round().astype(np.int64))
