"""Models that are quantized already: said, and not quantized a second time on top."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.errors import ModelError
from onnxcompress.graph import iter_nodes, label
from onnxcompress.passes.quantization.integer_ops import INTEGER_OPS
from onnxcompress.passes.quantization.linear import is_linear


def refuse_quantized(model: ir.Model) -> None:
    """Refuse a model whose products read Q/DQ pairs or that computes on integers.

    Raises:
        ModelError: Naming the first such node and the ways out.
    """
    done = [n for n in model.graph if is_linear(n) and any(_dequantized(v) for v in n.inputs[:2])]
    if done or _integer_operators(model):
        first = label((done or _integer_operators(model))[0])
        total = sum(is_linear(n) for n in model.graph)
        raise ModelError(
            "the model is quantized already",
            where=f"node {first}",
            why=f"{len(done)} of its {total} products read integers; rounding them once more would only lose accuracy",
            hint="Quantize the float model it was made from; or --requantize makes this one float first.",
            code="QUANT-ALREADY",
        )


def refuse_integer_operators(model: ir.Model) -> None:
    """Refuse a model with operators that compute on integers; only Q/DQ pairs can be taken out.

    Raises:
        ModelError: Naming the first of them.
    """
    found = _integer_operators(model)
    if found:
        raise ModelError(
            "cannot make the model float",
            where=f"node {label(found[0])}",
            why=f"{found[0].op_type} computes on integers; only QuantizeLinear and DequantizeLinear can be taken out",
            hint="Use the float model it was made from, or the Q/DQ form of the same file.",
            code="QDQ-INTEGER-OPERATOR",
        )


def _integer_operators(model: ir.Model) -> list[ir.Node]:
    return [node for node in iter_nodes(model) if node.op_type in INTEGER_OPS]


def _dequantized(value: ir.Value | None) -> bool:
    producer = value.producer() if value is not None else None
    return producer is not None and producer.op_type == "DequantizeLinear"
