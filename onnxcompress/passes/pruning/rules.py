"""Which rule belongs to which op of the default domain."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxcompress.passes.pruning import rules_control as control
from onnxcompress.passes.pruning import rules_elementwise as elementwise
from onnxcompress.passes.pruning import rules_linear as linear
from onnxcompress.passes.pruning import rules_norm as norm
from onnxcompress.passes.pruning.movement import joined, moved, padded
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
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), elementwise.quantize),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), norm.layer_norm),
    "BatchNormalization": norm.batch_norm,
    "Concat": joined,
    "ConstantOfShape": elementwise.filled,
    "Conv": linear.conv,
    "ConvTranspose": linear.conv_transpose,
    "Einsum": linear.einsum,
    "Expand": elementwise.expanded,
    "Gather": gather,
    "Gemm": linear.gemm,
    "GroupNormalization": norm.group_norm,
    "If": control.branches,
    "InstanceNormalization": norm.instance_norm,
    "Loop": control.loop,
    "MatMul": linear.matmul,
    "Pad": padded,
    "Scan": control.scan,
    "Shape": elementwise.silent,
}
