"""Where a movement op takes each axis: independent blocks of input axes and output axes, with an index table each.

A block says: the elements along these input axes, in row-major order, end up along these output axes in the order of
`table`. Sizes of axes outside of a block do not matter to it, so tables are as small as what really moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.trace import Trace

LOST = -1
"""Stands for an output axis on which what varies cannot be followed."""


@dataclass(frozen=True, eq=False)
class Block:
    """Axes that move together.

    Attributes:
        inputs: Axes of the input.
        outputs: Axes of the output; `LOST` where the variation ends.
        table: Flat indices into the input axes, one dimension an output axis; None where one axis passes as it is.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: np.ndarray | None


def routes(found: Trace, node: ir.Node) -> list[list[Block]] | None:
    """The blocks of every output; None where they depend on data."""
    after = [found.shape(value) if value.name else None for value in node.outputs]
    others = [found.concrete(node, i) for i in range(1, len(node.inputs)) if found.has(node, i)]
    if any(numbers is None for numbers in others) or after[0] is None:
        return None
    return _ROUTES[node.op_type](found, node, found.shape_of(node, 0), [shape or () for shape in after])


def _axes(found: Trace, node: ir.Node, name: str, index: int) -> list[int] | None:
    given = attribute(node, name)
    if given is None and found.has(node, index):
        given = found.concrete(node, index)
    return None if given is None else [int(v) for v in np.ravel(given)]


Shape = tuple[int, ...]
Router = Callable[[Trace, ir.Node, Shape, list[Shape]], list[list[Block]] | None]


def _reshape(found: Trace, node: ir.Node, before: Shape, after: list[Shape]) -> list[list[Block]]:
    """Row-major order is kept: blocks end where the running products meet."""
    return [regrouped(before, after[0])]


def regrouped(before: Shape, after: Shape) -> list[Block]:
    """Blocks of a reshape; axes of one element belong to none."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    blocks: list[Block] = []
    while left and right:
        inputs, outputs = [left.pop(0)], [right.pop(0)]
        a, b = before[inputs[0]], after[outputs[0]]
        while a != b and (left or right):
            if a < b and left:
                inputs.append(left.pop(0))
                a *= before[inputs[-1]]
            elif right:
                outputs.append(right.pop(0))
                b *= after[outputs[-1]]
            else:
                break
        alone = len(inputs) == len(outputs) == 1
        table = None if alone else np.arange(a).reshape([after[axis] for axis in outputs])
        blocks.append(Block(tuple(inputs), tuple(outputs), table))
    return blocks


def _transpose(found: Trace, node: ir.Node, before: Shape, after: list[Shape]) -> list[list[Block]]:
    order = attribute(node, "perm") or list(range(len(before)))[::-1]
    return [[Block((int(a),), (i,), None) for i, a in enumerate(order)]]


def _split(found: Trace, node: ir.Node, before: Shape, after: list[Shape]) -> list[list[Block]]:
    axis = int(attribute(node, "axis", 0)) % len(before)
    starts = np.concatenate([[0], np.cumsum([shape[axis] if shape else 0 for shape in after])])
    return [_along(before, {axis: np.arange(a, b)}) for a, b in pairwise(starts)]


def _along(before: Shape, picks: Mapping[int, np.ndarray]) -> list[Block]:
    """Every axis stays where it is; some pick indices."""
    return [Block((axis,), (axis,), picks.get(axis)) for axis in range(len(before))]


def _slice(found: Trace, node: ir.Node, before: Shape, after: list[Shape]) -> list[list[Block]]:
    starts, ends = _axes(found, node, "starts", 1) or [], _axes(found, node, "ends", 2) or []
    axes = _axes(found, node, "axes", 3) or list(range(len(starts)))
    steps = _axes(found, node, "steps", 4) or [1] * len(starts)
    picks: dict[int, np.ndarray] = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=False):
        place = axis % len(before)
        picks[place] = np.arange(before[place])[slice_of(start, end, step, before[place])]
    return [_along(before, picks)]


def slice_of(start: int, end: int, step: int, size: int) -> slice:
    """ONNX bounds as a Python slice: downwards, an end before the first element means through to it."""
    return slice(start, None if step < 0 and end < -size else end, step)


def _gather(found: Trace, node: ir.Node, before: Shape, after: list[Shape]) -> list[list[Block]]:
    axis = int(attribute(node, "axis", 0)) % len(before)
    indices = found.concrete(node, 1)
    assert indices is not None
    blocks: list[Block] = []
    for a in range(len(before)):
        if a == axis:
            blocks.append(Block((a,), tuple(range(a, a + indices.ndim)), indices.astype(np.int64) % before[a]))
        else:
            blocks.append(Block((a,), (a if a < axis else a + indices.ndim - 1,), None))
    return [blocks]


def _tile(found: Trace, node: ir.Node, before: Shape, after: list[Shape]) -> list[list[Block]]:
    picks = {a: np.arange(n) % o for a, (n, o) in enumerate(zip(after[0], before, strict=True)) if n != o}
    return [_along(before, picks)]


def _expand(found: Trace, node: ir.Node, before: Shape, after: list[Shape]) -> list[list[Block]]:
    shift = len(after[0]) - len(before)
    return [[Block((a,), (a + shift,), None) for a, size in enumerate(before) if size > 1]]


def _depth_to_space(found: Trace, node: ir.Node, before: Shape, after: list[Shape]) -> list[list[Block]]:
    """Every output channel takes r * r input channels, whose places lie along height and width."""
    r, c = int(attribute(node, "blocksize", 1)), after[0][1]
    mode = str(attribute(node, "mode", "DCR"))
    table = np.arange(before[1]).reshape((r * r, c)).T if mode == "DCR" else np.arange(before[1]).reshape((c, r * r))
    return [[*_sides(before, r), Block((1,), (1, LOST), np.ascontiguousarray(table))]]


def _space_to_depth(found: Trace, node: ir.Node, before: Shape, after: list[Shape]) -> list[list[Block]]:
    r = int(attribute(node, "blocksize", 1))
    return [[*_sides(before, r), Block((1,), (1,), np.tile(np.arange(before[1]), r * r))]]


def _sides(before: Shape, r: int) -> list[Block]:
    """Batch passes; height and width are taken apart."""
    lost = [Block((a,), (LOST,), np.arange(before[a])) for a in (2, 3) if r > 1]
    return [Block((0,), (0,), None), *lost]


_ROUTES: Mapping[str, Router] = {
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshape,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
