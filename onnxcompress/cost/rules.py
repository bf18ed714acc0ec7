"""Multiply-accumulates of the linear operators, from the sizes of their inputs and outputs.

Formulas: Conv ``out * C_in/g * prod(k)``; ConvTranspose ``in * C_out/g * prod(k)``; Gemm and MatMul ``out * K``;
recurrences ``directions * T * B * gates * H * (I + H)`` with 1, 3 or 4 gates; Einsum the product of all index sizes;
attention ``2 * B * heads * S * T * d``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import onnx_ir as ir

from onnxcompress.graph import attribute

Sizes = tuple[int, ...] | None
Rule = Callable[[ir.Node, list[Sizes], list[Sizes]], int | None]
"""(node, sizes of its inputs, of its outputs) -> MACs; None where a size that counts is not known."""


def _convolution(weight: int) -> Rule:
    def rule(node: ir.Node, inputs: list[Sizes], outputs: list[Sizes]) -> int | None:
        kernel, out = inputs[weight], outputs[0]
        if kernel is None or out is None:
            return None
        return math.prod(out) * math.prod(kernel[1:])

    return rule


def _transposed(data: int, weight: int) -> Rule:
    def rule(node: ir.Node, inputs: list[Sizes], outputs: list[Sizes]) -> int | None:
        kernel, given = inputs[weight], inputs[data]
        if kernel is None or given is None:
            return None
        return math.prod(given) * math.prod(kernel[1:])

    return rule


def _product(left: int, transpose: str = "") -> Rule:
    """A matrix product: every output element sums over the left operand's inner axis."""

    def rule(node: ir.Node, inputs: list[Sizes], outputs: list[Sizes]) -> int | None:
        first, out = inputs[left], outputs[0]
        if first is None or out is None:
            return None
        turned = bool(transpose and attribute(node, transpose, 0))
        inner = first[-2] if turned else first[-1]
        return math.prod(out) * inner

    return rule


def _recurrent(gates: int) -> Rule:
    def rule(node: ir.Node, inputs: list[Sizes], outputs: list[Sizes]) -> int | None:
        data, weights, recurrence = inputs[0], inputs[1], inputs[2]
        if data is None or recurrence is None or weights is None:
            return None
        directions, hidden, width = recurrence[0], recurrence[-1], data[-1]
        if node.op_type == "DynamicQuantizeLSTM":  # its weights are stored transposed
            hidden = recurrence[1]
        return directions * data[0] * data[1] * gates * hidden * (width + hidden)

    return rule


def _einsum(node: ir.Node, inputs: list[Sizes], outputs: list[Sizes]) -> int | None:
    """The product of all index sizes, times one less than the number of operands."""
    terms = str(attribute(node, "equation", "")).replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    spread = 1
    for term, known in zip(terms, inputs, strict=True):
        if known is None:
            return None
        head, dots, tail = term.partition("...")
        free = len(known) - len(head) - len(tail) if dots else 0
        spread = max(spread, math.prod(known[len(head) : len(head) + free]))
        sizes.update(zip(head + tail, known[: len(head)] + known[len(head) + free :], strict=True))
    return math.prod(sizes.values()) * spread * max(0, len(terms) - 1)


def _attention(node: ir.Node, inputs: list[Sizes], outputs: list[Sizes]) -> int | None:
    """Scores and their weighted sum, for separate query, key and value; 3-D or 4-D (batch, heads, length, size).

    The operator called Attention in com.microsoft is another one: it projects first.
    """
    if node.op_type == "Attention" and node.domain == "com.microsoft":
        return _fused_attention(node, inputs, outputs)
    query, key = inputs[0], inputs[1]
    if query is None or key is None:
        return None
    past = inputs[3] if node.op_type == "GroupQueryAttention" and len(inputs) > 3 else None
    length = key[-2] + (past[-2] if past is not None else 0)
    return 2 * math.prod(query) * length


def _fused_attention(node: ir.Node, inputs: list[Sizes], outputs: list[Sizes]) -> int | None:
    """com.microsoft Attention: one projection to query, key and value, then scores and their weighted sum."""
    data, weights = inputs[0], inputs[1]
    if data is None or weights is None:
        return None
    return math.prod(data) * weights[-1] + 2 * data[0] * data[1] * data[1] * (weights[-1] // 3)


def _blocked(node: ir.Node, inputs: list[Sizes], outputs: list[Sizes]) -> int | None:
    out = outputs[0]
    return None if out is None else math.prod(out) * int(attribute(node, "K", 0))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv", "NhwcFusedConv"), _convolution(1)),
    "DeformConv": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed(0, 1),
    "QLinearConvTranspose": _transposed(0, 3),
    "Gemm": _product(0, "transA"),
    "FusedGemm": _product(0, "transA"),
    "QGemm": _product(0, "transA"),
    "MatMul": _product(0),
    "FusedMatMul": _product(0, "transA"),
    "MatMulInteger": _product(0),
    "MatMulIntegerToFloat": _product(0),
    "DynamicQuantizeMatMul": _product(0),
    "QLinearMatMul": _product(0),
    "MatMulNBits": _blocked,
    "MatMulBnb4": _blocked,
    "LSTM": _recurrent(4),
    "DynamicQuantizeLSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
    "Einsum": _einsum,
    "MultiHeadAttention": _attention,
    "GroupQueryAttention": _attention,
    "Attention": _attention,
    "QAttention": _fused_attention,
}
"""Rule by operator type."""
