"""Scaled dot-product attention: softmax(scale Q K^T + mask) V, with grouped heads, caches, windows and a soft cap."""

from __future__ import annotations

import math
from typing import Any

import torch

from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()


@OPS.op("Attention")
def attention(
    node: OpNode,
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    past_key: Any = None,
    past_value: Any = None,
    lengths: Any = None,
) -> Any:
    """Inputs [B, H, S, D], or [B, S, H D] with the numbers of heads as attributes (opsets 23 to 25)."""
    flat, heads = node.rank() == 3, _heads(node)
    q, k, v = (_split(node, i, t, n) for i, (t, n) in enumerate(zip((q, k, v), heads, strict=True)))
    depth = node.shape()[-1] // (heads[0] if flat else 1)
    if node.has(4):
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    window = (int(node.attr("left_window_size", -1)), 0 if node.attr("is_causal", 0) else -1)
    right = int(node.attr("right_window_size", -1))
    window = (window[0], right if right >= 0 and window[1] < 0 else window[1])
    past = node.shape(4)[2] if node.has(4) else 0
    allowed = call(seen, q, k, lengths, past=past, window=window)
    scale = float(node.attr("scale") or 1 / math.sqrt(depth))
    mode = int(node.attr("qk_matmul_output_mode", 0)) if node.outputs > 3 else None
    settings = {"scale": scale, "softcap": float(node.attr("softcap", 0.0)), "stage": _stage(node, mode)}
    y = call(attend, q, k, v, allowed, mask, **settings)
    scores, y = (None, y) if mode is None else (y[1], y[0])
    if flat:
        y = joined(y, node.shape()[0], node.shape()[1], heads[0] * (node.shape(2)[-1] // heads[2]))
    return (y, k, v, scores) if node.outputs > 1 else y


def _stage(node: OpNode, mode: int | None) -> str:
    """What the fourth output shows."""
    if mode is None:
        return ""
    return ("raw", "capped", "masked", "probabilities")[mode]


def joined(y: Any, batch: int, length: int, width: int) -> Any:
    """[B, H, S, D] as [B, S, H D]."""
    return y.transpose(1, 2).reshape([batch, length, width])


def split(x: Any, batch: int, length: int, heads: int, depth: int) -> Any:
    """[B, S, H D] as [B, H, S, D]."""
    return x.reshape([batch, length, heads, depth]).transpose(1, 2)


def _heads(node: OpNode) -> tuple[int, int, int]:
    if node.rank() == 4:
        return node.shape()[1], node.shape(1)[1], node.shape(2)[1]
    own, shared = int(node.attr("q_num_heads")), int(node.attr("kv_num_heads"))
    return own, shared, shared


def _split(node: OpNode, index: int, x: Any, heads: int) -> Any:
    shape = node.shape(index)
    return x if len(shape) == 4 else split(x, shape[0], shape[1], heads, shape[2] // heads)


def seen(
    q: torch.Tensor, k: torch.Tensor, lengths: torch.Tensor | None, *, past: int, window: tuple[int, int]
) -> torch.Tensor | None:
    """Which keys each query may see, as [B or 1, 1, S, T]; None where it is all of them.

    Query i stands at i + past, or at i + length - S in a cache of which `length` places are filled. The window counts
    places to the left and to the right, -1 for no bound.
    """
    if lengths is None and window == (-1, -1):
        return None
    rows, columns = q.shape[2], k.shape[2]
    at = torch.arange(columns, device=q.device)
    filled = None if lengths is None else lengths.reshape(-1, 1, 1, 1)
    start = past if filled is None else filled - rows
    ahead = at[None, None, None] - (torch.arange(rows, device=q.device)[None, None, :, None] + start)
    allowed = torch.ones_like(ahead, dtype=torch.bool) if filled is None else (at < filled).expand(ahead.shape)
    if window[0] >= 0:
        allowed = allowed & (ahead >= -window[0])
    return allowed & (ahead <= window[1]) if window[1] >= 0 else allowed


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    allowed: torch.Tensor | None,
    mask: torch.Tensor | None,
    *,
    scale: float,
    softcap: float = 0.0,
    stage: str = "",
) -> Any:
    """The weighted values, and the scores at `stage` where one is named. A row that sees no key gives zeros."""
    groups = q.shape[1] // k.shape[1]
    k, v = (t.repeat_interleave(groups, 1) for t in (k, v))
    scores = {"raw": scale * (q @ k.transpose(-1, -2))}
    scores["capped"] = softcap * torch.tanh(scores["raw"] / softcap) if softcap else scores["raw"]
    scores["masked"] = _masked(scores["capped"], allowed, mask)
    scores["probabilities"] = _softmax(scores["masked"])
    y = scores["probabilities"] @ v
    return (y, scores[stage]) if stage else y


def _masked(scores: torch.Tensor, allowed: torch.Tensor | None, mask: torch.Tensor | None) -> torch.Tensor:
    if mask is not None:
        missing = scores.shape[-1] - mask.shape[-1]
        if mask.dtype == torch.bool:
            mask = torch.nn.functional.pad(mask, [0, missing], value=False) if missing else mask
            scores = scores.masked_fill(~mask, -torch.inf)
        else:
            scores = scores + (torch.nn.functional.pad(mask, [0, missing], value=-torch.inf) if missing else mask)
    return scores if allowed is None else scores.masked_fill(~allowed, -torch.inf)


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    """Zeros, with no gradient, where every key is masked."""
    dead = torch.isneginf(scores).all(-1, keepdim=True)
    return torch.softmax(scores.masked_fill(dead, 0.0), -1).masked_fill(dead, 0.0)
