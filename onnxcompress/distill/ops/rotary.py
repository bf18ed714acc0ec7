"""Rotary position embeddings (Su et al. 2021, arXiv 2104.09864)."""

from __future__ import annotations

from typing import Any

import torch

from onnxcompress.distill.ops.attention import joined, split
from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()


@OPS.op("RotaryEmbedding")
def rotary_embedding(node: OpNode, x: Any, cos: Any, sin: Any, places: Any = None) -> Any:
    """Angles by position (2 axes and `places`), or one row for each token (3 axes)."""
    return _rotary(node, x, cos, sin, places, angles=1, at=3)


@OPS.op("com.microsoft::RotaryEmbedding")
def rotary_embedding_ms(node: OpNode, x: Any, places: Any, cos: Any, sin: Any) -> Any:
    """Positions are [B, S], or the first of them."""
    if float(node.attr("scale", 1.0)) != 1.0 or node.attr("is_packed_batching", 0):
        raise node.refuse("it scales, or packs samples of different lengths", "Cut the model before that node.")
    return _rotary(node, x, cos, sin, places, angles=2, at=1)


def _rotary(node: OpNode, x: Any, cos: Any, sin: Any, places: Any, *, angles: int, at: int) -> Any:
    shape = node.shape()
    turned = int(node.attr("rotary_embedding_dim", 0)) or 2 * node.shape(angles)[-1]
    if len(shape) == 3:
        heads = int(node.attr("num_heads", 0)) or shape[2] // turned
        x = split(x, shape[0], shape[1], heads, shape[2] // heads)
    if node.has(at):
        length = shape[1] if len(shape) == 3 else shape[2]
        cos, sin = (call(rows, t, places, length) for t in (cos, sin))
    y = call(rotate, x, cos, sin, turned, bool(node.attr("interleaved", 0)))
    return joined(y, *shape) if len(shape) == 3 else y


def rows(table: torch.Tensor, places: torch.Tensor, length: int) -> torch.Tensor:
    """[B, S, R/2] of a table by position; `places` of one element is the first position."""
    if places.numel() == 1 and places.ndim < 2:
        places = (places.reshape(()) + torch.arange(length, device=table.device))[None]
    return table[places.to(torch.int64)]


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, turned: int, interleaved: bool) -> torch.Tensor:
    """The first `turned` features of [B, H, S, D] turned by angles [B, S, turned/2], in pairs or in halves."""
    first, rest = x[..., :turned], x[..., turned:]
    a, b = (first[..., ::2], first[..., 1::2]) if interleaved else first.chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    pair = (a * cos - b * sin, a * sin + b * cos)
    moved = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
    return torch.cat([moved, rest], -1) if rest.shape[-1] else moved
