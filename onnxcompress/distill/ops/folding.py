"""Col2Im: patches back into a picture, overlaps added up."""

from __future__ import annotations

import math
from typing import Any

import torch

from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()


@OPS.op("Col2Im")
def col2im(node: OpNode, x: Any, _size: Any, _block: Any) -> Any:
    """(N, C * block, places) to (N, C, *size), over any number of axes."""
    size, block = node.ints(1), node.ints(2)
    rank, (batch, columns, _) = len(size), node.shape()
    pads = [int(v) for v in node.attr("pads") or [0] * (2 * rank)]
    padded = [s + a + b for s, a, b in zip(size, pads[:rank], pads[rank:], strict=True)]
    places = node.lift(_places(node, padded, block))
    shape = [batch, columns // math.prod(block), *padded]
    whole = call(_add_up, x, places, shape)
    inside = (slice(None), slice(None), *(slice(a, a + s) for a, s in zip(pads[:rank], size, strict=True)))
    return whole[inside]


def _places(node: OpNode, padded: list[int], block: list[int]) -> torch.Tensor:
    """Where in the flattened padded picture each element of each patch lies: (block, places)."""
    rank = len(padded)
    strides = [int(v) for v in node.attr("strides") or [1] * rank]
    dilations = [int(v) for v in node.attr("dilations") or [1] * rank]
    found = torch.zeros((1, 1), dtype=torch.int64)
    for whole, kernel, step, gap in zip(padded, block, strides, dilations, strict=True):
        starts = torch.arange(0, whole - gap * (kernel - 1), step)
        here = (torch.arange(kernel) * gap)[:, None] + starts[None, :]
        found = found[:, None, :, None] * whole + here[None, :, None, :]
        found = found.reshape(found.shape[0] * found.shape[1], -1)
    return found


def _add_up(x: torch.Tensor, places: torch.Tensor, shape: list[int]) -> torch.Tensor:
    flat = x.reshape(shape[0] * shape[1], -1)
    empty = flat.new_zeros((flat.shape[0], math.prod(shape[2:])))
    return empty.index_add(1, places.reshape(-1), flat).reshape(shape)
