"""Scaled dot-product attention of opset 23: softmax(scale Q K^T + mask) V, with grouped heads."""

from __future__ import annotations

import math
from typing import Any

import torch

from onnxcompress.distill.ops.elementwise import call_softmax
from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()
_KNOWN = {"q_num_heads", "kv_num_heads", "scale", "is_causal", "softmax_precision"}


@OPS.op("Attention")
def attention(node: OpNode, q: Any, k: Any, v: Any, mask: Any = None, *_: Any) -> Any:
    """Inputs [B, H, S, D], or [B, S, H D] with the numbers of heads as attributes."""
    unknown = sorted(name for name, value in node.attributes.items() if value and name not in _KNOWN)
    if unknown or any(node.has(i) for i in (4, 5, 6)) or node.outputs > 1:
        hint = "Cut the model before that node, or export it with plain attention."
        what = ", ".join(unknown) or "a cache, padding lengths or extra outputs"
        raise node.refuse(f"it uses {what}", hint)
    flat, heads = node.rank() == 3, _heads(node)
    q, k, v = (_split(node, i, t, n) for i, (t, n) in enumerate(zip((q, k, v), heads, strict=True)))
    depth = node.shape()[-1] // (heads[0] if flat else 1)
    scale = float(node.attr("scale") or 1 / math.sqrt(depth))
    causal, integer = bool(node.attr("is_causal", 0)), node.has(3) and node.dtypes[3] == torch.bool
    y = call(_attend, q, k, v, mask, scale=scale, causal=causal, boolean=integer)
    if not flat:
        return y
    batch, length = node.shape()[:2]
    return y.transpose(1, 2).reshape([batch, length, heads[0] * (node.shape(2)[-1] // heads[2])])


def _heads(node: OpNode) -> tuple[int, int, int]:
    if node.rank() == 4:
        return node.shape()[1], node.shape(1)[1], node.shape(2)[1]
    own, shared = int(node.attr("q_num_heads")), int(node.attr("kv_num_heads"))
    return own, shared, shared


def _split(node: OpNode, index: int, x: Any, heads: int) -> Any:
    shape = node.shape(index)
    if len(shape) == 4:
        return x
    return x.reshape([shape[0], shape[1], heads, shape[2] // heads]).transpose(1, 2)


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scale: float,
    causal: bool,
    boolean: bool,
) -> torch.Tensor:
    groups = q.shape[1] // k.shape[1]
    k, v = (t.repeat_interleave(groups, 1) for t in (k, v))
    scores = scale * (q @ k.transpose(-1, -2))
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if boolean else scores + mask
    return torch.nan_to_num(call_softmax(scores, -1), nan=0.0) @ v
