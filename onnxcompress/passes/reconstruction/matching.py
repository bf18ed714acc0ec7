"""Which of the teacher's channels a student has, where no record says so: the student was cut by another tool.

For every tensor that both have under one name and whose sizes differ along one axis, in topological order:

1. what came in decides, where the operation keeps channels apart (elementwise, pooling, norms, Transpose, Flatten,
   Concat, depthwise convolution);
2. the weights decide, where the operation is linear: output channel j of the student is the teacher's channel i whose
   slice, cut to the inputs that are known already, has the largest cosine with the student's slice;
3. else the activations on a few samples do, by correlation.

Channels are paired one to one, the clearest pairs first, and only pairs that are clear enough count.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.reconstruction.cells import GATES
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.linear import linear_of
from onnxcompress.passes.reconstruction.slots import slot_of

Arrays = Mapping[str, np.ndarray]
Kept = dict[str, dict[int, list[int]]]

_ROWS = 4096
_CLEAR_WEIGHTS, _CLEAR_ACTIVATIONS = 0.9, 0.6
_MOVING = {"Gemm", "MatMul", "Conv", "ConvTranspose", "Concat", "Split", "Gather", "Slice", "Einsum"}


def infer_kept(student: ir.Model, teacher: ir.Model, ours: Arrays, theirs: Arrays) -> Kept:
    """Channels of the teacher that the student has, by tensor name and axis.

    Args:
        student: The smaller model.
        teacher: The model that it was cut from; tensors have the same names.
        ours: All float tensors of the student for a few samples.
        theirs: The same of the teacher.
    """
    twins = {v.name or "": node for node in teacher.graph for v in node.outputs}
    found: Kept = {}
    for index, node in enumerate(student.graph):
        for value in node.outputs:
            name = value.name or ""
            axis = _cut_axis(ours.get(name), theirs.get(name))
            if axis is None:
                continue
            kept = _carried(node, axis, found, ours, theirs, name)
            if kept is None and name in twins:
                kept = _by_weights(node, twins[name], index, found)
            if kept is None:
                kept = _by_activations(ours[name], theirs[name], axis)
            if kept is not None:
                found[name] = {axis: kept}
    return found


def _cut_axis(a: np.ndarray | None, b: np.ndarray | None) -> int | None:
    """The one axis along which the student's tensor is smaller."""
    if a is None or b is None or a.ndim != b.ndim:
        return None
    axes = [i for i, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)) if m != n]
    return axes[0] if len(axes) == 1 and a.shape[axes[0]] < b.shape[axes[0]] else None


def _carried(node: ir.Node, axis: int, found: Kept, ours: Arrays, theirs: Arrays, name: str) -> list[int] | None:
    """From the inputs, where the operation keeps channels apart."""
    inputs = [v.name or "" for v in node.inputs if v is not None]
    sizes = ours[name].shape[axis], theirs[name].shape[axis]
    if node.op_type == "Concat":
        return _joined(inputs, axis, found, ours, theirs)
    if node.op_type in ("Flatten", "Reshape"):
        return _spread(inputs[0], found, ours, theirs, sizes)
    if node.op_type == "Transpose":
        permutation = list(node.attributes["perm"].as_ints()) if "perm" in node.attributes else None
        source = permutation[axis] if permutation else ours[name].ndim - 1 - axis
        return found.get(inputs[0], {}).get(source)
    depthwise = node.op_type == "Conv" and _is_depthwise(node, sizes[0])
    if (node.op_type in _MOVING or node.op_type in GATES) and not depthwise:
        return None
    for source in inputs[:1] if depthwise else inputs:
        kept = found.get(source, {}).get(axis)
        if kept is not None and (ours[source].shape[axis], theirs[source].shape[axis]) == sizes:
            return kept
    return None


def _is_depthwise(node: ir.Node, channels: int) -> bool:
    return "group" in node.attributes and node.attributes["group"].as_int() == channels > 1


def _joined(inputs: list[str], axis: int, found: Kept, ours: Arrays, theirs: Arrays) -> list[int] | None:
    kept: list[int] = []
    offset = 0
    for name in inputs:
        if name not in ours or name not in theirs:
            return None
        size, whole = ours[name].shape[axis], theirs[name].shape[axis]
        part = list(range(size)) if size == whole else found.get(name, {}).get(axis)
        if part is None:
            return None
        kept += [offset + i for i in part]
        offset += whole
    return kept


def _spread(source: str, found: Kept, ours: Arrays, theirs: Arrays, sizes: tuple[int, int]) -> list[int] | None:
    """Channels followed by positions in one flat axis."""
    for axis, kept in found.get(source, {}).items():
        a, b = ours[source].shape, theirs[source].shape
        times = int(np.prod(b[axis + 1 :]))
        if len(kept) * times == sizes[0] and b[axis] * times == sizes[1] and a[axis] == len(kept):
            return (np.array(kept)[:, None] * times + np.arange(times)).reshape(-1).tolist()
    return None


