"""Movement ops have no rule: run the op on an arange along one labelled axis, and read where each index went."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.trace import Labels, Trace

_CHANNEL_FIRST = ("DepthToSpace",)
"""Ops whose result keeps the labels on axis 1, whatever the sizes."""


def moved(found: Trace, node: ir.Node) -> None:
    """Labels of the outputs of a data-movement op with one data input."""
    labels = found.of(node, 0)
    others = [found.concrete(node, i) if found.has(node, i) else None for i in range(1, len(node.inputs))]
    missing = [i for i, other in enumerate(others, 1) if other is None and found.has(node, i)]
    if missing or not any(ids is not None for ids in labels):
        why = f"where {node.op_type} puts it depends on data"
        found.freeze(labels, node, "PRUNE-FROZEN-DATA-DEPENDENT", why)
        return
    shape = found.shape_of(node, 0)
    results: list[Labels] | None = None
    for axis, ids in enumerate(labels):
        if ids is not None:
            outputs = run_on(found.model, node, index_along(shape, axis), others)
            results = results or [[None] * array.ndim for array in outputs]
            for at, array in enumerate(outputs):
                _place(found, node, array, ids, results[at])
    for at, result in enumerate(results or []):
        found.put(node, at, result)


def index_along(shape: tuple[int, ...], axis: int) -> np.ndarray:
    """An int64 view of `shape` whose elements tell their position on `axis`."""
    line = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return np.broadcast_to(line, shape)


def run_on(model: ir.Model, node: ir.Node, data: np.ndarray, others: list[np.ndarray | None]) -> list[np.ndarray]:
    """The outputs of one node for the given data, by ONNX's reference implementation."""
    feed = ir.Value(name="data", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([None] * data.ndim))
    constants = [None if a is None else _initializer(f"i{i}", a) for i, a in enumerate(others)]
    names = [value.name or "" for value in node.outputs]
    outputs = [ir.Value(name=f"o{i}" if name else "") for i, name in enumerate(names)]
    lone = ir.Node("", node.op_type, [feed, *constants], list(node.attributes.values()), outputs=outputs)
    imports = {"": model.graph.opset_imports.get("", 1)}
    named = [value for value in outputs if value.name]
    inits = [value for value in constants if value is not None]
    graph = ir.Graph([feed], named, nodes=[lone], initializers=inits, opset_imports=imports, name="one")
    evaluator = ReferenceEvaluator(ir.to_proto(ir.Model(graph, ir_version=10)))
    found = iter(evaluator.run(None, {"data": data}))
    return [np.asarray(next(found)) if name else np.zeros(0, np.int64) for name in names]


def _initializer(name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)


def _place(found: Trace, node: ir.Node, indices: np.ndarray, ids: Ids, result: Labels) -> None:
    """Write the list that came out of one input axis into the labels of one output."""
    if not indices.size:
        return
    varying = [a for a in range(indices.ndim) if (indices != indices.take([0], axis=a)).any()]
    if not varying:
        found.freeze([ids[np.unique(indices)]], node, "PRUNE-FROZEN-SINGLE", "a single channel is taken out of it")
        return
    axis = _axis_of(node, indices, varying)
    line = ids[indices[tuple(slice(None) if a == axis else 0 for a in range(indices.ndim))]]
    if len(varying) > 1:
        _coarsen(found, indices, ids, axis)
    if result[axis] is not None:
        why = f"{node.op_type} merges it with another axis that is traced"
        found.freeze([line, result[axis]], node, "PRUNE-FROZEN-COLLISION", why)
        result[axis] = None
        return
    result[axis] = line


def _axis_of(node: ir.Node, indices: np.ndarray, varying: list[int]) -> int:
    """The axis that keeps the labels where the op split theirs: the longest, which leaves the most to choose."""
    if node.op_type in _CHANNEL_FIRST and 1 in varying:
        return 1
    distinct = [len(np.unique(indices[tuple(slice(None) if b == a else 0 for b in range(indices.ndim))]))
                for a in varying]  # fmt: skip
    return max(zip(distinct, varying, strict=True))[1]


def _coarsen(found: Trace, indices: np.ndarray, ids: Ids, axis: int) -> None:
    """All atoms at one position of `axis` live and die together."""
    rows = np.moveaxis(indices, axis, 0).reshape(indices.shape[axis], -1)
    first = np.broadcast_to(rows[:, :1], rows.shape)
    pairs = np.unique(np.stack([first.ravel(), rows.ravel()]), axis=1)
    found.atoms.unify(ids[pairs[0]], ids[pairs[1]])


def padded(found: Trace, node: ir.Node) -> None:
    """Pad: channels that are padded in are new and stay; other axes pass."""
    labels, shape = found.of(node, 0), found.shape_of(node, 0)
    pads = node.attributes["pads"].value if "pads" in node.attributes else found.concrete(node, 1)
    if pads is None:
        found.freeze(labels, node, "PRUNE-FROZEN-DATA-DEPENDENT", "how Pad moves it depends on data")
        return
    axes = found.concrete(node, 3) if found.has(node, 3) else np.arange(len(shape))
    if axes is None:
        axes = np.arange(len(shape))
    listed = [int(a) % len(shape) for a in axes]
    mode = node.attributes["mode"].value if "mode" in node.attributes else "constant"
    result: Labels = list(labels)
    for at, axis in enumerate(listed):
        before, after = int(pads[at]), int(pads[at + len(listed)])
        ids = labels[axis]
        if ids is not None and (before or after):
            result[axis] = _pad_list(found, node, ids, (before, after), mode)
    found.put(node, 0, result)


def _pad_list(found: Trace, node: ir.Node, ids: Ids, pads: tuple[int, int], mode: str) -> Ids | None:
    if mode != "constant" or min(pads) < 0:
        found.freeze([ids], node, "PRUNE-FROZEN-OP", "Pad repeats or crops channels")
        return None
    extra = found.atoms.fresh(sum(pads))
    found.freeze([extra], node, "PRUNE-FROZEN-PADDING", "the channel is padding")
    return np.concatenate([extra[: pads[0]], ids, extra[pads[0] :]])


def joined(found: Trace, node: ir.Node) -> None:
    """Concat: the lists follow each other on its axis; all other axes are one."""
    labels = [found.of(node, i) for i in range(len(node.inputs))]
    shapes = [found.shape_of(node, i) for i in range(len(node.inputs))]
    axis = int(node.attributes["axis"].value) % len(shapes[0])
    result: Labels = []
    for a, size in enumerate(shapes[0]):
        if a != axis:
            result.append(found.unify(node, *(each[a] for each in labels)) if size > 1 else None)
        elif all(each[a] is None for each in labels):
            result.append(None)
        else:
            parts = [_or_fixed(found, node, each[a], shape[a]) for each, shape in zip(labels, shapes, strict=True)]
            result.append(np.concatenate(parts))
    found.put(node, 0, result)


def _or_fixed(found: Trace, node: ir.Node, ids: Ids | None, size: int) -> Ids:
    if ids is not None:
        return ids
    extra = found.atoms.fresh(size)
    found.freeze([extra], node, "PRUNE-FROZEN-PARTNER", "it is joined with a tensor whose axis is fixed")
    return extra
