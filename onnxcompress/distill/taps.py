"""Where a student is compared with its teacher inside: tensors that bear the same name in both.

First choice are block outputs (an Add of two activations, behind its activation function); where there are fewer than
two, evenly spaced layer outputs. A tensor of another width is compared with the teacher's kept channels where pruning
left a record of them in ``model.meta["onnxcompress.kept"]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress.distill.origins import stored
from onnxcompress.errors import ModelError

Sizes = Mapping[str, tuple[int, ...]]

KEPT = "onnxcompress.kept"
_ACTIVATIONS = {
    "Relu", "Clip", "LeakyRelu", "PRelu", "HardSwish", "Gelu", "Elu", "Selu", "Tanh", "Sigmoid", "Mish", "Swish",
}  # fmt: skip
_LAYERS = {
    "Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "BatchNormalization", "LayerNormalization",
    "FusedConv", "InstanceNormalization", "GroupNormalization",
}  # fmt: skip
_PICTURE_NORMS = {"BatchNormalization", "InstanceNormalization", "GroupNormalization"}
_MOST = 12
# Nodes that the search for the layer behind a tensor passes at most.
_FAR = 8


@dataclass(frozen=True)
class Tap:
    """One tensor compared.

    Attributes:
        name: Its name in both graphs.
        kept: By axis, the teacher's indices that the student still has.
        channel: The channel axis.
        rank: Number of axes.
        projected: The student's channels are compared through a learned projection.
    """

    name: str
    kept: Mapping[int, np.ndarray] = field(default_factory=dict)
    channel: int = 1
    rank: int = 4
    projected: bool = False

    def teacher_view(self, array: np.ndarray) -> np.ndarray:
        """The teacher's tensor, cut to what the student has."""
        for axis, indices in self.kept.items():
            array = np.take(array, indices, axis)
        return array


def candidates(student: ir.Model) -> list[str]:
    """Names of tensors worth comparing, in order: block outputs, else the ends of layers."""
    blocks = list(dict.fromkeys(_block_outputs(student)))
    return blocks if len(blocks) >= 2 else list(dict.fromkeys(_layer_ends(student)))


def match(student: ir.Model, names: list[str], sizes: Sizes, teacher: Sizes) -> list[Tap]:
    """The candidates whose sizes agree, directly or by the record of kept channels; at most a dozen, the last kept."""
    taps = [
        tap
        for name in names
        if name in sizes and name in teacher
        for tap in _tap(student, name, sizes[name], teacher[name])
    ]
    return spread(taps)


def given(
    student: ir.Model,
    hints: Mapping[str, str],
    sizes: Mapping[str, tuple[int, ...]],
    teacher: Mapping[str, tuple[int, ...]],
) -> list[Tap]:
    """The tensors that the user paired: of one name and size as they are, all others through a projection.

    Raises:
        ModelError: Where no projection of channels makes them comparable.
    """
    taps: list[Tap] = []
    for name, other in hints.items():
        found = list(_tap(student, name, sizes.get(name, ()), teacher[name])) if name == other else []
        found = found or projected(student, [name], sizes, teacher)
        if not found:
            why = f"the student gives {list(sizes.get(name, ()))}, the teacher {list(teacher[name])}"
            hint = "Pair tensors of equal rank whose sizes agree but for channels, height and width."
            raise ModelError(
                "cannot compare", where=f"option --hint, {name!r}", why=why, hint=hint, code="MODEL-TENSOR"
            )
        taps += found
    return taps


def projected(
    student: ir.Model,
    names: Iterable[str],
    sizes: Mapping[str, tuple[int, ...]],
    teacher: Mapping[str, tuple[int, ...]],
) -> list[Tap]:
    """Those of `names` that a projection of channels (and pooling of a larger picture) makes comparable."""
    values = {v.name: v for node in student.graph for v in node.outputs}
    found: list[Tap] = []
    for name in (n for n in names if n in sizes and n in teacher and n in values):
        mine, theirs = sizes[name], teacher[name]
        axis = channel_axis(values[name], len(mine))
        # Behind the channels of a picture come its sizes, which pooling brings together.
        fixed = range(axis) if axis == 1 and len(mine) > 2 else (i for i in range(len(mine)) if i != axis)
        if len(mine) == len(theirs) >= 2 and all(mine[i] == theirs[i] for i in fixed):
            found.append(Tap(name, channel=axis, rank=len(mine), projected=True))
    return found


def channel_axis(value: ir.Value, rank: int) -> int:
    """The axis of a tensor's channels, by the layer that made it."""
    node, seen = value.producer(), 0
    while node is not None and seen < _FAR:
        if node.op_type in _LAYERS:
            return 1 if "Conv" in node.op_type or node.op_type in _PICTURE_NORMS else rank - 1
        first = next((v for v in node.inputs if v is not None and stored(v) is None), None)
        node, seen = None if first is None or node.op_type == "Transpose" else first.producer(), seen + 1
    return 1 if rank == 4 else rank - 1


def same_plan(student: ir.Model, teacher: ir.Model) -> bool:
    """True where the student has no candidate that the teacher lacks: the one was made from the other."""
    return set(candidates(student)) <= set(candidates(teacher))


def spread(taps: list[Tap]) -> list[Tap]:
    """At most a dozen, evenly spread, the last kept."""
    if len(taps) <= _MOST:
        return taps
    chosen = np.unique(np.linspace(0, len(taps) - 1, _MOST).round().astype(int))
    return [taps[i] for i in chosen]


def _tap(student: ir.Model, name: str, mine: tuple[int, ...], teacher: tuple[int, ...]) -> Iterator[Tap]:
    channel = channel_axis(next(v for node in student.graph for v in node.outputs if v.name == name), len(mine))
    if mine == teacher:
        yield Tap(name, channel=channel, rank=len(mine))
        return
    kept = {int(a): np.asarray(i, dtype=np.int64) for a, i in student.meta.get(KEPT, {}).get(name, {}).items()}
    cut = tuple(len(kept[a]) if a in kept else size for a, size in enumerate(teacher))
    if cut == mine and all(int(i.max(initial=0)) < teacher[a] for a, i in kept.items()):
        yield Tap(name, kept, channel, len(mine))


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
