"""onnxruntime's QLinear ops that are not products: dequantize, compute, round to the output's grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.fake_quant import to_grid
from onnxcompress.distill.ops.pooling import average_pool
from onnxcompress.distill.ops.quantized_products import limits, scalar
from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()
_HINT = "Cut the model before that node, or distill the model before its quantization."


def _value(node: OpNode, place: int, *inputs: Any) -> Any:
    """(q - z) s of the three inputs from `place` on."""
    scalar(node, place + 1)
    scalar(node, place + 2)
    q, scale = inputs[place], inputs[place + 1].reshape([])
    q = q if node.is_float(place) else q.to(torch.float32)
    return (q - inputs[place + 2].to(torch.float32).reshape([])) * scale if node.has(place + 2) else q * scale


def _grid(node: OpNode, place: int, like: int, value: Any, *inputs: Any) -> Any:
    """`value` on the grid of scale and zero point at `place`."""
    scalar(node, place)
    scalar(node, place + 1)
    zero = inputs[place + 1].to(torch.float32).reshape([]) if node.has(place + 1) else node.lift(torch.zeros(()))
    return call(to_grid, value, inputs[place].reshape([]), zero, *limits(node, place + 1, like))


def _pairs(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def run(node: OpNode, *inputs: Any) -> Any:
        value = function(_value(node, 0, *inputs), _value(node, 3, *inputs))
        return _grid(node, 6, 0, value, *inputs)

    return run


def _single(function: Callable[[OpNode, Any], Any]) -> Callable[..., Any]:
    def run(node: OpNode, *inputs: Any) -> Any:
        if node.attr("channels_last", 0):
            raise node.refuse("its channels come last", _HINT)
        return _grid(node, 3, 0, function(node, _value(node, 0, *inputs)), *inputs)

    return run


def _leaky(node: OpNode, x: Any) -> Any:
    return nnf.leaky_relu(x, float(node.attr("alpha", 0.01)))


def _sigmoid(node: OpNode, x: Any) -> Any:
    return torch.sigmoid(x)


def _softmax(node: OpNode, x: Any) -> Any:
    axis = node.axis(-1)
    if int(node.attr("opset", 13)) < 13:
        x = torch.flatten(x, axis)
        return torch.softmax(x, axis).reshape(list(node.shape()))
    return torch.softmax(x, axis)


def _global_mean(node: OpNode, x: Any) -> Any:
    return torch.mean(x, list(range(2, node.rank())), True)


def _mean(node: OpNode, x: Any) -> Any:
    return average_pool(replace(node, dtypes=(torch.float32,)), x)


OPS.update(
    {
        "com.microsoft::QLinearAdd": _pairs(torch.add),
        "com.microsoft::QLinearMul": _pairs(torch.mul),
        "com.microsoft::QLinearLeakyRelu": _single(_leaky),
        "com.microsoft::QLinearSigmoid": _single(_sigmoid),
        "com.microsoft::QLinearSoftmax": _single(_softmax),
        "com.microsoft::QLinearGlobalAveragePool": _single(_global_mean),
        "com.microsoft::QLinearAveragePool": _single(_mean),
    }
)


@OPS.op("com.microsoft::QLinearConcat")
def qlinear_concat(node: OpNode, *inputs: Any) -> Any:
    """Tensors of different grids joined on one: scale and zero point first, then each tensor with its own."""
    parts = [_value(node, place, *inputs) for place in range(2, len(node.shapes), 3)]
    return _grid(node, 0, 2, torch.cat(parts, int(node.attr("axis", 0)) % node.rank(2)), *inputs)


@OPS.op("com.microsoft::QLinearWhere")
def qlinear_where(node: OpNode, condition: Any, *inputs: Any) -> Any:
    """One of two tensors by a condition."""
    given = (condition, *inputs)
    value = torch.where(condition, _value(node, 1, *given), _value(node, 4, *given))
    return _grid(node, 7, 1, value, *given)
