"""Which integer kernels ONNX Runtime runs a Q/DQ model with, and why a product stays float in spite of its pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxcompress.graph import attribute, label
from onnxcompress.passes.quantization.coverage import reads_integers
from onnxcompress.passes.quantization.linear import is_linear
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime.dump import optimized_model
from onnxcompress.runtime.runnable import runnable_part
from onnxcompress.runtime_options import RuntimeOptions

_INTEGER = (
    "QLinearConv", "QLinearMatMul", "QGemm", "MatMulIntegerToFloat", "MatMulInteger", "ConvInteger", "QLinearAdd",
    "QLinearMul", "QLinearConcat", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearLeakyRelu",
    "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere",
)  # fmt: skip
_FLOAT = ("Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "ConvTranspose")


@dataclass(frozen=True)
class Kernels:
    """What ONNX Runtime runs.

    Attributes:
        integer: Integer kernels by operator.
        floating: Names of products that run in float.
        pairs: Q/DQ nodes that were not absorbed into a kernel.
    """

    integer: dict[str, int] = field(default_factory=dict[str, int])
    floating: tuple[str, ...] = ()
    pairs: int = 0


def kernels(model: ir.Model, options: RuntimeOptions | None = None) -> Kernels:
    """Count the kernels of a model after ONNX Runtime's fusions."""
    part, _ = runnable_part(model, options)
    found = list(optimized_model(part, options).graph)
    integer = Counter(n.op_type for n in found if n.op_type in _INTEGER)
    floating = tuple(label(n) for n in found if n.op_type in _FLOAT)
    pairs = sum(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in found)
    return Kernels(dict(sorted(integer.items())), floating, pairs)


def check(model: ir.Model, options: RuntimeOptions | None = None) -> Iterator[Finding]:
    """One summary, and one finding for each node that has its pairs and yet runs in float."""
    found = kernels(model, options)
    told = ", ".join(f"{count} {op}" for op, count in found.integer.items()) or "none"
    numbers: dict[str, float | int | str] = {**found.integer, "float": len(found.floating)}
    yield Finding("QUANT-KERNELS", f"integer kernels in ONNX Runtime: {told}", numbers=numbers)
    floating = {name.split("/MatMulAddFusion")[0] for name in found.floating}
    for node in model.graph:
        if is_linear(node) and reads_integers(node) and label(node) in floating:
            message = f"{node.op_type} runs in float in spite of its Q/DQ pairs: {_why(node)}"
            yield Finding("QUANT-NOT-FUSED", message, node=label(node), severity=Severity.WARNING)


def _why(node: ir.Node) -> str:
    readers = [use.node.op_type for use in node.outputs[0].uses()]
    if node.op_type == "ConvTranspose":
        return "ONNX Runtime has no integer kernel for ConvTranspose"
    if node.op_type == "Conv" and "QuantizeLinear" not in readers:
        return f"its output goes to {', '.join(sorted(set(readers))) or 'a graph output'} before it is quantized"
    if node.op_type == "Gemm" and (attribute(node, "beta", 1.0) != 1.0 or attribute(node, "alpha", 1.0) != 1.0):
        return "alpha or beta is not 1"
    if node.op_type == "Gemm" and attribute(node, "transA", 0):
        return "its left factor is transposed"
    kinds = [v.producer().inputs[0].dtype for v in node.inputs[:2]]  # type: ignore[union-attr]
    return f"ONNX Runtime did not fuse it (factors {', '.join(k.name for k in kinds if k)})"
