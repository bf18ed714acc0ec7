"""Ops that move elements: reshape, transpose, join, cut, repeat, pad."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()


@OPS.op("Reshape")
def reshape(node: OpNode, x: Any, _shape: Any = None) -> Any:
    """To given sizes; 0 keeps the input's, -1 takes the rest."""
    given = node.ints_of(1, "shape") or []
    shape = node.shape()
    sizes = given if node.attr("allowzero", 0) else [shape[i] if v == 0 else v for i, v in enumerate(given)]
    return torch.reshape(x, sizes)


@OPS.op("Flatten")
def flatten(node: OpNode, x: Any) -> Any:
    """To two axes, split at `axis`."""
    shape, axis = node.shape(), int(node.attr("axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    return torch.reshape(x, [math.prod(shape[:axis]), math.prod(shape[axis:])])


@OPS.op("Transpose")
def transpose(node: OpNode, x: Any) -> Any:
    """Axes in a new order, reversed by default."""
    return torch.permute(x, list(node.attr("perm") or range(node.rank() - 1, -1, -1)))


@OPS.op("Squeeze")
def squeeze(node: OpNode, x: Any, _axes: Any = None) -> Any:
    """Without axes of size 1."""
    shape = node.shape()
    axes = node.ints_of(1, "axes")
    gone = {a % len(shape) for a in axes} if axes is not None else {i for i, s in enumerate(shape) if s == 1}
    return torch.reshape(x, [s for i, s in enumerate(shape) if i not in gone])


@OPS.op("Unsqueeze")
def unsqueeze(node: OpNode, x: Any, _axes: Any = None) -> Any:
    """With new axes of size 1, counted in the output."""
    axes = node.ints_of(1, "axes") or []
    rank = node.rank() + len(axes)
    new, rest = {a % rank for a in axes}, iter(node.shape())
    return torch.reshape(x, [1 if i in new else next(rest) for i in range(rank)])


@OPS.op("Concat")
def concat(node: OpNode, *inputs: Any) -> Any:
    """Joined along an axis."""
    return torch.cat(list(inputs), node.axis(1))


@OPS.op("Split")
def split(node: OpNode, x: Any, _sizes: Any = None) -> Any:
    """Cut along an axis, into equal parts by default; in one step, whose gradient is one concatenation."""
    axis = node.axis(0)
    size = node.shape()[axis]
    sizes = node.ints_of(1, "split")
    if sizes is None:
        parts = int(node.attr("num_outputs", node.parts))
        step = math.ceil(size / parts)
        sizes = [min(step, size - i * step) for i in range(parts)]
    pieces = torch.split(x, sizes, axis)
    return tuple(pieces[i] for i in range(len(sizes))) if node.outputs > 1 else pieces[0]


@OPS.op("Slice")
def slice_(node: OpNode, x: Any, *_: Any) -> Any:
    """From start to end by step, along the axes named."""
    starts, ends = node.ints_of(1, "starts") or [], node.ints_of(2, "ends") or []
    axes = node.ints_of(3, "axes") or list(range(len(starts)))
    steps = node.ints(4) if node.has(4) else [1] * len(starts)
    shape = node.shape()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(shape)
        chosen = range(*_bounds(start, end, step, shape[axis]))
        if list(chosen) == list(range(shape[axis])):
            continue
        if step == 1:
            x = torch.narrow(x, axis, chosen.start, len(chosen))
        else:
            x = torch.index_select(x, axis, node.lift(torch.tensor(list(chosen), dtype=torch.int64)))
    return x


def _bounds(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    """ONNX's clamping of slice bounds as arguments of `range`."""
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        low = min(max(start, 0), size)
        return low, max(low, min(max(end, 0), size)), step
    high = min(max(start, 0), size - 1)
    return high, min(high, max(min(end, size - 1), -1)), step


@OPS.op("Expand")
def expand(node: OpNode, x: Any, _shape: Any) -> Any:
    """Broadcast in both directions."""
    return torch.broadcast_to(x, list(torch.broadcast_shapes(node.shape(), tuple(node.ints(1)))))


@OPS.op("Tile")
def tile(node: OpNode, x: Any, _repeats: Any) -> Any:
    """Repeated along each axis."""
    return torch.tile(x, node.ints(1))


@OPS.op("Pad")
def pad(node: OpNode, x: Any, *_: Any) -> Any:
    """Constant, edge, reflect or wrap; negative pads cut."""
    pads, rank = node.ints_of(1, "pads") or [], node.rank()
    axes = [a % rank for a in node.ints(3)] if node.has(3) else list(range(rank))
    begin, end = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        begin[axis], end[axis] = pads[i], pads[i + len(axes)]
    mode = node.attr("mode", "constant")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    if mode == "constant":
        value = node.constant(2).item() if node.has(2) else node.attr("value", 0.0)
        sides = [v for b, e in reversed(list(zip(begin, end, strict=True))) for v in (b, e)]
        return nnf.pad(x, sides, value=value)
    for axis, size in enumerate(node.shape()):
        if begin[axis] or end[axis]:
            index = _source(size, begin[axis], end[axis], mode)
            x = torch.index_select(x, axis, node.lift(index))
    return x


def _source(size: int, begin: int, end: int, mode: str) -> torch.Tensor:
    """Where each element of a padded axis comes from."""
    place = torch.arange(-begin, size + end)
    if mode == "edge":
        return place.clamp(0, size - 1)
    if mode == "wrap":
        return place.remainder(size)
    period = max(2 * (size - 1), 1)
    folded = place.remainder(period)
    return torch.minimum(folded, period - folded) if size > 1 else torch.zeros_like(place)


@OPS.op("DepthToSpace")
def depth_to_space(node: OpNode, x: Any) -> Any:
    """Channels into pixels, depth first (DCR) or column first (CRD)."""
    n, c, h, w = node.shape()
    b = int(node.attr("blocksize"))
    small = c // (b * b)
    if node.attr("mode", "DCR") == "DCR":
        y = torch.permute(x.reshape([n, b, b, small, h, w]), [0, 3, 4, 1, 5, 2])
    else:
        y = torch.permute(x.reshape([n, small, b, b, h, w]), [0, 1, 4, 2, 5, 3])
    return y.reshape([n, small, h * b, w * b])


@OPS.op("SpaceToDepth")
def space_to_depth(node: OpNode, x: Any) -> Any:
    """Pixels into channels."""
    n, c, h, w = node.shape()
    b = int(node.attr("blocksize"))
    first = node.attr("mode", "DCR") == "DCR"
    y = torch.permute(x.reshape([n, c, h // b, b, w // b, b]), [0, 3, 5, 1, 2, 4] if first else [0, 1, 3, 5, 2, 4])
    return y.reshape([n, c * b * b, h // b, w // b])


@OPS.op("Trilu")
def trilu(node: OpNode, x: Any, _k: Any = None) -> Any:
    """Upper or lower triangle."""
    k = node.ints(1)[0] if node.has(1) else 0
    return torch.triu(x, k) if node.attr("upper", 1) else torch.tril(x, k)


@OPS.op("ReverseSequence")
def reverse_sequence(node: OpNode, x: Any, lengths: Any) -> Any:
    """The first `lengths` elements of the time axis, reversed per sample."""
    return call(_reverse, x, lengths, int(node.attr("time_axis", 0)), int(node.attr("batch_axis", 1)))


def _reverse(x: torch.Tensor, lengths: torch.Tensor, time: int, batch: int) -> torch.Tensor:
    moved = torch.movedim(x, (batch, time), (0, 1))
    place = torch.arange(moved.shape[1])[None].expand(moved.shape[0], -1)
    source = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    index = source.reshape(source.shape + (1,) * (moved.ndim - 2)).expand_as(moved)
    return torch.movedim(torch.gather(moved, 1, index), (0, 1), (batch, time))
