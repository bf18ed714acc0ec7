"""What a prune must satisfy: the result equals the original with the doomed slices set to zero.

Reference: every weight, bias and additive constant keeps its size and loses its doomed slices. Scales, variances and
divisors are left as they are: their channel is zero already, and zero there would divide. A norm or a mean over a cut
axis sees only the kept positions (`masking`); where that cannot be written, only shapes are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import InternalError
from onnxcompress.graph import add_initializer, clone, fresh_name, set_constant
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.masking import MASKABLE, Masker
from onnxcompress.passes.pruning.quantized import nothing
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.trace import Port, Use, array
from onnxcompress.runtime import Session, runnable_part
from onnxcompress.runtime.session import is_tensor
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.verify.exact import Tolerance, tolerance_of
from onnxcompress.verify.freed import left, narrowed
from onnxcompress.verify.producers import comparable, random_nodes

SCALE_FLOOR = 1e-2
"""Least scale of a tensor: a sigmoid near zero carries the rounding of values near one."""

_DIVIDES = {("BatchNormalization", 4), ("Div", 1), ("Pow", 0), ("Pow", 1), ("Mod", 1)}
_SCALES = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class ZeroTest:
    """What the comparison found.

    Attributes:
        error: Largest difference over the largest reference value, over all tensors compared; NaN where none was.
        compared: False where numbers legitimately differ: other statistics, random draws.
    """

    error: float
    compared: bool


def zeroed(cut: Cut) -> ir.Model:
    """A copy of the traced model, at full size, whose doomed slices are zero."""
    model = cut.found.model
    copy = clone(model)
    values = dict(zip(_values(model), _values(copy), strict=True))
    nodes = dict(zip(model.graph.all_nodes(), copy.graph.all_nodes(), strict=True))
    names = set(cut.names)
    for number, use in enumerate(cut.found.uses):
        numbers = array(use.value)
        if numbers is None or _divides(use):
            continue
        masked = _masked(cut, use, numbers)
        if masked is numbers:
            continue
        if use.ports and len(use.value.uses()) > len(use.ports):
            fresh = _constant(copy, names, f"{use.value.name}_zeroed_{number}", masked)
            for node, index in use.ports:
                nodes[node].replace_input_with(index, fresh)
        else:
            set_constant(values[use.value], masked)
    _mask_statistics(cut, copy, nodes, names)
    return copy


def _mask_statistics(cut: Cut, copy: ir.Model, nodes: Mapping[ir.Node, ir.Node], names: set[str]) -> None:
    masker = Masker(copy, names)
    for node, axes in _cut_statistics(cut):
        kind = cut.found.dtype(node.inputs[0]) if node.inputs[0] is not None else None
        if node.op_type in MASKABLE and kind is not None:
            keeps = [(axis, cut.keep(ids)) for axis, ids in axes]
            masker.mask(nodes[node], keeps, len(cut.found.shape_of(node, 0)), kind.numpy())


def _cut_statistics(cut: Cut) -> list[tuple[ir.Node, list[tuple[int, Ids]]]]:
    return [(n, axes) for n, axes in cut.found.statistics.items() if any(not cut.keep(i).all() for _, i in axes)]


def _values(model: ir.Model) -> list[ir.Value]:
    held = [v for graph in (model.graph, *model.graph.subgraphs()) for v in graph.initializers.values()]
    return held + [v for node in model.graph.all_nodes() for v in node.outputs]


def _constant(model: ir.Model, names: set[str], name: str, numbers: np.ndarray) -> ir.Value:
    return add_initializer(model.graph, fresh_name(names, name), numbers)


def _divides(use: Use) -> bool:
    ports: list[Port] = use.ports or [(u.node, u.idx) for u in use.value.uses()]
    return any((n.op_type, i) in _DIVIDES or (n.op_type in _SCALES and i > 0) for n, i in ports)


def _masked(cut: Cut, use: Use, numbers: np.ndarray) -> np.ndarray:
    result = numbers
    for axis, ids in enumerate(use.labels):
        if ids is not None and not cut.keep(ids).all():
            shape = [-1 if a == axis else 1 for a in range(numbers.ndim)]
            result = np.where(cut.keep(ids).reshape(shape), result, nothing(use, numbers))
    for axis, ids in use.blocks.items():
        keep = cut.keep(ids).reshape(-1, numbers.shape[axis])
        rows = np.repeat(keep, numbers.shape[0] // len(keep), axis=0)
        shape = [n if a in (0, axis) else 1 for a, n in enumerate(numbers.shape)]
        if not keep.all():
            result = np.where(rows.reshape(shape), result, nothing(use, numbers))
    return result


def changes_statistics(cut: Cut) -> bool:
    """Whether an op takes statistics over a cut axis that the masked reference cannot imitate."""
    return any(node.op_type not in MASKABLE for node, _ in _cut_statistics(cut))


def compare(
    reference: ir.Model,
    pruned: ir.Model,
    feeds: Mapping[str, np.ndarray],
    options: RuntimeOptions,
    *,
    statistics: bool,
) -> ZeroTest:
    """Run both models, without ONNX Runtime's optimizations, and compare outputs, or the floats before a jump.

    Args:
        reference: The zeroed original.
        pruned: The result.
        feeds: Seeded inputs in range.
        options: Providers, threads, custom operators.
        statistics: Only shapes are comparable.

    Raises:
        InternalError: Naming the tensor that differs.
    """
    first, _ = runnable_part(reference, options)
    second, _ = runnable_part(pruned, options)
    outputs = [value.name for value in first.graph.outputs if value.name]
    made = {value.name for node in second.graph for value in node.outputs}
    names = [] if statistics or random_nodes(first) else [n for n in comparable(first) if n in made]
    taps = list(dict.fromkeys([*outputs, *names]))
    pair = [Session(model, options, optimize=False, taps=taps).run(feeds, taps) for model in (first, second)]
    allowed, worst, freed = tolerance_of(first, second), 0.0, left(reference, pruned)
    for name in taps:
        wanted, got = pair[0][name], pair[1][name]
        if not is_tensor(wanted):
            continue
        wanted = narrowed(name, wanted, freed)
        if name in outputs and wanted.shape != got.shape:
            raise _failure(name, f"its shape {wanted.shape} became {got.shape}")
        if name in names and wanted.shape == got.shape and wanted.size and wanted.dtype.kind in "fV":
            worst = max(worst, _distance(name, wanted, got, allowed))
    return ZeroTest(worst if names else float("nan"), bool(names))


def _distance(name: str, wanted: np.ndarray, got: np.ndarray, allowed: Tolerance) -> float:
    """Largest difference over the largest reference value; raises where too many elements differ too much."""
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    scale = max(float(np.abs(a[np.isfinite(a)]).max(initial=0.0)), SCALE_FLOOR)
    gap = np.where(same, 0.0, np.abs(a - b)) / scale
    if not float((gap <= allowed.relative).mean()) >= allowed.within:
        raise _failure(name, f"it differs from the masked original by {float(np.nanmax(gap)):.2g} of its range")
    return float(np.nanmax(gap))


def _failure(name: str, why: str) -> InternalError:
    hint = "Please report it with the model; --exclude leaves the nodes concerned alone."
    return InternalError("a cut changed more than it should", where=f"output {name}", why=why, hint=hint,
                         code="PRUNE-ORACLE")  # fmt: skip
