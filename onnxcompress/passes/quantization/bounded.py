"""Ranges that an operator guarantees, whatever the samples were."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import array_of

_BOUNDED = {
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Softsign": (-1.0, 1.0),
    "Erf": (-1.0, 1.0),
    "Sin": (-1.0, 1.0),
    "Cos": (-1.0, 1.0),
}
_MOVES = (
    "AveragePool", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool",
    "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
"""Operators whose results lie between the extremes of their first input."""

_FILLED = 0.5


def bounded(value: ir.Value, low: float, high: float) -> tuple[float, float] | None:
    """The exact range of a tensor that an operator with a bounded result wrote, seen through data movement.

    Sigmoid, HardSigmoid, Softmax, Tanh, Clip between constants and the like. A clipped probability would be a wrong
    one, so no rule may cut such a range. Where the samples fill less than half of it, as the softmax of a long row
    does, the range is what they fill, uncut: the rest would only cost resolution.

    Args:
        value: The tensor.
        low: Smallest value seen, at most 0.
        high: Largest value seen, at least 0.

    Returns:
        Its range with zero inside; None for a tensor without such bounds.
    """
    found = _bounds(value)
    if found is None:
        return None
    first, last = min(found[0], 0.0), max(found[1], 0.0)
    return (
        first if low <= _FILLED * first else max(low, first),
        last if high >= _FILLED * last else min(high, last),
    )


def _bounds(value: ir.Value) -> tuple[float, float] | None:
    node = value.producer()
    while node is not None and node.domain in ("", "ai.onnx") and node.op_type in _MOVES and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.domain not in ("", "ai.onnx"):
        return None
    return _clip(node) if node.op_type == "Clip" else _BOUNDED.get(node.op_type)


def _clip(node: ir.Node) -> tuple[float, float] | None:
    """The limits of a Clip that has both as finite constants."""
    ends = [array_of(v) if v is not None else None for v in [*node.inputs[1:3], None, None][:2]]
    if any(end is None or end.size != 1 for end in ends):
        return None
    low, high = (float(end.reshape(-1)[0]) for end in ends if end is not None)
    return (low, high) if abs(low) < 1e30 and abs(high) < 1e30 and low < high else None
