"""Dynamic quantization: DynamicQuantizeLinear and MatMulInteger in place of MatMul and Gemm by a constant matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import UsageError
from onnxcompress.graph import add_initializer, all_names, array_of, attribute, fresh_name, in_scope, label
from onnxcompress.passes.quantization.already import refuse_quantized
from onnxcompress.passes.quantization.edit import drop_unused
from onnxcompress.passes.quantization.kinds import INT7, INT8
from onnxcompress.passes.quantization.linear import Linear, is_linear, linear_of
from onnxcompress.passes.quantization.opset import prepare_opset
from onnxcompress.passes.quantization.scales import quantized_weight, weight_scales
from onnxcompress.passes.quantization.weights import RECURRENT_OPS, weights_left_float
from onnxcompress.report import Finding, Severity
from onnxcompress.targets import Target

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.quantize_dynamic import QuantizeDynamic


def quantize_dynamic(model: ir.Model, ctx: Context, options: QuantizeDynamic) -> Iterator[Finding]:
    """Edit `model` and yield the findings."""
    _refuse_target(ctx.target)
    if not ctx.scope.only:
        refuse_quantized(model)
    yield from prepare_opset(model, ctx.target.min_opset)
    chosen = in_scope(model, ctx.scope.only, ctx.scope.exclude)
    writer = _Writer(model, ctx.target, options.per_channel)
    done = 0
    for node in [node for node in model.graph if is_linear(node) or node.op_type in RECURRENT_OPS]:
        reason = _reason(node, chosen)
        if reason is None:
            writer.replace(linear_of(node))
            done += 1
        else:
            yield Finding(reason[0], f"{node.op_type} left float: {reason[1]}", node=label(node))
    drop_unused(model)
    yield from weights_left_float(model, ctx, per_channel=options.per_channel)
    message = f"{done} products compute in int8 with ranges found at every inference"
    severity = Severity.INFO if done else Severity.WARNING
    yield Finding("QUANT-DYNAMIC", message, severity=severity, numbers={"nodes": done})


def _refuse_target(target: Target) -> None:
    if target.lint != "onnxruntime":
        raise UsageError(
            f"dynamic quantization is not for the target {target.name}",
            why="DynamicQuantizeLinear and MatMulInteger have int8 kernels in ONNX Runtime alone",
            hint="Give --target ort-cpu; or --data instead of --dynamic, which writes Q/DQ nodes for any target.",
            code="USAGE-TARGET",
        )


def _reason(node: ir.Node, chosen: set[str]) -> tuple[str, str] | None:
    if node.op_type not in ("MatMul", "Gemm"):
        return "QUANT-NO-KERNEL", f"ONNX Runtime has no fast dynamic int8 kernel for {node.op_type}"
    if label(node) not in chosen:
        return "QUANT-EXCLUDED", "--exclude or --only says so"
    linear = linear_of(node)
    if linear.weight != 1 or attribute(node, "transA", 0):
        return "QUANT-DYNAMIC-WEIGHT", "its right factor is no constant, or its left one is transposed"
    weight = array_of(linear.value(1))
    assert weight is not None
    if weight.dtype != np.float32 or weight.ndim != 2 or not weight.size:
        return "QUANT-DTYPE", "its constant is not a float32 matrix"
    if not np.isfinite(weight).all():
        return "QUANT-NOT-FINITE", "its weight holds NaN or infinity, which no integer stands for"
    return None


class _Writer:
    """Puts integer products in place of float ones; tensors share their DynamicQuantizeLinear, and readers a weight."""

    def __init__(self, model: ir.Model, target: Target, per_channel: bool) -> None:
        self.graph, self.per_channel = model.graph, per_channel
        self.kind, self.taken = INT7 if target.reduce_range else INT8, all_names(model)
        self._data: dict[ir.Value, ir.Node] = {}
        self._weights: dict[tuple[ir.Value, bool, float], tuple[ir.Value, ir.Value]] = {}

    def replace(self, linear: Linear) -> None:
        """Replace one MatMul or Gemm."""
        node, out = linear.node, linear.node.outputs[0]
        stored, scale = self._weight(linear)
        data = self._quantized(linear.value(0), node)
        product = self._node("MatMulInteger", [data.outputs[0], stored, data.outputs[2]], out, ir.DataType.INT32)
        wide = self._node("Cast", [product.outputs[0]], out, attributes=[ir.AttrInt64("to", ir.DataType.FLOAT)])
        scales = self._node("Mul", [data.outputs[1], scale], out)
        nodes = [product, wide, scales, self._node("Mul", [wide.outputs[0], scales.outputs[0]], out)]
        bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
        if bias is not None:
            nodes += self._added(nodes[-1], bias, attribute(node, "beta", 1.0), out)
        nodes[-1].outputs[0].shape = out.shape
        self._take_over(node, nodes)

    def _take_over(self, node: ir.Node, nodes: list[ir.Node]) -> None:
        old, new = node.outputs[0], nodes[-1].outputs[0]
        name = old.name
        self.graph.insert_before(node, nodes)
        for use in list(old.uses()):
            use.node.replace_input_with(use.idx, new)
        for i, output in enumerate(self.graph.outputs):
            if output is old:
                self.graph.outputs[i] = new
        self.graph.remove(node, safe=True)
        old.name, new.name = None, name

    def _added(self, product: ir.Node, bias: ir.Value, beta: float, out: ir.Value) -> list[ir.Node]:
        nodes: list[ir.Node] = []
        if beta != 1.0:
            factor = add_initializer(self.graph, fresh_name(self.taken, f"{out.name}_beta"), np.array(beta, np.float32))
            nodes.append(self._node("Mul", [bias, factor], out))
            bias = nodes[0].outputs[0]
        return [*nodes, self._node("Add", [product.outputs[0], bias], out)]

    def _quantized(self, value: ir.Value, reader: ir.Node) -> ir.Node:
        if value not in self._data:
            names = [fresh_name(self.taken, f"{value.name}_{part}") for part in ("quantized", "scale", "zero_point")]
            kinds = (ir.DataType.UINT8, ir.DataType.FLOAT, ir.DataType.UINT8)
            outs = [ir.Value(name=n, type=ir.TensorType(k)) for n, k in zip(names, kinds, strict=True)]
            node = ir.Node("", "DynamicQuantizeLinear", [value], outputs=outs)
            node.name = fresh_name(self.taken, f"{value.name}_DynamicQuantizeLinear")
            self.graph.insert_before(reader, [node])
            self._data[value] = node
        return self._data[value]

    def _weight(self, linear: Linear) -> tuple[ir.Value, ir.Value]:
        """The integers, laid out as MatMul wants them, and their scales times alpha."""
        value, turned = linear.value(1), bool(attribute(linear.node, "transB", 0))
        alpha = float(attribute(linear.node, "alpha", 1.0))
        key = (value, turned, alpha)
        if key not in self._weights:
            array = array_of(value)
            assert array is not None
            array = np.ascontiguousarray(array.T) if turned else array
            axis = 1 if self.per_channel else None
            scales = weight_scales(array, axis, kind=self.kind)
            numbers = quantized_weight(array, scales, axis, kind=self.kind)
            parts = (("quantized", numbers), ("scale", np.asarray(scales * np.float32(alpha), np.float32)))
            base = value.name or label(linear.node)
            made = [add_initializer(self.graph, fresh_name(self.taken, f"{base}_{part}"), a) for part, a in parts]
            self._weights[key] = made[0], made[1]
        return self._weights[key]

    def _node(
        self,
        op: str,
        inputs: Sequence[ir.Value],
        near: ir.Value,
        kind: ir.DataType = ir.DataType.FLOAT,
        attributes: Sequence[ir.Attr] = (),
    ) -> ir.Node:
        out = ir.Value(name=fresh_name(self.taken, f"{near.name}_{op.lower()}"), type=ir.TensorType(kind))
        node = ir.Node("", op, inputs, attributes, outputs=[out])
        node.name = fresh_name(self.taken, f"{near.name}_{op}")
        return node
