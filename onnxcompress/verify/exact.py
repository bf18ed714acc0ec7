"""Equality of two models up to rounding: the check of a pass that promises the same numbers.

Both models run on seeded inputs in range, without ONNX Runtime's optimizations (the oracle) and with them, and at a
second batch size where the batch is free. Tolerances are relative to the tensor's largest reference value, by data
type; in a model with Q/DQ nodes an element may be off by one step, 99.9 % of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import ModelError
from onnxcompress.graph import array_of, iter_nodes, scopes
from onnxcompress.runtime import Session, batch_axis, feeds_of, runnable_part
from onnxcompress.runtime.session import is_tensor
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes import probe_feeds
from onnxcompress.verify.failure import VerifyFailure
from onnxcompress.verify.numbers import Distance, is_numeric
from onnxcompress.verify.producers import SATURATING, comparable, random_nodes

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

TOLERANCES: Mapping[ir.DataType, float] = {
    ir.DataType.DOUBLE: 1e-6,
    ir.DataType.FLOAT: 1e-4,
    ir.DataType.FLOAT16: 1e-2,
    ir.DataType.BFLOAT16: 5e-2,
}
"""Largest difference over the tensor's largest reference value, by the coarsest float type that the model computes in.

About ten times the type's own rounding, which a sum over a few hundred terms reaches."""

STEPS_WITHIN = 0.999
"""Fraction of the elements that may be off by at most one quantization step."""

JUMPS_WITHIN = 0.99
"""Fraction of equal elements where nothing but indices and the like can be compared."""

SATURATED_SCALE = 1e-2
"""Scale of a sigmoid's output at least: in float32 the tolerance is then 1e-6, ten roundings of a number near one."""

_QUANTIZED = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")


@dataclass(frozen=True)
class Tolerance:
    """What counts as equal.

    Attributes:
        relative: Allowed difference over the largest reference value.
        within: Fraction of the elements that must meet it.
        dtype: Data type that the figure comes from.
    """

    relative: float
    within: float
    dtype: str


def check_exact(before: ir.Model, after: ir.Model, ctx: Context | None = None) -> dict[str, Any]:
    """Hold `after` to the numbers of `before`.

    Args:
        before: The model as it was.
        after: The model as a pass left it.
        ctx: Shapes, runtime, seed, and samples where no input can be made up.

    Returns:
        Figures for the report: max_abs, relative (to the tolerance's scale), tolerance, probes, tensors; or
        ``skipped`` with a reason code where all of the model's numbers are random.

    Raises:
        VerifyFailure: Naming the tensor that differs most.
    """
    options = ctx.runtime if ctx is not None else RuntimeOptions()
    first, _ = runnable_part(before, options)
    second, _ = runnable_part(after, options)
    names, tolerance = _names(first, second), tolerance_of(first, second)
    if not names and random_nodes(first):
        return {"skipped": "VERIFY-RANDOM", "tensors": 0}
    if not names:  # the inputs themselves go into ArgMax and the like
        names, tolerance = _tensor_outputs(first), replace(tolerance, within=JUMPS_WITHIN)
    probes = _probes(first, ctx, options)
    worst = _Worst(tolerance, _steps(first, names), _saturating(first))
    for optimize in (False, True):
        pair = [Session(model, options, optimize=optimize, taps=names) for model in (first, second)]
        used = probes[:1] if optimize and (ctx is None or ctx.verify == "quick") else probes
        for feeds in used:
            worst.add(names, *(session.run(feeds, names) for session in pair))
    worst.check()
    return {**worst.figures(), "probes": len(probes), "tensors": len(names)}


def tolerance_of(*models: ir.Model) -> Tolerance:
    """The tolerance for models that are compared with each other: that of the coarsest type they compute in."""
    kinds = {kind for model in models for kind in _float_types(model)} & set(TOLERANCES)
    coarsest = max(kinds, key=lambda kind: TOLERANCES[kind], default=ir.DataType.FLOAT)
    if kinds == {ir.DataType.DOUBLE, ir.DataType.FLOAT}:
        coarsest = ir.DataType.FLOAT
    quantized = any(node.op_type in _QUANTIZED for model in models for node in iter_nodes(model))
    if quantized:
        return Tolerance(1 / 127 + TOLERANCES[coarsest], STEPS_WITHIN, "quantized")
    return Tolerance(TOLERANCES[coarsest], 1.0, coarsest.name.lower())


def _float_types(model: ir.Model) -> set[ir.DataType]:
    kinds = {value.dtype for value in (*model.graph.inputs, *model.graph.outputs)}
    for scope in scopes(model):
        if isinstance(scope, ir.Graph):
            kinds |= {v.const_value.dtype for v in scope.initializers.values() if v.const_value is not None}
        kinds |= {
            ir.DataType(n.attributes["to"].as_int()) for n in scope if n.op_type == "Cast" and "to" in n.attributes
        }
    return {kind for kind in kinds if kind is not None and kind.is_floating_point()}


