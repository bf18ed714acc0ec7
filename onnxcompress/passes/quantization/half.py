"""float16 in place of float32: which nodes compute in it, and the casts around them.

A node computes in float16 where its operator is one of `HALF_OPS`: products, data movement and elementwise functions
that neither sum many terms nor divide by small ones. All else (normalizations, Softmax, reductions, Resize, recurrent
nodes, control flow, foreign domains) stays float32, and so does a node with a constant, or by the samples a tensor,
beyond 65504. Between the two stands one Cast for each tensor. Weights are stored as float16, half the
bytes; large ones of nodes that stay float32 stand behind a Cast, which a runtime folds while it loads the model.

bfloat16 is storage alone: every node computes in float32, and large weights stand behind such a Cast. ONNX Runtime's
processor kernels move bfloat16 numbers about but neither add nor multiply them, so a file that computes in it could not
be run, nor checked, here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.calibrators import collect
from onnxcompress.graph import add_initializer, all_names, fresh_name, in_scope, label, scopes, tensor_of
from onnxcompress.passes.quantization.already import refuse_quantized
from onnxcompress.passes.quantization.edit import drop_unused
from onnxcompress.passes.quantization.opset import prepare_opset
from onnxcompress.passes.quantization.ranges import spread
from onnxcompress.report import Finding, Severity
from onnxcompress.shapes import infer

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.convert_float import ConvertFloat

HALF_OPS = frozenset((
    "Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Sub", "Mul", "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid",
    "HardSigmoid", "HardSwish", "Tanh", "Gelu", "Erf", "Elu", "Abs", "Neg", "Max", "Min", "MaxPool", "AveragePool",
    "Concat", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Expand", "Tile",
    "Pad", "Identity", "DepthToSpace", "SpaceToDepth",
))  # fmt: skip
_LARGEST = 65504.0
_SAMPLES = 64
_LARGE = 1024  # elements from which on a Cast is worth its node
_BFLOAT16_OPSET = 13  # the first whose Cast reads bfloat16


def convert(model: ir.Model, ctx: Context, options: ConvertFloat) -> Iterator[Finding]:
    """Edit `model` and yield the findings."""
    refuse_quantized(model)
    chosen = in_scope(model, ctx.scope.only, ctx.scope.exclude)
    blocked = [node for scope in scopes(model) for node in scope if node.op_type in options.block_ops]
    chosen -= {label(node) for node in blocked}
    for op_type in sorted(set(options.block_ops) - {node.op_type for node in blocked}):
        message = f"--block-op {op_type}: the model has no such node"
        yield Finding("HALF-NO-NODE", message, severity=Severity.WARNING)
    yield from _in_bfloat16(model, chosen) if options.float_type == "bfloat16" else _in_float16(model, ctx, chosen)


def _in_bfloat16(model: ir.Model, chosen: set[str]) -> Iterator[Finding]:
    yield from prepare_opset(model, _BFLOAT16_OPSET)
    count = _Writer(model, set(), ir.DataType.BFLOAT16).store(chosen)
    message = f"{count} constants stored as bfloat16 behind a Cast; every node computes in float32"
    severity = Severity.INFO if count else Severity.WARNING
    yield Finding("HALF-STORED", message, severity=severity, numbers={"nodes": 0, "constants": count})


def _in_float16(model: ir.Model, ctx: Context, chosen: set[str]) -> Iterator[Finding]:
    table = infer(model, shapes=ctx.shapes, runtime=ctx.runtime)
    floats = {v for node in model.graph for v in (*node.inputs, *node.outputs) if v is not None and _is_float(v, table)}
    able = [n for n in model.graph if _able(n) and label(n) in chosen and any(o in floats for o in n.outputs)]
    large = {node for node in able if any(_beyond(v) for v in node.inputs)} | _too_large(model, ctx, able)
    for node in able:
        if node in large:
            yield Finding("HALF-RANGE", f"{node.op_type} left float32: a value of it passes 65504", node=label(node))
    yield from _bodies(model)
    half = [node for node in able if node not in large]
    writer = _Writer(model, floats, ir.DataType.FLOAT16)
    weights = writer.write(half) + writer.store(chosen)
    message = f"{len(half)} nodes compute in float16, {weights} constants stored so"
    severity = Severity.INFO if half else Severity.WARNING
    yield Finding("HALF-DONE", message, severity=severity, numbers={"nodes": len(half), "constants": weights})


def _bodies(model: ir.Model) -> Iterator[Finding]:
    for scope in scopes(model):
        left = [node for node in scope if _able(node)] if scope is not model.graph else []
        if left:
            where = "in a body of If, Loop or Scan, or in a function"
            message = f"{len(left)} node(s) left float32, this one first: they stand {where}"
            yield Finding("HALF-BODY", message, node=label(left[0]), numbers={"nodes": len(left)})


def _able(node: ir.Node) -> bool:
    return node.domain in ("", "ai.onnx") and node.op_type in HALF_OPS


def _is_float(value: ir.Value, table: object) -> bool:
    tensor = tensor_of(value)
    dtype = tensor.dtype if tensor is not None else value.dtype or table.dtype(value.name or "")  # type: ignore[attr-defined]
    return dtype == ir.DataType.FLOAT


def _beyond(value: ir.Value | None) -> bool:
    tensor = tensor_of(value)
    if tensor is None or tensor.dtype != ir.DataType.FLOAT:
        return False
    array = tensor.numpy()
    return bool(array.size) and not float(np.abs(array).max()) <= _LARGEST


def _too_large(model: ir.Model, ctx: Context, able: list[ir.Node]) -> set[ir.Node]:
    """Nodes with an input or output beyond half of float16's range on the samples."""
    if ctx.data is None:
        return set()
    names = {v.name or "" for n in able for v in (*n.inputs, *n.outputs) if v is not None and tensor_of(v) is None}
    made = {o.name for n in model.graph for o in n.outputs} | {v.name for v in model.graph.inputs}
    kinds = {o.name: o for n in able for o in n.outputs}
    tapped = [name for name in sorted(names) if name in made and name in kinds]
    found = collect(model, spread(ctx.data, _SAMPLES), tapped, options=ctx.runtime, memory_bytes=ctx.memory_bytes)
    wide = {name for name, hist in found.items() if not max(-hist.low, hist.high) <= _LARGEST / 2}
    return {n for n in able if any(v is not None and v.name in wide for v in (*n.inputs, *n.outputs))}


