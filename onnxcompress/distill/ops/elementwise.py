"""Arithmetic, comparison, logic and activation, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch
import torch.nn.functional as nnf

from onnxcompress.distill.ops.dtypes import TORCH_OF
from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()

# Ops that torch has under one name and with ONNX's meaning.
_PLAIN: dict[str, Any] = {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh,
    "Atan": torch.atan, "Atanh": torch.atanh, "Ceil": torch.ceil, "Cos": torch.cos, "Cosh": torch.cosh,
    "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "IsNaN": torch.isnan, "Log": torch.log,
    "Neg": torch.neg, "Not": torch.logical_not, "Reciprocal": torch.reciprocal, "Relu": nnf.relu,
    "Round": torch.round, "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin, "Sinh": torch.sinh,
    "Softsign": nnf.softsign, "Sqrt": torch.sqrt, "Tan": torch.tan, "Tanh": torch.tanh, "Mish": nnf.mish,
    "HardSwish": nnf.hardswish,
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Equal": torch.eq, "Greater": torch.gt,
    "GreaterOrEqual": torch.ge, "Less": torch.lt, "LessOrEqual": torch.le, "And": torch.logical_and,
    "Or": torch.logical_or, "Xor": torch.logical_xor, "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor,
}  # fmt: skip


def _plain(function: Any) -> Any:
    def run(node: OpNode, *inputs: Any) -> Any:
        if node.opset < 7 and node.attr("broadcast") and node.rank(1) < node.rank(0):
            return function(inputs[0], _old_broadcast(node, inputs[1]))
        return function(*inputs)

    return run


def _old_broadcast(node: OpNode, y: Any) -> Any:
    """Opset 6 and older: the second operand starts at the attribute `axis`."""
    start = int(node.attr("axis", node.rank(0) - node.rank(1)))
    return y.reshape(list(node.shape(1)) + [1] * (node.rank(0) - node.rank(1) - start))


OPS.update({name: _plain(function) for name, function in _PLAIN.items()})


@OPS.op("Identity", "Dropout")
def identity(node: OpNode, x: Any, *_: Any) -> Any:
    """The input; Dropout is inactive in an exported graph."""
    if node.op_type == "Dropout" and node.has(2) and bool(node.constant(2)):
        raise node.refuse("it was exported in training mode", "Export the model for inference.")
    if node.op_type == "Dropout" and node.outputs > 1:
        return x, torch.ones_like(x, dtype=torch.bool)
    return x


@OPS.op("Div")
def div(node: OpNode, a: Any, b: Any) -> Any:
    """True division of floats; integers are cut towards zero."""
    if node.is_float(0):
        return torch.div(a, _old_broadcast(node, b) if node.attr("broadcast") else b)
    return torch.div(a, b, rounding_mode="trunc")


@OPS.op("Pow")
def power(node: OpNode, a: Any, b: Any) -> Any:
    """A ** b in a's type; whole exponents as Python numbers, whose gradient is exact and cheap."""
    known = node.constants[1]
    if known is not None and known.numel() == 1 and node.rank(1) <= node.rank(0):
        exponent = known.item()
        return torch.pow(a, int(exponent) if float(exponent).is_integer() else exponent).to(node.dtypes[0])
    return torch.pow(a, b).to(node.dtypes[0])


@OPS.op("Mod")
def mod(node: OpNode, a: Any, b: Any) -> Any:
    """Remainder with the sign of the divisor, or of the dividend (`fmod`)."""
    return torch.fmod(a, b) if node.attr("fmod", 0) else torch.remainder(a, b)


@OPS.op("BitwiseNot")
def bitwise_not(node: OpNode, x: Any) -> Any:
    """Every bit turned; uint16 and uint32 are carried by wider signed integers."""
    kind = node.kinds[0] if node.kinds else None
    if kind is None:
        raise node.refuse("the type of its input is not known", "Run onnx.shape_inference on the model.")
    width = {ir.DataType.UINT16: 2**16 - 1, ir.DataType.UINT32: 2**32 - 1}.get(ir.DataType(kind))
    return torch.bitwise_not(x) if width is None else torch.bitwise_xor(x, width)


@OPS.op("BitShift")
def bit_shift(node: OpNode, a: Any, b: Any) -> Any:
    """Left or right shift."""
    left = node.attr("direction") == "LEFT"
    return torch.bitwise_left_shift(a, b) if left else torch.bitwise_right_shift(a, b)