def _by_weights(node: ir.Node, twin: ir.Node, index: int, found: Kept) -> list[int] | None:
    if node.op_type != twin.op_type:
        return None
    if node.op_type in GATES:
        units = match_units(node, twin, _last(found, node.inputs[0]))
        return None if units is None or (units != units[0]).any() else units[0].tolist()
    a, b = linear_of(node, index, shared=True), linear_of(twin, index, shared=True)
    if not isinstance(a, Linear) or not isinstance(b, Linear) or a.groups != 1 or b.groups != 1 or a.left:
        return None
    mine, whole = (_slices(linear) for linear in (a, b))
    if mine.shape[1] != whole.shape[1]:
        kept = _last(found, node.inputs[0]) if a.geometry is None else found.get(a.source, {}).get(1)
        if kept is None or max(kept) >= whole.shape[1]:
            return None
        whole = whole[:, kept]
    if mine.shape[1:] != whole.shape[1:]:
        return None
    cosine = _unit(mine.reshape(len(mine), -1)) @ _unit(whole.reshape(len(whole), -1)).T
    return _pairs(cosine, _CLEAR_WEIGHTS)


def _slices(linear: Linear) -> np.ndarray:
    """The weight as (outputs, inputs, taps)."""
    groups, columns, outputs = linear.shape()
    body = linear.matrix()[:, : columns - int(linear.takes_bias)]
    taps = int(np.prod(linear.geometry.kernel)) if linear.geometry else 1
    return body[0].T.reshape(groups * outputs, -1, taps)


def _last(found: Kept, value: ir.Value | None) -> list[int] | None:
    """What is kept of a tensor's last axis, where that is the only axis that is cut."""
    axes = found.get(value.name or "", {}) if value is not None else {}
    return next(iter(axes.values())) if len(axes) == 1 else None


def match_units(node: ir.Node, twin: ir.Node, inputs: list[int] | None) -> np.ndarray | None:
    """Units of a recurrent teacher that the student has, [directions, units], by all their gates' weights and biases.

    Args:
        node: The student's node.
        twin: The teacher's.
        inputs: Which of the teacher's inputs the student's node has; None for all, or not known.
    """
    rows: list[np.ndarray] = []
    for one, chosen in ((node, None), (twin, inputs)):
        w, b = slot_of(one, 1), slot_of(one, 3)
        parts = [] if w is None else [w.read() if chosen is None else w.read()[:, :, chosen]]
        parts += [] if b is None else [b.read().reshape(len(b.read()), 2, -1).swapaxes(1, 2)]
        rows.append(_by_unit(parts, GATES[node.op_type]))
    a, b = rows
    if a.shape[2] != b.shape[2]:
        return None
    pairs = [_pairs(_unit(m) @ _unit(n).T, _CLEAR_WEIGHTS) for m, n in zip(a, b, strict=True)]
    return None if any(p is None for p in pairs) else np.array(pairs)


def _by_unit(parts: list[np.ndarray], gates: int) -> np.ndarray:
    """Arrays [directions, gates * units, n] side by side, as [directions, units, gates * all n]."""
    flat = [
        p.reshape(len(p), gates, -1, p.shape[2]).transpose(0, 2, 1, 3).reshape(len(p), p.shape[1] // gates, -1)
        for p in parts
    ]
    return np.concatenate(flat, axis=2).astype(np.float64)


def _by_activations(ours: np.ndarray, theirs: np.ndarray, axis: int) -> list[int] | None:
    flat = [np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis]).astype(np.float64) for a in (ours, theirs)]
    if len(flat[0]) != len(flat[1]) or not all(np.isfinite(a).all() for a in flat):
        return None
    step = -(-len(flat[0]) // _ROWS)
    a, b = (_unit((x[::step] - x[::step].mean(axis=0)).T) for x in flat)
    return _pairs(a @ b.T, _CLEAR_ACTIVATIONS)


def _unit(rows: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 1e-12, norm, 1.0)


def _pairs(likeness: np.ndarray, least: float) -> list[int] | None:
    """For each row a column of its own, the likeliest pairs first; None where they are not clear on the whole."""
    order = np.argsort(-likeness, axis=None, kind="stable")
    partner = np.full(len(likeness), -1)
    taken = np.zeros(likeness.shape[1], bool)
    for row, column in zip(*np.unravel_index(order, likeness.shape), strict=True):
        if partner[row] < 0 and not taken[column]:
            partner[row], taken[column] = column, True
            if (partner >= 0).all():
                break
    clear = (partner >= 0).all() and np.median(likeness[np.arange(len(partner)), partner]) >= least
    return partner.tolist() if clear else None


def differs(student: ir.Model, teacher: ir.Model) -> bool:
    """Whether weights of the same node differ in size."""
    twins = {v.name: node for node in teacher.graph for v in node.outputs if v.name}
    for node in student.graph:
        twin = next((twins[v.name] for v in node.outputs if v.name in twins), None)
        slots = None if twin is None else (slot_of(node, 1), slot_of(twin, 1))
        if slots and slots[0] and slots[1] and slots[0].read().shape != slots[1].read().shape:
            return True
    return False
