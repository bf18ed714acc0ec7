"""onnxruntime's attention ops: Attention with its own projection, MultiHeadAttention, GroupQueryAttention."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.ops.attention import attend, joined, seen, split
from onnxcompress.distill.ops.rotary import rotate, rows
from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()
_HINT = "Start from the model before ONNX Runtime fused it, or cut it before that node."


def _refuse(node: OpNode, attributes: tuple[str, ...], inputs: dict[int, str]) -> None:
    for name in attributes:
        if node.attr(name, 0):
            raise node.refuse(f"it uses {name}", _HINT)
    for index, name in inputs.items():
        if node.has(index):
            raise node.refuse(f"it uses {name}", _HINT)


def _padding(node: OpNode, index: int, mask: Any, total: int) -> Any:
    """Additive mask [B, 1, 1 or S, T] from lengths [B], ends and starts [2 B], or a 0/1 mask of 2 or 3 axes."""
    if not node.has(index):
        return None
    rank, batch = node.rank(index), node.shape()[0]
    if rank > 3 or (rank == 1 and node.shape(index)[0] not in (batch, 2 * batch)):
        raise node.refuse(f"its mask has sizes {list(node.shape(index))}", _HINT)
    return call(_additive, mask, batch, total, float(node.attr("mask_filter_value", -10000.0)))


def _additive(mask: torch.Tensor, batch: int, total: int, filler: float) -> torch.Tensor:
    at = torch.arange(total, device=mask.device)
    if mask.ndim == 1:
        keep = at < mask[:batch, None]
        if len(mask) == 2 * batch:
            keep = keep & (at >= mask[batch:, None])
    else:
        keep = mask > 0
    keep = keep[:, None] if keep.ndim == 3 else keep[:, None, None]
    return torch.where(keep, 0.0, filler)


def _weighted(node: OpNode, q: Any, k: Any, v: Any, padding: Any, bias: Any, sizes: tuple[int, int, int]) -> Any:
    """Attention of [B, H, S, D]; sizes are head size, past and -1 or 0 for what may be seen ahead."""
    depth, past, ahead = sizes
    given = [m for m in (padding, bias) if m is not None]
    mask = None if not given else given[0] if len(given) == 1 else given[0] + given[1]
    allowed = call(seen, q, k, None, past=past, window=(-1, ahead))
    return call(attend, q, k, v, allowed, mask, scale=float(node.attr("scale") or 1 / math.sqrt(depth)))


@OPS.op("com.microsoft::Attention")
def attention_ms(
    node: OpNode, x: Any, w: Any, b: Any = None, mask: Any = None, past: Any = None, bias: Any = None, *_: Any
) -> Any:
    """Self-attention of [B, S, D] with the projection [D, 3 H] inside."""
    _refuse(node, ("do_rotary", "past_present_share_buffer"), {6: "past_sequence_length"})
    batch, length = node.shape()[:2]
    heads, third = int(node.attr("num_heads")), node.shape(1)[1] // 3
    sizes = [int(v) for v in node.attr("qkv_hidden_sizes") or [third] * 3]
    made = torch.matmul(x, w)
    made = made + b if node.has(2) else made
    starts = (0, sizes[0], sizes[0] + sizes[1])
    parts = [torch.narrow(made, 2, a, n) for a, n in zip(starts, sizes, strict=True)]
    q, k, v = (split(p, batch, length, heads, n // heads) for p, n in zip(parts, sizes, strict=True))
    before = node.shape(4)[3] if node.has(4) else 0
    if node.has(4):
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    padding = _padding(node, 3, mask, before + length)
    ahead = 0 if node.attr("unidirectional", 0) else -1
    y = _weighted(node, q, k, v, padding, bias, (sizes[0] // heads, before, ahead))
    y = joined(y, batch, length, sizes[2])
    return (y, torch.stack([k, v])) if node.outputs > 1 else y


@OPS.op("com.microsoft::MultiHeadAttention")
def multi_head_attention(
    node: OpNode,
    query: Any,
    key: Any = None,
    value: Any = None,
    b: Any = None,
    mask: Any = None,
    bias: Any = None,
    past_key: Any = None,
    past_value: Any = None,
    *_: Any,
) -> Any:
    """Self- or cross-attention; Q, K and V apart, packed [B, S, H, 3, D], or K and V packed or by head."""
    _refuse(node, (), {8: "past_sequence_length", 9: "cache_indirection"})
    if node.outputs > 3:
        raise node.refuse("its output qk is used", _HINT)
    batch, length, heads = node.shape()[0], node.shape()[1], int(node.attr("num_heads"))
    q, k, v, widths = _projected(node, query, key, value, heads)
    if node.has(3):
        q, k, v = _biased(node, (q, k, v), b, widths, heads)
    before = node.shape(6)[2] if node.has(6) else 0
    if node.has(6):
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    padding = _padding(node, 4, mask, before + _keys(node))
    ahead = 0 if node.attr("unidirectional", 0) else -1
    y = _weighted(node, q, k, v, padding, bias, (widths[0] // heads, before, ahead))
    y = joined(y, batch, length, widths[2])
    return (y, k, v) if node.outputs > 1 else y


def _keys(node: OpNode) -> int:
    """Number of keys of this call."""
    if not node.has(1):
        return node.shape()[1]
    return node.shape(1)[2] if node.rank(1) == 4 else node.shape(1)[1]


def _projected(node: OpNode, query: Any, key: Any, value: Any, heads: int) -> tuple[Any, Any, Any, tuple[int, ...]]:
    """Q, K, V as [B, H, S, D], and their widths H D."""
    batch, length = node.shape()[:2]
    if node.rank() == 5:
        width = heads * node.shape()[4]
        q, k, v = (torch.permute(query[:, :, :, i], [0, 2, 1, 3]) for i in range(3))
        return q, k, v, (width,) * 3
    width = node.shape()[2]
    q = split(query, batch, length, heads, width // heads)
    if node.rank(1) == 5:
        k, v = (torch.permute(key[:, :, :, i], [0, 2, 1, 3]) for i in range(2))
        return q, k, v, (width,) * 3
    if node.rank(1) == 4:
        return q, key, value, (width, width, heads * node.shape(2)[3])
    keys, wide = node.shape(1)[1], node.shape(2)[2]
    k, v = (split(t, batch, keys, heads, w // heads) for t, w in ((key, width), (value, wide)))
    return q, k, v, (width, width, wide)


def _biased(node: OpNode, parts: tuple[Any, ...], b: Any, widths: tuple[int, ...], heads: int) -> list[Any]:
    """Each projection with its part of the bias; keys given by head have none."""
    starts = (0, widths[0], widths[0] + widths[1])
    pieces = [torch.narrow(b, 0, a, n).reshape([1, heads, 1, n // heads]) for a, n in zip(starts, widths, strict=True)]
    own = 1 if node.has(1) and node.rank(1) == 4 else 3
    return [p + piece if i < own else p for i, (p, piece) in enumerate(zip(parts, pieces, strict=True))]


@OPS.op("com.microsoft::GroupQueryAttention")
def group_query_attention(node: OpNode, *inputs: Any) -> Any:
    """Causal attention with fewer heads for keys; every sample fills its whole length, and the cache is full."""
    filled: tuple[Any, ...] = (*inputs, *[None] * 11)
    query, key, value, past_key, past_value, _, _, cos, sin, places, bias = filled[:11]
    _check_group_query(node)
    batch, length, width = node.shape()
    heads, shared = int(node.attr("num_heads")), int(node.attr("kv_num_heads"))
    depth = width // (heads if node.has(1) else heads + 2 * shared)
    if not node.has(1):
        ends = (0, heads * depth, (heads + shared) * depth)
        sizes = (heads * depth, shared * depth, shared * depth)
        query, key, value = (torch.narrow(query, 2, a, n) for a, n in zip(ends, sizes, strict=True))
    q = split(query, batch, length, heads, depth)
    k, v = (split(t, batch, length, shared, depth) for t in (key, value))
    before = node.shape(3)[2] if node.has(3) else 0
    if node.attr("do_rotary", 0):
        at = places if node.has(9) else node.lift(torch.tensor(before))
        angles = [call(rows, table, at, length) for table in (cos, sin)]
        turned, pairs = 2 * node.shape(7)[-1], bool(node.attr("rotary_interleaved", 0))
        q, k = (call(rotate, t, *angles, turned, pairs) for t in (q, k))
    if before:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    local = int(node.attr("local_window_size", -1))
    window = (local - 1 if local > 0 else -1, 0 if node.attr("causal", 1) else -1)
    allowed = call(seen, q, k, None, past=before, window=window)
    scale = float(node.attr("scale") or 1 / math.sqrt(depth))
    y = call(attend, q, k, v, allowed, bias, scale=scale, softcap=float(node.attr("softcap", 0.0)))
    y = joined(y, batch, length, heads * depth)
    return (y, k, v) if node.outputs > 1 else y


def _check_group_query(node: OpNode) -> None:
    unread = {11: "head_sink", 12: "a quantized cache", 14: "normalized queries", 15: "normalized keys"}
    _refuse(node, ("smooth_softmax", "sliding_window_cache", "kv_cache_bit_width"), {**unread, 16: "query_seqlens"})
    if node.outputs > 3:
        raise node.refuse("its output qk is used", _HINT)
    before = node.shape(3)[2] if node.has(3) else 0
    filled = before + node.shape()[1] - 1
    if before and any(n != filled for n in node.ints(5)):
        raise node.refuse("its cache is not full", "Give samples of one length and a cache without free places.")


@OPS.op("com.microsoft::EmbedLayerNormalization")
def embed_layer_norm(
    node: OpNode,
    tokens: Any,
    segments: Any,
    words: Any,
    places: Any,
    kinds: Any = None,
    gamma: Any = None,
    beta: Any = None,
    mask: Any = None,
    at: Any = None,
) -> Any:
    """Normalized sum of word, position and segment embeddings; the length of each mask; the sum."""
    total = call(nnf.embedding, tokens, words)
    length = node.shape()[1]
    total = total + (call(nnf.embedding, at, places) if node.has(8) else torch.narrow(places, 0, 0, length))
    if node.has(4):
        total = total + call(nnf.embedding, segments, kinds)
    y = nnf.layer_norm(total, [node.shape(2)[1]], gamma, beta, float(node.attr("epsilon", 1e-12)))
    if node.outputs == 1:
        return y
    if node.has(7):
        return y, torch.sum(mask, 1).to(torch.int32), total
    return y, node.lift(torch.zeros(node.shape()[0], dtype=torch.int32)), total
