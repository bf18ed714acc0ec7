"""Zero test: the reference, which is the original with the doomed slices at zero.

Every weight, bias and additive constant keeps its size and loses its doomed slices. Scales, variances and divisors are
left as they are: their channel is zero already, and zero there would divide; where the channel itself is divided by, or
its logarithm taken, the result is zero. What takes statistics over a cut axis sees only the kept positions (`masking`).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.oracles.masking import FIRST_WHERE, POLES, Masker, is_maskable
from onnxcompress.passes.pruning.oracles.rewriting import Rewritten
from onnxcompress.passes.pruning.quantized import nothing
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.trace import Port, Use

_DIVIDES = {("BatchNormalization", 4), ("Div", 1), ("Pow", 0), ("Pow", 1), ("Mod", 1)}
_SCALES = ("QuantizeLinear", "DequantizeLinear")


def zeroed(cut: Cut) -> ir.Model:
    """A copy of the traced model, at full size, whose doomed slices are zero."""
    copy = Rewritten(cut.found, cut.names)
    copy.edit(lambda use, numbers: numbers if _divides(use) else _masked(cut, use, numbers))
    masker = Masker(copy.model, copy.names)
    for node, axes in _cut_statistics(cut):
        if _is_maskable(cut, node):
            x = node.inputs[0]
            dtype = None if x is None else cut.found.dtype(x)
            assert dtype is not None
            masker.mask(copy.nodes[node], _seen(cut, node, axes), [axis for axis, _ in axes], dtype.numpy())
    if cut.found.model.graph.opset_imports.get("", 1) >= FIRST_WHERE:
        _hide_poles(cut, copy, masker)
    return copy.model


def _hide_poles(cut: Cut, copy: Rewritten, masker: Masker) -> None:
    for node, twin in copy.nodes.items():
        kind = cut.found.dtype(node.outputs[0]) if node.op_type in POLES else None
        keep = _kept(cut, node.outputs[0]) if kind is not None and kind.is_floating_point() else None
        if keep is not None and kind is not None:
            masker.hide(twin, keep, kind.numpy())


def _kept(cut: Cut, value: ir.Value) -> np.ndarray | None:
    """The positions of a tensor that stay, broadcast along the axes that stay whole; None where all do."""
    labels, joints = cut.found.labels.get(value, []), cut.found.joints.get(value, ())
    by_row = {axis for joint in joints for axis in joint.axes}
    lists = [((axis,), ids) for axis, ids in enumerate(labels) if ids is not None and axis not in by_row]
    result = np.ones((1,) * len(labels), bool)
    for axes, ids in [*lists, *((joint.axes, joint.ids) for joint in joints)]:
        sizes = dict(zip(axes, ids.shape, strict=True))
        result = result & cut.keep(ids).reshape([sizes.get(axis, 1) for axis in range(len(labels))])
    return None if result.all() else result


def _seen(cut: Cut, node: ir.Node, axes: list[tuple[int, Ids]]) -> np.ndarray:
    """What of the node's input stays, of its rank; where each row keeps other positions, row by row."""
    rank = len(cut.found.shape_of(node, 0))
    seen = np.ones((1,) * rank, bool)
    for axis, ids in axes:
        joint = next((j for j in cut.found.joints_of(node, 0) if axis in j.axes), None)
        atoms, places = (ids, (axis,)) if joint is None else (joint.ids, joint.axes)
        sizes = dict(zip(places, atoms.shape, strict=True))
        seen = seen & cut.keep(atoms).reshape([sizes.get(a, 1) for a in range(rank)])
    return seen


def changes_statistics(cut: Cut) -> bool:
    """Whether an op takes statistics over a cut axis that the masked reference cannot imitate."""
    return any(not _is_maskable(cut, node) for node, _ in _cut_statistics(cut))


def _is_maskable(cut: Cut, node: ir.Node) -> bool:
    known = node.inputs[0] is not None and cut.found.dtype(node.inputs[0]) is not None
    return known and is_maskable(node, cut.found.model.graph.opset_imports.get("", 1))


def _cut_statistics(cut: Cut) -> list[tuple[ir.Node, list[tuple[int, Ids]]]]:
    return [(n, axes) for n, axes in cut.found.statistics.items() if any(not cut.keep(i).all() for _, i in axes)]


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
