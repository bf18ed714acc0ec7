"""Weight-only quantization: which constants are weights, along which axis, and what takes their place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, all_names, attribute, fresh_name, in_scope, label, scopes, tensor_of
from onnxcompress.passes.quantization.edit import drop_unused
from onnxcompress.passes.quantization.linear import is_linear, linear_of
from onnxcompress.passes.quantization.opset import prepare_opset
from onnxcompress.passes.quantization.scales import quantized_weight, weight_scales
from onnxcompress.report import Finding, Severity

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.quantize_weights import QuantizeWeights

RECURRENT_OPS = ("LSTM", "GRU", "RNN")
_NODE_BYTES = 200  # what a DequantizeLinear node and the names of its inputs take in the file


@dataclass(frozen=True)
class Weight:
    """A constant worth quantizing.

    Attributes:
        value: The float constant.
        axis: Axis with one scale for each index; None for one scale.
        reader: First node that reads it as a weight.
        table: Only Gather nodes read it, along axis 0.
    """

    value: ir.Value
    axis: int | None
    reader: ir.Node
    table: bool = False


def quantize_weights(model: ir.Model, ctx: Context, options: QuantizeWeights) -> Iterator[Finding]:
    """Edit `model` and yield the findings."""
    yield from prepare_opset(model, ctx.target.min_opset)
    chosen = in_scope(model, ctx.scope.only, ctx.scope.exclude)
    writer = _Writer(model, options, 63 if ctx.target.reduce_range else 127)
    done = saved = 0
    for weight in list(_weights(model)):
        reason = _reason(weight, chosen)
        if reason is not None:
            yield Finding(*reason, node=weight.value.name or "")
            continue
        saved += writer.replace(weight)
        done += 1
    drop_unused(model)
    yield from _bodies(model)
    message = f"{done} weights stored as int8" if done else "no weight was worth storing as int8"
    severity = Severity.INFO if done else Severity.WARNING
    yield Finding("QUANT-WEIGHTS", message, severity=severity, numbers={"weights": done, "saved_bytes": saved})


def _weights(model: ir.Model) -> Iterator[Weight]:
    """Weights of the main graph, each once, in the order of their first reader."""
    seen: set[ir.Value] = set()
    for node in model.graph:
        for value, axis, table in _candidates(node):
            if value not in seen:
                seen.add(value)
                yield Weight(value, axis, node, table)


def _candidates(node: ir.Node) -> Iterator[tuple[ir.Value, int | None, bool]]:
    if node.domain not in ("", "ai.onnx"):
        return
    if is_linear(node):
        linear = linear_of(node)
        if linear.weight is not None:
            yield linear.value(linear.weight), linear.axis, False
    elif node.op_type in RECURRENT_OPS:
        yield from ((v, 1, False) for v in node.inputs[1:3] if v is not None and tensor_of(v) is not None)
    elif node.op_type == "Gather" and attribute(node, "axis", 0) == 0 and tensor_of(node.inputs[0]) is not None:
        value = node.inputs[0]
        readers = [(use.node, use.idx) for use in value.uses()] if value is not None else []
        if value is not None and all(n.op_type == "Gather" and i == 0 and n.graph is node.graph for n, i in readers):
            yield value, -1, True


def _reason(weight: Weight, chosen: set[str]) -> tuple[str, str] | None:
    tensor = tensor_of(weight.value)
    assert tensor is not None
    if label(weight.reader) not in chosen:
        return "QUANT-EXCLUDED", "weight left float because --exclude or --only says so"
    if tensor.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return "QUANT-DTYPE", f"weight left as it is: its type is {tensor.dtype.name}"
    if weight.table and len(tensor.shape) < 2:
        return "QUANT-SMALL", "table left float: its rows are single numbers"
    if _saved(weight, tensor) <= 0:
        return "QUANT-SMALL", "weight left float: scales and nodes would take more than int8 saves"
    if not np.isfinite(tensor.numpy()).all():
        return "QUANT-NOT-FINITE", "weight left float: it holds NaN or infinity, which no integer stands for"
    return None


def _saved(weight: Weight, tensor: ir.TensorProtocol) -> int:
    shape = tuple(tensor.shape.numpy())
    size = int(np.prod(shape, dtype=np.int64))
    channels = 1 if weight.axis is None else shape[weight.axis]
    wide = tensor.dtype.itemsize
    return int(size * (wide - 1) - channels * (wide + 1) - _NODE_BYTES)


class _Writer:
    """Puts integers in place of weights."""

    def __init__(self, model: ir.Model, options: QuantizeWeights, limit: int) -> None:
        self.graph, self.options, self.limit = model.graph, options, limit
        self.taken = all_names(model)

    def replace(self, weight: Weight) -> int:
        """Replace one weight for all of its readers; the bytes saved."""
        tensor = tensor_of(weight.value)
        assert tensor is not None
        array = tensor.numpy()
        axis = weight.axis if self.options.per_channel else None
        axis = axis % array.ndim if axis is not None else None
        scales = weight_scales(array, axis, limit=self.limit, clip=self.options.clip)
        numbers = quantized_weight(array, scales, axis, limit=self.limit)
        constants = self._constants(weight.value.name or label(weight.reader), numbers, scales.astype(array.dtype))
        if weight.table:
            self._after_gathers(weight.value, constants, axis)
        else:
            self._before(weight, constants, axis)
        return _saved(weight, tensor)

    def _constants(self, name: str, numbers: np.ndarray, scales: np.ndarray) -> list[ir.Value]:
        zero = np.zeros(scales.shape, np.int8)
        parts = (("quantized", numbers), ("scale", scales), ("zero_point", zero))
        return [add_initializer(self.graph, fresh_name(self.taken, f"{name}_{p}"), a) for p, a in parts]

    def _before(self, weight: Weight, constants: list[ir.Value], axis: int | None) -> None:
        value = weight.value
        out = ir.Value(name=fresh_name(self.taken, f"{value.name}_dequantized"), shape=value.shape, type=value.type)
        node = self._dequantize(constants, axis, out)
        uses = [(use.node, use.idx) for use in value.uses()]
        self.graph.insert_before(self.graph[0], node)
        for reader, index in uses:
            reader.replace_input_with(index, out)

    def _after_gathers(self, table: ir.Value, constants: list[ir.Value], axis: int | None) -> None:
        for use in list(table.uses()):
            gather, old = use.node, use.node.outputs[0]
            name = old.name or ""
            restored = ir.Value(name=None, shape=old.shape, type=old.type)
            readers = [(u.node, u.idx) for u in old.uses()]
            gather.replace_input_with(0, constants[0])
            old.name = fresh_name(self.taken, f"{name}_quantized")
            old.type = ir.TensorType(ir.DataType.INT8)
            restored.name = name
            self.graph.insert_after(
                gather, self._dequantize([old, *constants[1:]], -1 if axis is not None else None, restored)
            )
            for reader, index in readers:
                reader.replace_input_with(index, restored)
            for i, output in enumerate(self.graph.outputs):
                if output is old:
                    self.graph.outputs[i] = restored

    def _dequantize(self, inputs: list[ir.Value], axis: int | None, out: ir.Value) -> ir.Node:
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        node = ir.Node("", "DequantizeLinear", inputs, attributes, outputs=[out])
        node.name = fresh_name(self.taken, f"{out.name}_DequantizeLinear")
        return node


def _bodies(model: ir.Model) -> Iterator[Finding]:
    for scope in scopes(model):
        for node in scope if scope is not model.graph else ():
            if any(True for _ in _candidates(node)):
                message = f"weight of {node.op_type} left float: it stands in a body of If, Loop or Scan, or a function"
                yield Finding("QUANT-BODY", message, node=label(node))
