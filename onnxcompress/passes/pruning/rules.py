"""Which rule belongs to which op; those of another domain are listed as ``domain:op``."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxcompress.passes.pruning import rules_control as control
from onnxcompress.passes.pruning import rules_elementwise as elementwise
from onnxcompress.passes.pruning import rules_index as index
from onnxcompress.passes.pruning import rules_linear as linear
from onnxcompress.passes.pruning import rules_norm as norm
from onnxcompress.passes.pruning import rules_quantized as quantized
from onnxcompress.passes.pruning.movement import joined, moved, padded
from onnxcompress.passes.pruning.rules_fused import FUSED
from onnxcompress.passes.pruning.rules_recurrent import recurrent
from onnxcompress.passes.pruning.trace import Rule, Trace


def gather(found: Trace, node: ir.Node) -> None:
    """Gather: a lookup by data, or a movement by constant indices."""
    if not linear.embedding(found, node):
        moved(found, node)


MOVEMENT = (
    "DepthToSpace",
    "Flatten",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(elementwise.UNARY, elementwise.unary),
    **dict.fromkeys(elementwise.BROADCAST, elementwise.broadcast),
    **dict.fromkeys(elementwise.POOLS, elementwise.pool),
    **dict.fromkeys(elementwise.REDUCTIONS, elementwise.reduction),
    **dict.fromkeys(elementwise.ALONG, elementwise.along),
    **dict.fromkeys(MOVEMENT, moved),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    **dict.fromkeys(("Resize", "Upsample"), elementwise.resize),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), quantized.quantize),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), norm.layer_norm),
    **dict.fromkeys(("RoiAlign", "MaxRoiPool"), index.regions),
    **dict.fromkeys(("ScatterElements", "Scatter"), index.scatter_elements),
    **FUSED,
    "BatchNormalization": norm.batch_norm,
    "Concat": joined,
    "ConstantOfShape": elementwise.filled,
    "Conv": linear.conv,
    "ConvInteger": quantized.integer_conv,
    "ConvTranspose": linear.conv_transpose,
    "DynamicQuantizeLinear": quantized.dynamic,
    "Einsum": linear.einsum,
    "Expand": elementwise.expanded,
    "Gather": gather,
    "GatherElements": index.gather_elements,
    "GatherND": index.gather_nd,
    "Gemm": linear.gemm,
    "GroupNormalization": norm.group_norm,
    "GridSample": index.sampled,
    "If": control.branches,
    "InstanceNormalization": norm.instance_norm,
    "Loop": control.loop,
    "LpNormalization": norm.length_norm,
    "MatMul": linear.matmul,
    "MatMulInteger": quantized.integer_matmul,
    "MaxUnpool": index.unpooled,
    "Pad": padded,
    "QLinearConv": quantized.linear_conv,
    "QLinearMatMul": quantized.linear_matmul,
    "ReverseSequence": index.reversed_sequence,
    "Scan": control.scan,
    "ScatterND": index.scatter_nd,
    "Shape": elementwise.silent,
    "Trilu": index.triangle,
}
