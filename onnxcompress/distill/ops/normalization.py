"""Normalizations."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.ops.table import OpNode, OpTable

OPS = OpTable()


@OPS.op("BatchNormalization")
def batch_norm(node: OpNode, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    """Per channel; running statistics, or the batch's, which the running ones then follow."""
    # Before opset 14 naming the statistics asks for training, whether or not anything reads them.
    named = node.outputs > 1 or (node.opset < 14 and node.parts > 1)
    if named or node.attr("training_mode", 0):
        raise node.refuse("it was exported in training mode", "Export the model for inference.")
    momentum, shape = 1.0 - float(node.attr("momentum", 0.9)), node.shape()
    follow = node.training and shape[0] * math.prod(shape[2:]) > 1  # one value has no spread
    return nnf.batch_norm(x, mean, var, scale, bias, follow, momentum, float(node.attr("epsilon", 1e-5)))


@OPS.op("LayerNormalization")
def layer_norm(node: OpNode, x: Any, scale: Any, bias: Any = None) -> Any:
    """Over all axes from `axis` on."""
    shape, axis = node.shape(), node.axis(-1)
    if node.outputs > 1:
        return _layer_norm_in_steps(node, x, scale, bias)
    normal, eps = list(shape[axis:]), float(node.attr("epsilon", 1e-5))
    if list(node.shape(1)) == normal and (not node.has(2) or list(node.shape(2)) == normal):
        return nnf.layer_norm(x, normal, scale, bias, eps)
    y = nnf.layer_norm(x, normal, None, None, eps) * scale
    return y if not node.has(2) else y + bias


def _layer_norm_in_steps(node: OpNode, x: Any, scale: Any, bias: Any) -> Any:
    """With its optional outputs, mean and 1/std."""
    axes, eps = list(range(node.axis(-1), node.rank())), float(node.attr("epsilon", 1e-5))
    mean = torch.mean(x, axes, True)
    inverse = torch.rsqrt(torch.mean(torch.square(x - mean), axes, True) + eps)
    y = (x - mean) * inverse * scale
    return y if bias is None else y + bias, mean, inverse


@OPS.op("InstanceNormalization")
def instance_norm(node: OpNode, x: Any, scale: Any, bias: Any) -> Any:
    """Per sample and channel, one place alone too."""
    return torch.instance_norm(x, scale, bias, None, None, True, 0.0, float(node.attr("epsilon", 1e-5)), False)


@OPS.op("GroupNormalization")
def group_norm(node: OpNode, x: Any, scale: Any, bias: Any) -> Any:
    """Per sample and group of channels; scale and bias per channel (opset 21) or per group."""
    groups, eps, channels = int(node.attr("num_groups")), float(node.attr("epsilon", 1e-5)), node.shape()[1]
    if node.shape(1)[0] != channels:
        scale = torch.repeat_interleave(scale, channels // groups)
        bias = torch.repeat_interleave(bias, channels // groups)
    return nnf.group_norm(x, groups, scale, bias, eps)


@OPS.op("RMSNormalization", "SimplifiedLayerNormalization")
def rms_norm(node: OpNode, x: Any, scale: Any) -> Any:
    """X / sqrt(mean x^2 + eps), scaled."""
    axes = list(range(node.axis(-1), node.rank()))
    return _rms(x, axes, float(node.attr("epsilon", 1e-5))) * scale


def _rms(x: Any, axes: list[int], eps: float) -> Any:
    return x * torch.rsqrt(torch.mean(x * x, axes, True) + eps)


@OPS.op("com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization")
def skip_layer_norm(node: OpNode, x: Any, skip: Any, gamma: Any, beta: Any = None, bias: Any = None) -> Any:
    """Normalization of x + skip (+ bias); the sum is output 3 (of four)."""
    simplified = node.op_type == "SkipSimplifiedLayerNormalization"
    extra, offset = (beta, None) if simplified else (bias, beta)
    total = x + skip if extra is None else x + skip + extra
    eps = float(node.attr("epsilon", 1e-12))
    if simplified:
        y = _rms(total, [node.rank() - 1], eps) * gamma
    else:
        y = nnf.layer_norm(total, [node.shape()[-1]], gamma, offset, eps)
    return (y, None, None, total) if node.outputs > 1 else y


@OPS.op("LpNormalization")
def lp_normalization(node: OpNode, x: Any) -> Any:
    """X / ||x||_p along an axis."""
    norm = torch.linalg.vector_norm(x, float(node.attr("p", 2)), node.axis(-1), True)
    return x / torch.where(torch.eq(norm, 0), torch.ones_like(norm), norm)


@OPS.op("MeanVarianceNormalization")
def mean_variance(node: OpNode, x: Any) -> Any:
    """(x - mean) / std over `axes`, with ONNX's 1e-9 added to std."""
    axes = [int(v) for v in node.attr("axes", [0, 2, 3])]
    centred = x - torch.mean(x, axes, True)
    return centred / (torch.sqrt(torch.mean(centred * centred, axes, True)) + 1e-9)


@OPS.op("LRN")
def lrn(node: OpNode, x: Any) -> Any:
    """Local response normalization across channels."""
    size, alpha = int(node.attr("size")), float(node.attr("alpha", 1e-4))
    shape = node.shape()
    rows = (x * x).reshape([shape[0], 1, shape[1], math.prod(shape[2:])])
    padded = nnf.pad(rows, [0, 0, (size - 1) // 2, size - 1 - (size - 1) // 2])
    squares = nnf.avg_pool2d(padded, (size, 1), 1).reshape(list(shape)) * size
    return x / torch.pow(squares * (alpha / size) + float(node.attr("bias", 1.0)), float(node.attr("beta", 0.75)))
