"""What a model answers: classes (as logits or probabilities) or values, and where a gradient can reach it.

An output that is not a float (the ArgMax of a classifier) is compared at the float tensors behind it. A Softmax at the
end is compared before it: the classes are the same, and the gradient does not vanish where the student is sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill.origins import stored

_PASS = {
    "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "QuantizeLinear", "DequantizeLinear", "Resize",
    "Cast",
}  # fmt: skip
_LINEAR = {"Gemm", "MatMul", "Conv", "ConvTranspose", "GlobalAveragePool"}
_ROW, _PICTURE = 2, 4
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

    @property
    def teacher_kind(self) -> str:
        """The teacher's kind."""
        return self.theirs or self.kind


def answer_tensors(model: ir.Model) -> list[str]:
    """Names of the float tensors that stand for the model's outputs."""
    names: list[str] = []
    for output in model.graph.outputs:
        names += [value.name or "" for value in float_sources(output)]
    return list(dict.fromkeys(names))


def classify(
    model: ir.Model, samples: Mapping[str, np.ndarray], feeds: Mapping[str, np.ndarray] | None = None
) -> list[Answer]:
    """The answers among `samples`, each with its kind.

    Args:
        model: The model that made them.
        samples: Its tensors for some samples.
        feeds: The samples; without them no picture of classes is told from other pictures.
    """
    values = {v.name: v for node in model.graph for v in node.outputs}
    pictures = [a.shape for a in (feeds or {}).values() if a.ndim == _PICTURE]
    words = _tables(model)
    return [_answer(name, _source(values.get(name)), array, pictures, words) for name, array in samples.items()]


def _source(value: ir.Value | None) -> ir.Value | None:
    """`value`, or what it is a copy of."""
    while value is not None and (node := value.producer()) is not None and node.op_type == "Identity":
        value = node.inputs[0]
    return value


def _answer(
    name: str, value: ir.Value | None, array: np.ndarray, pictures: Sequence[tuple[int, ...]], words: set[int]
) -> Answer:
    for axis in dict.fromkeys((array.ndim - 1, 1)):
        if 1 <= axis < array.ndim and _is_simplex(array, axis):
            return Answer(name, "probabilities", axis)
    axis = _read_axis(value, array.ndim)
    if axis is None and _linear_end(value):
        axis = _linear_axis(array, pictures, words)
    if axis is not None and 1 <= axis < array.ndim and array.shape[axis] > 1:
        return Answer(name, "logits", axis)
    return Answer(name, "values")


def _read_axis(value: ir.Value | None, rank: int) -> int | None:
    """The axis along which a Softmax or an ArgMax reads the tensor, or a LogSoftmax made it."""
    if value is None:
        return None
    node = value.producer()
    readers = [use.node for use in value.uses() if use.node.op_type in {"Softmax", "ArgMax"}]
    if not readers and node is not None and node.op_type == "LogSoftmax":
        readers = [node]
    for reader in readers:
        # Before opset 13 a Softmax has several axes, of which the last are the classes where there are two.
        usual = 0 if reader.op_type == "ArgMax" else -1
        return int(graph.attribute(reader, "axis", usual)) % rank
    return None


def _linear_axis(array: np.ndarray, pictures: Sequence[tuple[int, ...]], words: set[int]) -> int | None:
    """The class axis of a linear layer's output, by its form.

    One vector a sample is a row of classes. A map as large as an input picture, of other channels than it, holds
    classes for every pixel; tokens do where the last axis counts the words of an embedding.
    """
    if array.ndim == _ROW:
        return 1
    if array.ndim == _PICTURE:
        same = any(p[2:] == array.shape[2:] and p[1] != array.shape[1] for p in pictures)
        return 1 if same else None
    return array.ndim - 1 if array.shape[-1] in words else None


def _tables(model: ir.Model) -> set[int]:
    """Numbers of rows of the tables that tokens are looked up in."""
    tables = (stored(n.inputs[0]) for n in model.graph if n.op_type == "Gather" and n.inputs[0] is not None)
    return {t.shape.numpy()[0] for t in tables if t is not None and len(t.shape) == _ROW}


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