@OPS.op("Max", "Min", "Sum", "Mean")
def variadic(node: OpNode, first: Any, *rest: Any) -> Any:
    """Elementwise over any number of inputs."""
    step = {"Max": torch.maximum, "Min": torch.minimum}.get(node.op_type, torch.add)
    total = first
    for other in rest:
        total = step(total, other)
    return torch.div(total, 1 + len(rest)) if node.op_type == "Mean" else total


@OPS.op("Where")
def where(node: OpNode, condition: Any, a: Any, b: Any) -> Any:
    """A where the condition holds, b elsewhere."""
    return torch.where(condition, a, b)


@OPS.op("IsInf")
def is_inf(node: OpNode, x: Any) -> Any:
    """Infinite, of the signs asked for."""
    if not node.attr("detect_positive", 1):
        return torch.isneginf(x) if node.attr("detect_negative", 1) else torch.zeros_like(x, dtype=torch.bool)
    return torch.isinf(x) if node.attr("detect_negative", 1) else torch.isposinf(x)


@OPS.op("Cast", "CastLike")
def cast(node: OpNode, x: Any, like: Any = None) -> Any:
    """To another type; small floats become float32."""
    target = node.dtypes[1] if node.op_type == "CastLike" else TORCH_OF.get(int(node.attr("to", 0)))
    if target is None:
        raise node.refuse(f"it casts to type {node.attr('to')}", "Cut the model before that node.")
    return x.to(target)


@OPS.op("Clip")
def clip(node: OpNode, x: Any, low: Any = None, high: Any = None) -> Any:
    """Limits as inputs (opset 11), known or not, or as attributes."""
    if any(node.constants[i] is None for i in (1, 2) if node.has(i)):
        x = torch.maximum(x, low) if node.has(1) else x
        return torch.minimum(x, high) if node.has(2) else x
    bounds: list[Any] = [
        node.constant(i).item() if node.has(i) else node.attr(given) for i, given in ((1, "min"), (2, "max"))
    ]
    if all(isinstance(bound, float) for bound in bounds) and bounds[0] <= bounds[1]:
        # As torch's own ReLU6: its gradient is one kernel, that of clamp four.
        return nnf.hardtanh(x, bounds[0], bounds[1])
    return x if bounds == [None, None] else torch.clamp(x, min=bounds[0], max=bounds[1])


@OPS.op("LeakyRelu")
def leaky_relu(node: OpNode, x: Any) -> Any:
    """x, or alpha x below zero."""
    return nnf.leaky_relu(x, node.attr("alpha", 0.01))


@OPS.op("PRelu")
def prelu(node: OpNode, x: Any, slope: Any) -> Any:
    """x, or slope x below zero, the slope broadcast from the right."""
    return torch.where(x >= 0, x, slope * x)


@OPS.op("Elu")
def elu(node: OpNode, x: Any) -> Any:
    """Alpha (exp x - 1) below zero."""
    return nnf.elu(x, node.attr("alpha", 1.0))


@OPS.op("Celu")
def celu(node: OpNode, x: Any) -> Any:
    """Continuously differentiable Elu."""
    return nnf.celu(x, node.attr("alpha", 1.0))


@OPS.op("Selu")
def selu(node: OpNode, x: Any) -> Any:
    """Gamma (alpha exp x - alpha) below zero, gamma x above."""
    alpha, gamma = node.attr("alpha", 1.67326319217681884765625), node.attr("gamma", 1.05070102214813232421875)
    return gamma * nnf.elu(x, alpha)


@OPS.op("ThresholdedRelu")
def thresholded_relu(node: OpNode, x: Any) -> Any:
    """X above alpha, else 0."""
    return nnf.threshold(x, node.attr("alpha", 1.0), 0.0)


@OPS.op("Shrink")
def shrink(node: OpNode, x: Any) -> Any:
    """Zero within +-lambd, moved by bias outside."""
    bias, lambd = node.attr("bias", 0.0), node.attr("lambd", 0.5)
    return (x - bias) * (x > lambd) + (x + bias) * (x < -lambd)


@OPS.op("Softplus")
def softplus(node: OpNode, x: Any) -> Any:
    """log(1 + exp x)."""
    return nnf.softplus(x)


