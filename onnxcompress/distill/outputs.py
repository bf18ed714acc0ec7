"""What a model answers: classes (as logits or probabilities) or values, and where a gradient can reach it.

An output that is not a float (the ArgMax of a classifier) is compared at the float tensors behind it. A Softmax at the
end is compared before it: the classes are the same, and the gradient does not vanish where the student is sure.

A linear layer that gives one vector a sample may end a classifier, a regression or an embedding. It is a classifier
where the data has labels for it or its name says so; else where the numbers, taken for logits, decide: a trained
classifier is sure of most samples, and not always of the same class.
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
_AXIS_FROM_BEHIND = 13
_WORD = "logit"
# A softmax whose entropy is a larger share of log C says nothing. Nine trained classifiers: 0.03 to 0.41 on samples
# prepared as they were trained; wrongly scaled ones reach 0.88 to 0.98, or fall into one class.
UNDECIDED = 0.8
# Fewer samples may all be of one class by chance.
FOR_CLASSES = 32
KINDS = ("classes", "values")
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
        guessed: Its form is that of classes, and its numbers are not.
    """

    name: str
    kind: str
    axis: int = -1
    theirs: str = ""
    foreign: bool = False
    guessed: bool = False

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
    model: ir.Model,
    samples: Mapping[str, np.ndarray],
    feeds: Mapping[str, np.ndarray] | None = None,
    *,
    kinds: Mapping[str, str] | None = None,
    labels: bool = False,
) -> list[Answer]:
    """The answers among `samples`, each with its kind.

    Args:
        model: The model that made them.
        samples: Its tensors for some samples.
        feeds: The samples; without them no picture of classes is told from other pictures.
        kinds: ``classes`` or ``values`` of those that the user knows about, by name.
        labels: There are class ids, so that one vector a sample is a row of classes.
    """
    values = {v.name: v for node in model.graph for v in node.outputs}
    pictures = [a.shape for a in (feeds or {}).values() if a.ndim == _PICTURE]
    rules = _Rules(pictures, _tables(model), model.graph.opset_imports.get("", _AXIS_FROM_BEHIND), labels)
    known = kinds or {}
    return [rules.answer(name, _source(values.get(name)), a, known.get(name, "")) for name, a in samples.items()]


def _source(value: ir.Value | None) -> ir.Value | None:
    """`value`, or what it is a copy of."""
    while value is not None and (node := value.producer()) is not None and node.op_type == "Identity":
        value = node.inputs[0]
    return value


@dataclass(frozen=True)
class _Rules:
    """What one tensor is, by who reads it, by its form and by its numbers."""

    pictures: Sequence[tuple[int, ...]]
    words: set[int]
    opset: int
    labels: bool

    def answer(self, name: str, value: ir.Value | None, array: np.ndarray, kind: str) -> Answer:
        """The answer; `kind` is what the user says, or empty."""
        if kind == "values":
            return Answer(name, "values")
        for axis in dict.fromkeys((array.ndim - 1, 1)):
            if 1 <= axis < array.ndim and _is_simplex(array, axis):
                return Answer(name, "probabilities", axis)
        read = _read_axis(value, array.ndim, self.opset)
        axis = read
        if axis is None and (kind or _linear_end(value)):
            axis = _linear_axis(array, self.pictures, self.words)
        if axis is None and kind:
            axis = 1 if array.ndim == _PICTURE else array.ndim - 1
        if axis is None or not 1 <= axis < array.ndim or array.shape[axis] < 2:
            return Answer(name, "values")
        sure = kind or self.labels or read is not None or _WORD in name.lower() or array.ndim != _ROW
        return Answer(name, "logits", axis) if sure or _decides(array) else Answer(name, "values", guessed=True)


def _decides(rows: np.ndarray) -> bool:
    """True where rows, taken for logits, are sure of most, and not always of one class; few tell nothing."""
    if len(rows) < FOR_CLASSES or not np.isfinite(rows).all():
        return True
    return float(entropy_shares(rows, 1, "logits").mean()) <= UNDECIDED and bool(np.ptp(rows.argmax(1)))


def entropy_shares(array: np.ndarray, axis: int, kind: str) -> np.ndarray:
    """-sum p log p / log C of each sample, positions averaged."""
    p = np.moveaxis(array.astype(np.float64), axis, -1)
    if kind == "logits":
        p = np.exp(p - p.max(-1, keepdims=True))
    p = p / np.maximum(p.sum(-1, keepdims=True), 1e-30)
    entropy = -(p * np.log(np.maximum(p, 1e-30))).sum(-1) / np.log(p.shape[-1])
    return entropy.reshape(len(entropy), -1).mean(1)


def _read_axis(value: ir.Value | None, rank: int, opset: int) -> int | None:
    """The axis along which a Softmax or an ArgMax reads the tensor, or a LogSoftmax made it."""
    if value is None:
        return None
    node = value.producer()
    readers = [use.node for use in value.uses() if use.node.op_type in {"Softmax", "ArgMax"}]
    if not readers and node is not None and node.op_type == "LogSoftmax":
        readers = [node]
    for reader in readers:
        # Before opset 13 a Softmax has several axes, of which the last are the classes where there are two.
        usual = 0 if reader.op_type == "ArgMax" else -1 if opset >= _AXIS_FROM_BEHIND or rank == _ROW else 1
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
