"""What ONNX Runtime computes otherwise than the file says, or runs in float in spite of its Q/DQ pairs.

Source: single-operator models through ONNX Runtime 1.32, whose optimized model tells the kernels; its source
(qdq_selectors.cc) for the conditions. Which kernels a whole model gets is counted by `kernels`, by running it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute, is_constant
from onnxcompress.passes.quantization.lint.rule import Place, Rule

_RUN = "ONNX Runtime 1.32, optimized model of a single operator"
_SELECTORS = "onnxruntime qdq_selectors.cc"
_BYTES = (ir.DataType.INT8, ir.DataType.UINT8)


def _bias_scale(place: Place) -> Iterator[str]:
    """Gemm's kernel takes s_x s_w whatever the bias says; Conv checks, and runs in float."""
    parts = [place.pair(i) for i in range(3)]
    data, weight, bias = parts
    if data is None or weight is None or bias is None or bias.kind != ir.DataType.INT32:
        return
    if data.scale is None or weight.scale is None or bias.scale is None:
        return
    expected = data.scale.astype(np.float32).reshape(-1) * weight.scale.astype(np.float32).reshape(-1)
    said = bias.scale.astype(np.float32).reshape(-1)
    if said.size not in (1, expected.size) or not np.all(expected == said):
        wrong = "the kernel uses that product all the same" if place.node.op_type == "Gemm" else "it runs in float"
        yield f"the scale of its INT32 bias is not the product of its factors' scales; {wrong}"


def _conv_types(place: Place) -> Iterator[str]:
    data, weight = place.pair(0), place.pair(1)
    if data is None or weight is None or not is_constant(weight.input(0)):
        return
    if data.kind in _BYTES and weight.kind not in _BYTES:
        kind = weight.kind.name if weight.kind is not None else "?"
        yield f"its weight is {kind}; the integer kernel takes 8-bit weights"


def _gemm_factors(place: Place) -> Iterator[str]:
    parts = [place.pair(i) for i in (0, 1)]
    if all(parts) and (attribute(place.node, "beta", 1.0) != 1.0 and place.input(2) is not None):
        yield "beta is not 1"


RULES: tuple[Rule, ...] = (
    Rule("LINT-BIAS-SCALE", _RUN, _bias_scale, ops=("Conv", "Gemm"), effect="does not compute"),
    Rule("LINT-CONV-WEIGHT", _SELECTORS, _conv_types, ops=("Conv",), effect="runs in float"),
    Rule("LINT-GEMM-BETA", _SELECTORS, _gemm_factors, ops=("Gemm",), effect="runs in float"),
)
