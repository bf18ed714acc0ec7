"""Gather, scatter, one-hot, and tensors made from shapes."""

from __future__ import annotations

import math
from typing import Any

import torch

from onnxcompress.distill.ops.dtypes import TORCH_OF, to_torch
from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()
_REDUCTIONS = {"none": None, "add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@OPS.op("ConstantOfShape")
def constant_of_shape(node: OpNode, _shape: Any) -> Any:
    """One number everywhere."""
    value = node.attr("value")
    fill = torch.zeros(1) if value is None else to_torch(value.numpy())
    return fill.reshape(()).expand(node.ints(0)).clone()


@OPS.op("Range")
def range_(node: OpNode, *_: Any) -> Any:
    """start, start + delta, ... below limit."""
    start, limit, delta = (node.constant(i).item() for i in range(3))
    return torch.arange(start, limit, delta, dtype=node.dtypes[0])


@OPS.op("EyeLike")
def eye_like(node: OpNode, x: Any) -> Any:
    """Ones on a diagonal of the input's size."""
    rows, columns = node.shape()
    kind = TORCH_OF[int(node.attr("dtype"))] if node.attr("dtype") else node.dtypes[0]
    place = torch.arange(columns)[None] - torch.arange(rows)[:, None]
    return node.lift((place == int(node.attr("k", 0))).to(kind))


@OPS.op("Gather")
def gather(node: OpNode, x: Any, indices: Any) -> Any:
    """Whole slices of an axis by index."""
    axis, shape = node.axis(0), node.shape()
    size = list(shape[:axis]) + list(node.shape(1)) + list(shape[axis + 1 :])
    known = node.constants[1]
    if known is not None:
        flat = node.lift(known.reshape(-1).to(torch.int64).remainder(shape[axis]))
    else:
        flat = torch.remainder(indices.reshape([-1]).to(torch.int64), shape[axis])
    return torch.index_select(x, axis, flat).reshape(size)


@OPS.op("GatherElements")
def gather_elements(node: OpNode, x: Any, indices: Any) -> Any:
    """Single elements along an axis."""
    return call(_gather_elements, x, indices, node.axis(0))


def _gather_elements(x: torch.Tensor, indices: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.gather(x, axis, indices.to(torch.int64).remainder(x.shape[axis]))


@OPS.op("GatherND")
def gather_nd(node: OpNode, x: Any, indices: Any) -> Any:
    """Slices by index tuples."""
    return call(_gather_nd, x, indices, int(node.attr("batch_dims", 0)))


def _batch_index(indices: torch.Tensor, batch: int) -> tuple[torch.Tensor, ...]:
    """Index tensors for the leading `batch` axes, shaped to broadcast with the others."""
    lead = indices.shape[:-1]
    views = [[n if i == axis else 1 for i in range(len(lead))] for axis, n in enumerate(lead[:batch])]
    return tuple(torch.arange(n).reshape(view) for n, view in zip(lead[:batch], views, strict=True))


def _gather_nd(x: torch.Tensor, indices: torch.Tensor, batch: int) -> torch.Tensor:
    return x[_batch_index(indices, batch) + tuple(indices.to(torch.int64).unbind(-1))]


@OPS.op("ScatterND")
def scatter_nd(node: OpNode, x: Any, indices: Any, updates: Any) -> Any:
    """Slices replaced (or added to) by index tuples."""
    return call(_scatter_nd, x, indices, updates, _REDUCTIONS[node.attr("reduction", "none")])


def _scatter_nd(x: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor, kind: str | None) -> torch.Tensor:
    index = indices.to(torch.int64)
    if kind in (None, "sum"):
        return x.clone().index_put(tuple(index.unbind(-1)), updates, accumulate=kind == "sum")
    lead, rest = x.shape[: index.shape[-1]], x.shape[index.shape[-1] :]
    steps = torch.tensor([math.prod(lead[i + 1 :]) for i in range(len(lead))], device=x.device)
    sizes = torch.tensor(lead, device=x.device)
    places = (torch.remainder(index, sizes) * steps).sum(-1).reshape(-1, 1).expand(-1, math.prod(rest))
    flat = x.reshape(math.prod(lead), -1).scatter_reduce(0, places, updates.reshape(places.shape), kind)
    return flat.reshape(x.shape)


@OPS.op("ScatterElements", "Scatter")
def scatter_elements(node: OpNode, x: Any, indices: Any, updates: Any) -> Any:
    """Single elements replaced, or reduced into."""
    return call(_scatter_elements, x, indices, updates, node.axis(0), _REDUCTIONS[node.attr("reduction", "none")])


def _scatter_elements(
    x: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor, axis: int, kind: str | None
) -> torch.Tensor:
    index = indices.to(torch.int64).remainder(x.shape[axis])
    return x.scatter(axis, index, updates) if kind is None else x.scatter_reduce(axis, index, updates, kind)


@OPS.op("OneHot")
def one_hot(node: OpNode, indices: Any, _depth: Any, values: Any) -> Any:
    """values[1] at each index, values[0] elsewhere, on a new axis."""
    depth, rank = node.ints(1)[0], node.rank() + 1
    axis = int(node.attr("axis", -1)) % rank
    shape = [depth if i == axis else 1 for i in range(rank)]
    places = node.lift(torch.arange(depth).reshape(shape))
    index = indices.to(torch.int64)
    hit = torch.eq(torch.unsqueeze(torch.where(index < 0, index + depth, index), axis), places)
    return torch.where(hit, values[1], values[0])
