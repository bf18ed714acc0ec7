"""Movement ops have no rule: see where each index of an axis went (`routes`), and write the atoms there.

A list that comes out along one axis is that axis's list. One that comes out along several is divided into factors
(`Trace.divide`), and the whole is remembered as a `Joint`, so that it is found again where the axes meet. Lists that
meet on one axis without a common whole are multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.products import Joint
from onnxcompress.passes.pruning.routes import LOST, Block, routes
from onnxcompress.passes.pruning.trace import Labels, Trace


def moved(found: Trace, node: ir.Node) -> None:
    """Labels of the outputs of a data-movement op with one data input."""
    labels = found.of(node, 0)
    plan = routes(found, node)
    if plan is None:
        why = f"where {node.op_type} puts it depends on data"
        found.freeze(labels, node, "PRUNE-FROZEN-DATA-DEPENDENT", why)
        return
    for at, blocks in enumerate(plan):
        if node.outputs[at].name:
            rank = len(found.shape(node.outputs[at]) or ())
            _Move(found, node, found.shape_of(node, 0), blocks, rank).write(at)
    if node.inputs[0] in found.uniform:
        found.uniform.update(node.outputs)


@dataclass(frozen=True, eq=False)
class _Spread:
    """Positions on one input axis, seen from the output: one dimension for each of `axes`, which all matter."""

    axes: tuple[int, ...]
    index: np.ndarray


class _Move:
    """One output of one movement op."""

    def __init__(self, found: Trace, node: ir.Node, shape: Sequence[int], blocks: list[Block], rank: int) -> None:
        self._found, self._node, self._shape, self._rank = found, node, shape, rank
        self._blocks = {axis: block for block in blocks for axis in block.inputs}
        self._spreads: dict[int, _Spread | None] = {}

    def write(self, at: int) -> None:
        """Set labels and joints of output `at`."""
        given = self._found.joints_of(self._node, 0)
        pairs = [(set(joint.axes), self._joint(joint)) for joint in given]
        whole = [(covered, joint) for covered, joint in pairs if joint is not None]
        parts: list[dict[int, Ids]] = [{} for _ in range(self._rank)]
        for axis, ids in enumerate(self._found.of(self._node, 0)):
            if ids is not None:
                whole += [({axis}, joint) for joint in self._list(axis, ids, parts)]
        result: Labels = [self._merged(axis, parts[axis], whole) for axis in range(self._rank)]
        output = self._node.outputs[at]
        self._found.put(self._node, at, result)
        self._found.joints[output] = tuple(joint for _, joint in whole if len(joint.axes) > 1)

    def _merged(self, axis: int, lists: dict[int, Ids], whole: list[tuple[set[int], Joint]]) -> Ids | None:
        """The list of an output axis: a whole that has met again there, times what it does not account for."""
        met = [(covered, joint.ids) for covered, joint in whole if joint.axes == (axis,)]
        covered, ids = max(met, key=lambda pair: len(pair[0]), default=(set[int](), None))
        factors = [*([] if ids is None else [ids]), *(part for a, part in lists.items() if a not in covered)]
        if not factors:
            return None
        return factors[0] if len(factors) == 1 else self._found.multiply(factors)

    def _list(self, axis: int, ids: Ids, parts: list[dict[int, Ids]]) -> list[Joint]:
        """Where the list of one axis goes: into `parts`, and into a joint if it is divided."""
        block = self._blocks.get(axis)
        if block is not None and block.table is None:
            parts[block.outputs[0]][axis] = ids
            return []
        if block is not None and block.table is not None and not block.table.size:
            return []  # nothing is taken of it
        spread = self._spread(axis)
        if spread is None or not spread.axes:
            taken = ids if spread is None else ids[np.unique(spread.index)]
            self._freeze(taken, "PRUNE-FROZEN-SINGLE", "a single channel is taken out of it")
            return []
        spread = self._needed(spread, ids)
        line = ids[spread.index]
        if len(spread.axes) == 1 and spread.axes[0] != LOST:
            parts[spread.axes[0]][axis] = line
            return []
        lists = self._found.divide(line)
        if lists is None:
            self._freeze(ids, "PRUNE-FROZEN-OVERLAP", "lays it out in windows that overlap")
            return []
        return self._divided(axis, spread, line, lists, parts)

    def _needed(self, spread: _Spread, ids: Ids) -> _Spread:
        """Without the axes along which a channel only repeats: pixels that were flattened with it, and come back."""
        classes = self._found.atoms.roots(ids[spread.index])
        varies = [at for at in range(classes.ndim) if (classes != classes.take([0], axis=at)).any()]
        if not varies or len(varies) == classes.ndim:
            return spread
        chosen = tuple(slice(None) if at in varies else 0 for at in range(classes.ndim))
        return _Spread(tuple(spread.axes[at] for at in varies), spread.index[chosen])

    def _divided(
        self, axis: int, spread: _Spread, line: np.ndarray, lists: tuple[Ids, ...], parts: list[dict[int, Ids]]
    ) -> list[Joint]:
        for out, factor in zip(spread.axes, lists, strict=True):
            if out == LOST:
                self._freeze(factor, "PRUNE-FROZEN-OP", "its places along other axes are all needed")
            else:
                parts[out][axis] = factor
        joint = Joint(line, spread.axes, spread.axes[-1])
        if LOST in spread.axes:
            self._found.pin([joint])
            return []
        return [joint]

    def _freeze(self, ids: Ids, code: str, why: str) -> None:
        self._found.freeze([ids], self._node, code, f"{self._node.op_type}: {why}")

    def _joint(self, joint: Joint) -> Joint | None:
        """The joint as the output shows it: a list where its axes have met again; None where it is lost."""
        spreads = [self._spread(axis) for axis in joint.axes]
        known = [spread for spread in spreads if spread is not None]
        axes = tuple(sorted({axis for spread in known for axis in spread.axes}))
        if len(known) < len(spreads) or not axes or LOST in axes:
            self._found.pin([joint])
            return None
        ids = joint.ids[tuple(_aligned(spread, axes) for spread in known)]
        free = None if joint.free is None else known[joint.axes.index(joint.free)].axes
        if free is None or len(free) != 1:
            self._found.pin([joint])
        return Joint(ids, axes, free[0] if free is not None and len(free) == 1 else None)

    def _spread(self, axis: int) -> _Spread | None:
        if axis not in self._spreads:
            self._spreads[axis] = self._traced(axis)
        return self._spreads[axis]

    def _traced(self, axis: int) -> _Spread | None:
        block = self._blocks.get(axis)
        if block is None or (block.table is not None and not block.table.size):
            return None
        if block.table is None:
            return _Spread(block.outputs, np.arange(self._shape[axis]))
        sizes = [self._shape[a] for a in block.inputs]
        index = np.unravel_index(block.table, sizes)[block.inputs.index(axis)]
        keep = [a for a in range(index.ndim) if (index != index.take([0], axis=a)).any()]
        line = index[tuple(slice(None) if a in keep else 0 for a in range(index.ndim))]
        return _Spread(tuple(block.outputs[a] for a in keep), np.asarray(line))


def _aligned(spread: _Spread, axes: tuple[int, ...]) -> np.ndarray:
    """The index with one dimension for each of `axes`."""
    sizes = dict(zip(spread.axes, spread.index.shape, strict=True))
    return spread.index.reshape([sizes.get(axis, 1) for axis in axes])


def padded(found: Trace, node: ir.Node) -> None:
    """Pad: what is padded in is new and may go again; cropped channels are like those of a Slice."""
    labels, shape = found.of(node, 0), found.shape_of(node, 0)
    pads = attribute(node, "pads")
    pads = found.concrete(node, 1) if pads is None else pads
    axes = found.concrete(node, 3) if found.has(node, 3) else np.arange(len(shape))
    if pads is None or axes is None:
        found.freeze(labels, node, "PRUNE-FROZEN-DATA-DEPENDENT", "how Pad moves it depends on data")
        return
    result: Labels = list(labels)
    for at, axis in enumerate(int(a) % len(shape) for a in axes):
        sides, ids = (int(pads[at]), int(pads[at + len(axes)])), labels[axis]
        if ids is not None and any(sides):
            result[axis] = _pad_list(found, node, ids, sides, str(attribute(node, "mode", "constant")))
    found.put(node, 0, result)


def _pad_list(found: Trace, node: ir.Node, ids: Ids, pads: tuple[int, int], mode: str) -> Ids | None:
    if mode != "constant":
        found.freeze([ids], node, "PRUNE-FROZEN-OP", "Pad repeats channels")
        return None
    before, after = (found.atoms.fresh(max(n, 0)) for n in pads)
    inner = ids[max(-pads[0], 0) : len(ids) + min(pads[1], 0)]
    return np.concatenate([before, inner, after])


def joined(found: Trace, node: ir.Node) -> None:
    """Concat: the lists follow each other on its axis; all other axes are one."""
    labels = [found.of(node, i) for i in range(len(node.inputs))]
    shapes = [found.shape_of(node, i) for i in range(len(node.inputs))]
    axis = int(attribute(node, "axis", 0)) % len(shapes[0])
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
    _join_rows(found, node, axis)


def _join_rows(found: Trace, node: ir.Node, axis: int) -> None:
    """Lists that differ from row to row follow each other too, where every part has its own."""
    each = [found.joints_of(node, i) for i in range(len(node.inputs))]
    shapes = [[(joint.axes, joint.free) for joint in joints] for joints in each]
    if not each[0] or any(shape != shapes[0] for shape in shapes):
        for joints in each:
            found.pin(joints)
        return
    result: list[Joint] = []
    for parts in zip(*each, strict=True):
        if axis in parts[0].axes:
            ids = np.concatenate([joint.ids for joint in parts], axis=parts[0].axes.index(axis))
        else:
            ids = parts[0].ids
            for joint in parts[1:]:
                found.atoms.unify(ids.ravel(), joint.ids.ravel())
        result.append(Joint(ids, parts[0].axes, parts[0].free))
    found.joints[node.outputs[0]] = tuple(result)


def _or_fixed(found: Trace, node: ir.Node, ids: Ids | None, size: int) -> Ids:
    if ids is not None:
        return ids
    extra = found.atoms.fresh(size)
    found.freeze([extra], node, "PRUNE-FROZEN-PARTNER", "it is joined with a tensor whose axis is fixed")
    return extra
