"""What selects by value, so that the samples decide how much there is; the positions found have no gradient."""

from __future__ import annotations

from typing import Any

import torch

from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()


@OPS.op("NonZero")
def non_zero(node: OpNode, x: Any) -> Any:
    """Positions of the elements that are not zero."""
    if node.constants[0] is not None:
        return node.lift(torch.nonzero(node.constant(0)).t().contiguous())
    return call(_non_zero, x)


def _non_zero(x: torch.Tensor) -> torch.Tensor:
    return torch.nonzero(x).t().contiguous()


@OPS.op("Compress")
def compress(node: OpNode, x: Any, condition: Any) -> Any:
    """The slices of an axis, or the elements, for which the condition holds."""
    axis = node.axis(0) if "axis" in node.attributes else None
    flat = torch.flatten(x) if axis is None else x
    return call(_compress, flat, condition, axis or 0)


def _compress(x: torch.Tensor, condition: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.index_select(x, axis, torch.nonzero(condition)[:, 0])


@OPS.op("NonMaxSuppression")
def non_max_suppression(node: OpNode, boxes: Any, scores: Any, *_: Any) -> Any:
    """(sample, class, box) of the boxes kept, best first within a class."""
    most = node.ints(2)[0] if node.has(2) else 0
    overlap = float(node.constant(3).item()) if node.has(3) else 0.0
    least = float(node.constant(4).item()) if node.has(4) else None
    centres = bool(node.attr("center_point_box", 0))
    return call(_suppressed, boxes, scores, most, overlap, least, centres)


@torch.no_grad()
def _suppressed(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    most: int,
    overlap: float,
    least: float | None,
    centres: bool,
) -> torch.Tensor:
    kept: list[list[int]] = []
    for sample, corners in enumerate(_corners(boxes, centres)):
        shared = _overlaps(corners)
        for kind, score in enumerate(scores[sample]):
            order = torch.sort(score, descending=True, stable=True)[1]
            order = order if least is None else order[score[order] > least]
            kept += [[sample, kind, box] for box in _greedy(order.tolist(), shared > overlap, most)]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def _corners(boxes: torch.Tensor, centres: bool) -> torch.Tensor:
    """Low and high corner of each box."""
    if centres:
        middle, half = boxes[..., :2], boxes[..., 2:] / 2
        return torch.cat([middle - half, middle + half], -1)
    one, other = boxes[..., :2], boxes[..., 2:]
    return torch.cat([torch.minimum(one, other), torch.maximum(one, other)], -1)


def _overlaps(boxes: torch.Tensor) -> torch.Tensor:
    """Intersection over union of each pair."""
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    inside = (high - low).clamp(min=0).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    union = area[:, None] + area[None] - inside
    return torch.where(union > 0, inside / union, torch.zeros_like(union))


def _greedy(order: list[int], clash: torch.Tensor, most: int) -> list[int]:
    kept: list[int] = []
    for box in order:
        if len(kept) >= most:
            break
        if not any(bool(clash[box, other]) for other in kept):
            kept.append(box)
    return kept
