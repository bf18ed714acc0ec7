"""One torch function for each ONNX op type, by family; `TABLE` finds it."""

from onnxcompress.distill.ops import (
    attention,
    elementwise,
    folding,
    fused_attention,
    indexing,
    linear,
    movement,
    normalization,
    pooling,
    quantization,
    quantized_elements,
    quantized_products,
    recurrent,
    reduction,
    resize,
    rotary,
    sampling,
    selection,
)
from onnxcompress.distill.ops.table import OpFunction, OpNode, OpTable, call

TABLE = OpTable()
for _family in (
    attention,
    elementwise,
    folding,
    fused_attention,
    indexing,
    linear,
    movement,
    normalization,
    pooling,
    quantization,
    quantized_elements,
    quantized_products,
    recurrent,
    reduction,
    resize,
    rotary,
    sampling,
    selection,
):
    TABLE.update(_family.OPS)

__all__ = ["TABLE", "OpFunction", "OpNode", "OpTable", "call"]
