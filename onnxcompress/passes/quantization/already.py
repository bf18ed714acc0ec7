"""Models that are quantized already: said, and not quantized a second time on top."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.errors import ModelError
from onnxcompress.graph import is_constant, iter_nodes, label
from onnxcompress.passes.quantization.integer_ops import INTEGER_OPS
from onnxcompress.passes.quantization.linear import is_linear


def refuse_quantized(model: ir.Model) -> None:
    """Refuse a model whose activations are rounded already, or all of whose weights are.

    A model of which some weights are integers, and no activations, is no such model: its other products may still be
    quantized.

    Raises:
        ModelError: Naming the first such node and the ways out.
    """
    whole = _integer_operators(model)
    if whole:
        raise _refusal(
            whole[0], f"{whole[0].op_type} computes on integers", "Quantize the float model it was made from."
        )
    products = [node for node in model.graph if is_linear(node)]
    done = [node for node in products if any(_dequantized(v) for v in node.inputs[:2])]
    if any(_rounded(v) for node in done for v in node.inputs[:2]) or (done and len(done) == len(products)):
        why = f"{len(done)} of its {len(products)} products read integers"
        way = "Quantize the float model it was made from; or --requantize makes this one float first."
        raise _refusal(done[0], f"{why}; rounding them once more would only lose accuracy", way)


def _refusal(node: ir.Node, why: str, way: str) -> ModelError:
    where = f"node {label(node)}"
    return ModelError("the model is quantized already", where=where, why=why, hint=way, code="QUANT-ALREADY")


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


def _rounded(value: ir.Value | None) -> bool:
    """True for an activation behind a pair."""
    producer = value.producer() if value is not None else None
    source = producer.inputs[0] if producer is not None and producer.op_type == "DequantizeLinear" else None
    first = source.producer() if source is not None else None
    return first is not None and first.op_type == "QuantizeLinear" and not is_constant(first.inputs[0])