@OPS.op("HardSigmoid")
def hard_sigmoid(node: OpNode, x: Any) -> Any:
    """Alpha x + beta, cut to 0..1."""
    return torch.clamp(x * node.attr("alpha", 0.2) + node.attr("beta", 0.5), 0.0, 1.0)


@OPS.op("Gelu", "com.microsoft::Gelu")
def gelu(node: OpNode, x: Any) -> Any:
    """X Phi(x), exact or by tanh."""
    return nnf.gelu(x, approximate=node.attr("approximate", "none"))


@OPS.op("Swish")
def swish(node: OpNode, x: Any) -> Any:
    """X sigmoid(alpha x)."""
    return x * torch.sigmoid(node.attr("alpha", 1.0) * x)


@OPS.op("com.microsoft::QuickGelu")
def quick_gelu(node: OpNode, x: Any) -> Any:
    """X sigmoid(alpha x), alpha 1.702."""
    return x * torch.sigmoid(node.attr("alpha", 1.702) * x)


@OPS.op("com.microsoft::FastGelu", "com.microsoft::BiasGelu")
def bias_gelu(node: OpNode, x: Any, bias: Any = None) -> Any:
    """Gelu of x + bias."""
    x = x if bias is None else x + bias
    return nnf.gelu(x, approximate="tanh" if node.op_type == "FastGelu" else "none")


@OPS.op("CumSum")
def cumsum(node: OpNode, x: Any, _axis: Any) -> Any:
    """Running sum along an axis, with or without the element itself, from either end."""
    return _running(node, x, torch.cumsum, torch.zeros_like)


@OPS.op("CumProd")
def cumprod(node: OpNode, x: Any, _axis: Any) -> Any:
    """Running product along an axis, with or without the element itself, from either end."""
    return _running(node, x, torch.cumprod, torch.ones_like)


def _running(node: OpNode, x: Any, step: Callable[..., Any], first: Callable[[Any], Any]) -> Any:
    """`step` along the axis; without the element itself a `first` one comes in front, and the last drops out."""
    axis, size = node.ints(1)[0] % node.rank(), node.shape()
    turned = torch.flip(x, [axis]) if node.attr("reverse", 0) else x
    if node.attr("exclusive", 0) and size[axis]:
        start = first(torch.narrow(turned, axis, 0, 1))
        turned = torch.cat([start, torch.narrow(turned, axis, 0, size[axis] - 1)], axis)
    total = step(turned, axis)
    return torch.flip(total, [axis]) if node.attr("reverse", 0) else total


@OPS.op("SwiGLU")
def swiglu(node: OpNode, a: Any, b: Any) -> Any:
    """A sigmoid(alpha a) b."""
    return a * torch.sigmoid(node.attr("alpha", 1.0) * a) * b


@OPS.op("Softmax", "LogSoftmax")
def softmax(node: OpNode, x: Any) -> Any:
    """Along one axis (opset 13), or over all axes from `axis` on (before)."""
    return _over_classes(node, x, call_softmax if node.op_type == "Softmax" else nnf.log_softmax)


@OPS.op("Hardmax")
def hardmax(node: OpNode, x: Any) -> Any:
    """One at the first largest element, over the same axes."""
    return _over_classes(node, x, _hardmax)


def _over_classes(node: OpNode, x: Any, function: Callable[..., Any]) -> Any:
    if node.opset >= 13:
        return call(function, x, node.axis(-1))
    axis, shape = node.axis(1), node.shape()
    if axis == len(shape) - 1:
        return call(function, x, axis)
    flat = x.reshape([math.prod(shape[:axis]), math.prod(shape[axis:])])
    return call(function, flat, 1).reshape(list(shape))


def _hardmax(x: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1.0)


def call_softmax(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Softmax along `axis`; a fully masked row gives NaN as in ONNX, but a zero gradient instead of NaN."""
    probabilities = nnf.softmax(x, axis)
    # A masked row is NaN throughout: one element of each tells, and to look at all costs as much as the softmax.
    if not bool(torch.isnan(probabilities.narrow(axis, 0, min(1, x.shape[axis]))).any()):
        return probabilities
    dead = torch.isneginf(x).all(axis, keepdim=True)
    probabilities = nnf.softmax(torch.where(dead, torch.zeros_like(x), x), axis)
    return torch.where(dead, torch.full_like(x, torch.nan), probabilities)
