"""Where a student is compared with its teacher inside: tensors that bear the same name in both.

First choice are block outputs (an Add of two activations, behind its activation function); where there are fewer than
two, evenly spaced layer outputs. A tensor of another width is compared with the teacher's kept channels where pruning
left a record of them in ``model.meta["onnxcompress.kept"]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress.distill.weights import stored

KEPT = "onnxcompress.kept"
_ACTIVATIONS = {
    "Relu", "Clip", "LeakyRelu", "PRelu", "HardSwish", "Gelu", "Elu", "Selu", "Tanh", "Sigmoid", "Mish", "Swish",
}  # fmt: skip
_LAYERS = {
    "Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "BatchNormalization", "LayerNormalization",
    "FusedConv", "InstanceNormalization", "GroupNormalization",
}  # fmt: skip
_MOST = 12


@dataclass(frozen=True)
class Tap:
    """One tensor compared.

    Attributes:
        name: Its name in both graphs.
        kept: By axis, the teacher's indices that the student still has.
    """

    name: str
    kept: Mapping[int, np.ndarray] = field(default_factory=dict)

    def teacher_view(self, array: np.ndarray) -> np.ndarray:
        """The teacher's tensor, cut to what the student has."""
        for axis, indices in self.kept.items():
            array = np.take(array, indices, axis)
        return array


def candidates(student: ir.Model) -> list[str]:
    """Names of tensors worth comparing, in order: block outputs, else the ends of layers."""
    blocks = list(dict.fromkeys(_block_outputs(student)))
    return blocks if len(blocks) >= 2 else list(dict.fromkeys(_layer_ends(student)))


def match(
    student: ir.Model, names: list[str], sizes: Mapping[str, tuple[int, ...]], teacher: Mapping[str, tuple[int, ...]]
) -> list[Tap]:
    """The candidates whose sizes agree, directly or by the record of kept channels; at most a dozen, the last kept."""
    taps = [
        tap
        for name in names
        if name in sizes and name in teacher
        for tap in _tap(student, name, sizes[name], teacher[name])
    ]
    if len(taps) <= _MOST:
        return taps
    chosen = np.unique(np.linspace(0, len(taps) - 1, _MOST).round().astype(int))
    return [taps[i] for i in chosen]


def _tap(student: ir.Model, name: str, mine: tuple[int, ...], teacher: tuple[int, ...]) -> Iterator[Tap]:
    if mine == teacher:
        yield Tap(name)
        return
    kept = {int(a): np.asarray(i, dtype=np.int64) for a, i in student.meta.get(KEPT, {}).get(name, {}).items()}
    cut = tuple(len(kept[a]) if a in kept else size for a, size in enumerate(teacher))
    if cut == mine and all(int(i.max(initial=0)) < teacher[a] for a, i in kept.items()):
        yield Tap(name, kept)


def _block_outputs(model: ir.Model) -> Iterator[str]:
    for node in model.graph:
        if node.op_type == "Add" and all(v is not None and stored(v) is None for v in node.inputs):
            if any(_is_bias(v) for v in node.inputs):
                continue
            yield _after_activation(node.outputs[0])


def _is_bias(value: ir.Value | None) -> bool:
    """True for what only moves or dequantizes a constant."""
    node = None if value is None else value.producer()
    return (
        node is not None
        and node.op_type in {"Identity", "DequantizeLinear", "QuantizeLinear"}
        and (stored(node.inputs[0]) is not None or _is_bias(node.inputs[0]))
    )


def _after_activation(value: ir.Value) -> str:
    uses = list(value.uses())
    if len(uses) == 1 and uses[0].node.op_type in _ACTIVATIONS:
        return uses[0].node.outputs[0].name or ""
    return value.name or ""


def _layer_ends(model: ir.Model) -> Iterator[str]:
    for node in model.graph:
        if node.op_type not in _LAYERS:
            continue
        readers = {use.node.op_type for use in node.outputs[0].uses()}
        if not readers & {"BatchNormalization", "Add"}:
            yield _after_activation(node.outputs[0])
        elif readers == {"Add"} and node.op_type == "MatMul":
            (use, *_) = node.outputs[0].uses()
            yield _after_activation(use.node.outputs[0])
