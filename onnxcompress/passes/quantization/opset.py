"""What a model needs before Q/DQ nodes can go in: a new enough operator set."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxcompress.graph import opset
from onnxcompress.model_io.opset import raise_opset
from onnxcompress.report import Finding

_FLOAT16_OPSET = 19
"""The first operator set whose Q/DQ nodes take float16."""


def prepare_opset(model: ir.Model, least: int) -> Iterator[Finding]:
    """Raise the model to the operator set that its Q/DQ nodes need, and say so.

    Raises:
        ModelError: Where onnx's converter cannot do it.
    """
    have = opset(model)
    half = any(v.dtype == ir.DataType.FLOAT16 for v in model.graph.initializers.values())
    needed = max(least, _FLOAT16_OPSET if half else 0)
    if have >= needed:
        return
    raise_opset(model, needed)
    message = f"the operator set was raised from {have} to {needed}, which Q/DQ nodes of this model need"
    yield Finding("QUANT-OPSET", message, numbers={"before": have, "after": needed})