def _storable(value: ir.Value, chosen: set[str], kind: ir.DataType) -> bool:
    tensor = tensor_of(value)
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or value.is_graph_output():
        return False
    if tensor.size < _LARGE or any(label(use.node) not in chosen for use in value.uses()):
        return False
    return kind == ir.DataType.BFLOAT16 or not _beyond(value)  # bfloat16 has the range of float32


class _Writer:
    """Puts narrower floats into a model; every tensor keeps its name where it stays float32."""

    def __init__(self, model: ir.Model, floats: set[ir.Value], kind: ir.DataType) -> None:
        self.graph, self.floats, self.taken = model.graph, floats, all_names(model)
        self.model, self.kind, self.suffix = model, kind, kind.name.lower()
        self.halves: dict[ir.Value, ir.Value] = {}
        self.constants = 0

    def write(self, nodes: list[ir.Node]) -> int:
        """Convert the nodes; the number of constants that are float16 now."""
        made = {o for node in nodes for o in node.outputs if o in self.floats}
        inside = set(nodes)
        for node in nodes:
            for index, value in enumerate(node.inputs):
                if value is not None and value in self.floats and value not in made:
                    node.replace_input_with(index, self._half(value))
        for node in nodes:
            for out in node.outputs:
                if out in made:
                    self._widen(node, out, inside)
        drop_unused(self.model)
        return self.constants

    def store(self, chosen: set[str]) -> int:
        """Narrow numbers and a Cast for each large constant of nodes that stay float32; how many there were."""
        read = (v for node in self.graph for v in node.inputs if v is not None)  # outputs of Constant nodes too
        constants = dict.fromkeys((*self.graph.initializers.values(), *read))
        found = [v for v in constants if _storable(v, chosen, self.kind)]
        for value in found:
            stored = self._constant(value)
            cast = self._cast(stored, fresh_name(self.taken, f"{value.name}_float32"), ir.DataType.FLOAT)
            uses = [(use.node, use.idx) for use in value.uses()]
            self.graph.insert_before(self.graph[0], cast)
            for reader, index in uses:
                reader.replace_input_with(index, cast.outputs[0])
        drop_unused(self.model)
        return len(found)

    def _half(self, value: ir.Value) -> ir.Value:
        if value not in self.halves:
            self.halves[value] = self._made(value)
        return self.halves[value]

    def _made(self, value: ir.Value) -> ir.Value:
        if tensor_of(value) is not None:
            self.constants += 1
            return self._constant(value)
        node = self._cast(value, fresh_name(self.taken, f"{value.name}_{self.suffix}"), self.kind)
        producer = value.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], node)
        else:
            self.graph.insert_after(producer, node)
        return node.outputs[0]

    def _constant(self, value: ir.Value) -> ir.Value:
        tensor = tensor_of(value)
        assert tensor is not None
        name = fresh_name(self.taken, f"{value.name}_{self.suffix}")
        return add_initializer(self.graph, name, tensor.numpy().astype(self.kind.numpy()))

    def _widen(self, node: ir.Node, out: ir.Value, inside: set[ir.Node]) -> None:
        """Let every reader that stays float32, graph output included, read a float32 copy under the old name."""
        out.type = ir.TensorType(self.kind)
        uses = [(use.node, use.idx) for use in out.uses() if use.node not in inside]
        if not uses and not out.is_graph_output():
            return
        name, out.name = out.name or "", fresh_name(self.taken, f"{out.name}_{self.suffix}")
        cast = self._cast(out, name, ir.DataType.FLOAT)
        self.graph.insert_after(node, cast)
        for reader, index in uses:
            reader.replace_input_with(index, cast.outputs[0])
        for i, output in enumerate(self.graph.outputs):
            if output is out:
                self.graph.outputs[i] = cast.outputs[0]
                cast.outputs[0].metadata_props.update(out.metadata_props)

    def _cast(self, value: ir.Value, name: str, kind: ir.DataType) -> ir.Node:
        out = ir.Value(name=name, shape=value.shape, type=ir.TensorType(kind))
        node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", kind)], outputs=[out])
        node.name = fresh_name(self.taken, f"{name}_Cast")
        return node