def _names(first: ir.Model, second: ir.Model) -> list[str]:
    """Tensors that both models have and that can be compared in both."""
    there = set(comparable(second)) | {value.name for value in second.graph.outputs}
    made = {value.name for node in second.graph for value in node.outputs}
    return [name for name in comparable(first) if name in there or name in made]


def _tensor_outputs(model: ir.Model) -> list[str]:
    sequences = (ir.SequenceType, ir.OptionalType)
    return [value.name for value in model.graph.outputs if value.name and not isinstance(value.type, sequences)]


def _probes(model: ir.Model, ctx: Context | None, options: RuntimeOptions) -> list[dict[str, np.ndarray]]:
    shapes, seed = (ctx.shapes, ctx.seed) if ctx is not None else ({}, 0)
    try:
        probes = [probe_feeds(model, shapes=shapes, seed=seed, options=options)]
    except ModelError:
        if ctx is None or ctx.data is None:
            raise
        return [dict(next(feeds_of(model, ctx.data, batch=2)).arrays)]
    if batch_axis(model) and not shapes:
        probes.append(probe_feeds(model, shapes=shapes, batch=3, seed=seed + 1, options=options))
    return probes


def _steps(model: ir.Model, names: Sequence[str]) -> dict[str, float]:
    """The quantization step of those tensors that come straight out of DequantizeLinear with one scale."""
    steps: dict[str, float] = {}
    for node in model.graph:
        name = node.outputs[0].name if node.op_type == "DequantizeLinear" else None
        if name is not None and name in names:
            scale = array_of(node.inputs[1])
            if scale is not None and scale.size == 1:
                steps[name] = float(scale.reshape(-1)[0])
    return steps


def _saturating(model: ir.Model) -> frozenset[str]:
    """Tensors that come straight out of a saturating operator."""
    return frozenset(node.outputs[0].name or "" for node in model.graph if node.op_type in SATURATING)


class _Worst:
    """The worst figures over tensors, probes and optimization levels."""

    def __init__(self, tolerance: Tolerance, steps: Mapping[str, float], saturating: frozenset[str]) -> None:
        self._tolerance, self._steps, self._saturating = tolerance, steps, saturating
        self._max_abs, self._relative = 0.0, 0.0
        self._broken: tuple[str, str] | None = None

    def add(self, names: Sequence[str], first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> None:
        for name in names:
            one, other = first[name], second[name]
            if not (is_tensor(one) and is_tensor(other)):
                continue
            if one.shape != other.shape or one.dtype != other.dtype:
                self._break(name, f"{one.dtype}{list(one.shape)} became {other.dtype}{list(other.shape)}")
            elif is_numeric(one):
                self._numbers(name, one, other)
            elif not np.array_equal(one, other):
                self._break(name, "its text differs")

    def _numbers(self, name: str, one: np.ndarray, other: np.ndarray) -> None:
        distance = Distance()
        distance.add(one, other)
        found = distance.result()
        if one.dtype.kind in "iub":
            share = 1.0 if self._tolerance.within == 1.0 else self._tolerance.within
            if found.equal < share and not _one_step(one, other, share):
                self._break(name, f"{1 - found.equal:.2%} of its integers differ")
            return
        relative = found.max_abs / found.scale if found.scale else found.max_abs
        self._max_abs, self._relative = max(self._max_abs, found.max_abs), max(self._relative, relative)
        least = SATURATED_SCALE if name in self._saturating else 1e-6
        allowed = self._steps.get(name, 0.0) * 1.01 or self._tolerance.relative * max(found.scale, least)
        share = _share_within(one, other, allowed)
        if share < self._tolerance.within:
            kind = self._tolerance.dtype
            limit = f"{allowed:.3g} is allowed ({kind}, scale {found.scale:.3g})"
            why = f"it differs by up to {found.max_abs:.3g} where {limit}"
            self._break(name, why)

    def _break(self, name: str, why: str) -> None:
        self._broken = self._broken or (name, why)

    def figures(self) -> dict[str, Any]:
        """The figures of the report."""
        relative = self._tolerance.relative
        return {"max_abs": self._max_abs, "relative": self._relative, "tolerance": relative}

    def check(self) -> None:
        """Raise for the first tensor that differed."""
        if self._broken is not None:
            name, why = self._broken
            what, hint = "the result computes other numbers than the model", "Please report it with the model."
            raise VerifyFailure(what, where=f"tensor {name}", why=why, hint=hint, code="VERIFY-NUMBERS")


def _share_within(one: np.ndarray, other: np.ndarray, allowed: float) -> float:
    if not one.size:
        return 1.0
    first, second = one.astype(np.float64), other.astype(np.float64)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    finite = np.isfinite(first) & np.isfinite(second)
    gap = np.where(finite, np.abs(np.where(finite, first, 0) - np.where(finite, second, 0)), np.inf)
    return float(np.mean(same | (gap <= allowed)))


def _one_step(one: np.ndarray, other: np.ndarray, share: float) -> bool:
    """True where integers of a quantized model are off by at most one, in all but a few places."""
    if share == 1.0 or one.dtype.itemsize > 2:
        return False
    return float(np.mean(np.abs(one.astype(np.int64) - other.astype(np.int64)) <= 1)) >= share
