"""The regularizer of the last layer: it keeps the length of each class's weight vector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
import torch

from onnxcompress import graph
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.ops.dtypes import to_torch
from onnxcompress.distill.origins import stored

_PASS = {
    "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Add", "QuantizeLinear", "DequantizeLinear",
    "Softmax", "LogSoftmax", "Sigmoid", "Resize", "GlobalAveragePool", "Cast",
}  # fmt: skip
_FAR = 12


@dataclass(frozen=True)
class Head:
    """The layer behind one output.

    Attributes:
        index: Place of its weight among the bridge's parameters.
        axis: The axis that counts its outputs.
        wanted: Length of each of the teacher's weight vectors; where it has other ones, the student's own sum of
            squares.
    """

    index: int
    axis: int
    wanted: torch.Tensor


@dataclass(frozen=True)
class HeadNorm(Term):
    """sum_c (|w_s,c| - |w_t,c|)^2 / sum_c |w_t,c|^2, mean over the heads.

    Soft targets at a high temperature leave the scale of the logits free, so the head may inflate. Where the teacher's
    head has another number of outputs: |W|^2 / |W_start|^2.

    Attributes:
        bridge: The student.
        heads: The last layers.
    """

    name: ClassVar[str] = "head-norm"
    relative: ClassVar[bool] = False
    bridge: Bridge
    heads: tuple[Head, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """None: it reads weights."""
        return ()

    def value(self, sample: Sample) -> torch.Tensor:
        """The mean over the heads."""
        return torch.stack([_one(self.bridge.parameters[h.index], h) for h in self.heads]).mean()


def _one(weight: torch.Tensor, head: Head) -> torch.Tensor:
    if head.wanted.ndim == 0:
        return weight.square().sum() / head.wanted
    lengths, wanted = _lengths(weight, head.axis), head.wanted.to(weight.device)
    return (lengths - wanted).square().sum() / wanted.square().sum()


def _lengths(weight: torch.Tensor, axis: int) -> torch.Tensor:
    # The gradient of a root at zero is infinite; a pruned row stays where it is.
    return weight.movedim(axis, 0).flatten(1).square().sum(1).add(1e-12).sqrt()


def find_heads(bridge: Bridge, teacher: ir.Model, names: Sequence[str]) -> tuple[Head, ...]:
    """The last layers behind the named outputs, with the teacher's lengths."""
    index = {weight.value: i for i, weight in enumerate(bridge.weights)}
    found: list[Head] = []
    for name in names:
        mine, theirs = (next(_layers(model, name), None) for model in (bridge.model, teacher))
        if mine is None or mine[0] not in index:
            continue
        at, axis = index[mine[0]], mine[1]
        weight = bridge.parameters[at].detach()
        wanted = weight.square().sum().clamp(min=1e-12)
        if theirs is not None and (tensor := stored(theirs[0])) is not None:
            lengths = _lengths(to_torch(tensor.numpy()).float(), theirs[1])
            wanted = lengths if len(lengths) == weight.shape[axis] else wanted
        found.append(Head(at, axis, wanted))
    return tuple(found)


def _layers(model: ir.Model, name: str) -> Iterator[tuple[ir.Value, int]]:
    """(weight, axis of its outputs) of the layer that makes the tensor, where its weight is a float constant."""
    value = next((v for node in model.graph for v in node.outputs if v.name == name), None)
    node = None if value is None else value.producer()
    for _ in range(_FAR):
        if node is None:
            return
        if node.op_type in {"Gemm", "MatMul", "Conv"}:
            weight = _constant(node.inputs[1])
            transposed = node.op_type == "Conv" or (node.op_type == "Gemm" and graph.attribute(node, "transB", 0))
            if weight is not None:
                yield weight, 0 if transposed else -1
            return
        inner = next((v for v in node.inputs if v is not None and stored(v) is None), None)
        node = inner.producer() if inner is not None and node.op_type in _PASS else None


def _constant(value: ir.Value | None) -> ir.Value | None:
    """The constant, also behind the pair that quantizes it."""
    while value is not None and stored(value) is None:
        node = value.producer()
        value = None if node is None or node.op_type not in {"DequantizeLinear", "QuantizeLinear"} else node.inputs[0]
    return value
