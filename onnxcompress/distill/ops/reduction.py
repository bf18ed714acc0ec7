"""Reductions along axes, and the indices that go with them."""

from __future__ import annotations

from typing import Any

import torch

from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()


def _l2(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return torch.linalg.vector_norm(x, 2, axes, keep)


def _l1(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return torch.linalg.vector_norm(x, 1, axes, keep)


def _sum_square(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return torch.sum(x * x, axes, keep)


def _log_sum(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return torch.log(torch.sum(x, axes, keep))


def _prod(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keep)
    return x


_REDUCE: dict[str, Any] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceProd": _prod,
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceSumSquare": _sum_square,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": torch.logsumexp,
}


def _same(x: Any) -> Any:
    return x


def _square(x: Any) -> Any:
    return x * x


# What is left of a reduction over no axis at all.
_ALONE: dict[str, Any] = {
    "ReduceL1": torch.abs,
    "ReduceL2": torch.abs,
    "ReduceSumSquare": _square,
    "ReduceLogSum": torch.log,
}


@OPS.op(*_REDUCE)
def reduce(node: OpNode, x: Any, _axes: Any = None) -> Any:
    """Over the axes given as input or attribute; over all, or none, where there are none."""
    axes, keep = node.ints_of(1, "axes"), bool(node.attr("keepdims", 1))
    if not axes:
        axes = [] if node.attr("noop_with_empty_axes", 0) else list(range(node.rank()))
    if not axes:
        return _ALONE.get(node.op_type, _same)(x)
    reduced = call(_REDUCE[node.op_type], x, [a % node.rank() for a in axes], keep)
    return reduced if node.is_float() else reduced.to(node.dtypes[0])


@OPS.op("ArgMax", "ArgMin")
def arg(node: OpNode, x: Any) -> Any:
    """Index of the first (or last) extreme element."""
    axis, keep, size = node.axis(0), bool(node.attr("keepdims", 1)), node.shape()[node.axis(0)]
    find = torch.argmax if node.op_type == "ArgMax" else torch.argmin
    if not node.attr("select_last_index", 0):
        return find(x, axis, keep)
    return size - 1 - find(torch.flip(x, [axis]), axis, keep)


@OPS.op("TopK")
def top_k(node: OpNode, x: Any, _k: Any = None) -> Any:
    """The k largest (or smallest) values and their indices."""
    k = node.ints(1)[0] if node.has(1) else int(node.attr("k"))
    axis = node.axis(-1)
    # A stable sort, because among equal values ONNX takes the first; torch.topk takes any.
    found = torch.sort(x, dim=axis, descending=bool(node.attr("largest", 1)), stable=True)
    return torch.narrow(found[0], axis, 0, k), torch.narrow(found[1], axis, 0, k)
