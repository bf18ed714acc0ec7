"""What a model answers: classes (as logits or probabilities) or values, and where a gradient can reach it.

An output that is not a float (the ArgMax of a classifier) is compared at the float tensors behind it. A Softmax at the
end is compared before it: the classes are the same, and the gradient does not vanish where the student is sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill.weights import stored

_PASS = {"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "QuantizeLinear", "DequantizeLinear"}
_LINEAR = {"Gemm", "MatMul", "Conv", "GlobalAveragePool"}
_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}


@dataclass(frozen=True)
class Answer:
    """One tensor in which student and teacher are compared.

    Attributes:
        name: Its name in both graphs.
        kind: ``logits``, ``probabilities`` or ``values``.
        axis: The class axis; of values the one whose sizes differ.
        theirs: The teacher's kind, where it is another.
        foreign: Student and teacher have different sets of classes (or of values) along `axis`.
    """

    name: str
    kind: str
    axis: int = -1
    theirs: str = ""
    foreign: bool = False

    @property
    def classes(self) -> bool:
        """True where an argmax along `axis` means something."""
        return self.kind != "values"


def answer_tensors(model: ir.Model) -> list[str]:
    """Names of the float tensors that stand for the model's outputs."""
    names: list[str] = []
    for output in model.graph.outputs:
        names += [value.name or "" for value in float_sources(output)]
    return list(dict.fromkeys(names))


def classify(model: ir.Model, samples: Mapping[str, np.ndarray]) -> list[Answer]:
    """The answers among `samples` (the teacher's tensors for some samples), each with its kind."""
    values = {v.name: v for node in model.graph for v in node.outputs}
    return [_answer(name, values.get(name), array) for name, array in samples.items()]


def _answer(name: str, value: ir.Value | None, array: np.ndarray) -> Answer:
    node = None if value is None else value.producer()
    while node is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    softmax = node is not None and any(use.node.op_type == "Softmax" for use in value.uses()) if value else False
    for axis in dict.fromkeys((array.ndim - 1, 1)):
        if 1 <= axis < array.ndim and _is_simplex(array, axis):
            return Answer(name, "probabilities", axis)
    if array.ndim >= 2 and array.shape[-1] > 1 and (softmax or (array.ndim == 2 and _linear_end(value))):
        return Answer(name, "logits", _softmax_axis(value, array.ndim))
    return Answer(name, "values")


def _softmax_axis(value: ir.Value | None, rank: int) -> int:
    for use in value.uses() if value is not None else ():
        if use.node.op_type == "Softmax" and use.node.version is not None:
            return int(graph.attribute(use.node, "axis", -1)) % rank
    return rank - 1


def _is_simplex(array: np.ndarray, axis: int) -> bool:
    numbers = array.astype(np.float64)
    inside = bool(((numbers >= -1e-6) & (numbers <= 1 + 1e-6)).all())
    return inside and array.shape[axis] > 1 and bool(np.allclose(numbers.sum(axis), 1.0, atol=1e-3))


def float_sources(value: ir.Value) -> Iterator[ir.Value]:
    """`value`, or the nearest float tensors that it is made of."""
    node = value.producer()
    if node is None or stored(value) is not None:
        return
    if value.dtype in _FLOATS or (value.dtype is None and _makes_floats(node)):
        before = node.inputs[0] if node.op_type == "Softmax" else None
        # Before opset 13 a Softmax over several axes at once has no single class axis.
        yield before if before is not None and before.producer() is not None else value
        return
    for given in node.inputs:
        if given is not None:
            yield from float_sources(given)


def _makes_floats(node: ir.Node) -> bool:
    return node.op_type not in {
        "ArgMax", "ArgMin", "Shape", "Size", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual",
        "And", "Or", "Not", "Xor", "NonZero", "NonMaxSuppression", "Cast", "Where",
    }  # fmt: skip


def _linear_end(value: ir.Value | None) -> bool:
    node = None if value is None else value.producer()
    if node is None:
        return False
    if node.op_type in _LINEAR:
        return True
    if node.op_type in _PASS:
        return _linear_end(node.inputs[0])
    if node.op_type == "Add":
        return any(stored(a) is not None for a in node.inputs) and any(_linear_end(a) for a in node.inputs)
    return False
