"""ONNX Runtime's own ops: the simple ones as what they are fused from, the others freeze by name."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning import rules_elementwise as elementwise
from onnxcompress.passes.pruning import rules_linear as linear
from onnxcompress.passes.pruning.trace import Rule, Trace
from onnxcompress.passes.pruning.walk import freeze_all

_PACKED = ("DequantizeBFP", "GatherBlockQuantized", "MatMulBnb4", "MatMulFpQ4", "MatMulNBits", "QMoE")
_FUSED = (
    "Attention",
    "DecoderMaskedMultiHeadAttention",
    "DecoderMaskedSelfAttention",
    "EmbedLayerNormalization",
    "GroupQueryAttention",
    "LongformerAttention",
    "MultiHeadAttention",
    "PackedAttention",
    "PackedMultiHeadAttention",
    "QAttention",
    "RotaryEmbedding",
    "SparseAttention",
)


def fused_conv(found: Trace, node: ir.Node) -> None:
    """FusedConv: a Conv, and a fourth input that is added."""
    linear.conv(found, node)
    if found.has(node, 3):
        found.unify(node, found.labels[node.outputs[0]][1], found.of(node, 3)[1])


def fused_matmul(found: Trace, node: ir.Node) -> None:
    """FusedMatMul: a MatMul whose operands may be transposed first."""
    if attribute(node, "transBatchA", 0) or attribute(node, "transBatchB", 0):
        freeze_all(found, node)
        return
    swapped = (bool(attribute(node, "transA", 0)), bool(attribute(node, "transB", 0)))
    linear.product(found, node, 0, 1, swapped)


def skip_layer_norm(found: Trace, node: ir.Node) -> None:
    """SkipLayerNormalization: the sum of two inputs and a bias, which is output 3, normalised along the last axis."""
    given = [index for index in range(len(node.inputs)) if found.has(node, index)]
    shapes = [found.shape_of(node, index) for index in given]
    labels = elementwise.aligned(found, node, [found.of(node, index) for index in given], shapes)
    found.statistic(node, labels, [len(labels) - 1])
    for index in (0, 3):
        found.put(node, index, list(labels))


def packed(found: Trace, node: ir.Node) -> None:
    """Weights in packed blocks cannot be cut."""
    freeze_all(found, node, "PRUNE-FROZEN-PACKED", f"{node.op_type} holds packed weights; prune before packing them")


def fused(found: Trace, node: ir.Node) -> None:
    """Whole attention in one op."""
    freeze_all(found, node, "PRUNE-FROZEN-FUSED", f"{node.op_type} is a fused op; prune the graph before it is fused")


FUSED: Mapping[str, Rule] = {
    f"com.microsoft:{name}": rule
    for name, rule in {
        "BiasGelu": elementwise.broadcast,
        "FastGelu": elementwise.broadcast,
        "FusedConv": fused_conv,
        "FusedGemm": linear.gemm,
        "FusedMatMul": fused_matmul,
        "Gelu": elementwise.unary,
        "QuickGelu": elementwise.unary,
        "SkipLayerNormalization": skip_layer_norm,
        "SkipSimplifiedLayerNormalization": skip_layer_norm,
        **dict.fromkeys(_PACKED, packed),
        **dict.fromkeys(_FUSED, fused),
    }.items()
}
