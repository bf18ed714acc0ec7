"""If, Loop and Scan with known conditions and counts: what runs takes the node's place, turn after turn.

A subgraph is walked once for each turn with the values of that turn: what depends on the turn alone (an index, a
condition) is computed, and a flat graph is left. Weights and values of the outer scopes are one and the same in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import onnx_ir as ir
import torch

from onnxcompress import graph
from onnxcompress.distill.ops.dtypes import TORCH_OF
from onnxcompress.distill.tape import Slot, Tape
from onnxcompress.errors import ModelError

MOST_UNROLLED = 20_000
"""Nodes that all turns of all loops together may have: recording takes about a second for 10,000."""

_OUT = "Use --until with a tensor before that node, or export the model with a fixed count or without control flow."


class Walker(Protocol):
    """What control flow needs of the walk."""

    tape: Tape
    unrolled: int

    def look(self, value: ir.Value) -> Slot:
        """The slot of a value."""
        ...

    def bind(self, value: ir.Value, slot: Slot) -> None:
        """Give a value its slot."""
        ...

    def walk(self, scope: ir.Graph) -> None:
        """Compute or record every node of a subgraph."""
        ...

    def opset(self, node: ir.Node) -> int:
        """Version of a node's operator set."""
        ...


def inline_if(node: ir.Node, walker: Walker) -> None:
    """Walk the branch that the condition chooses.

    Raises:
        ModelError: Where the samples choose.
    """
    chosen = _known(node, _given(node, 0, walker), "which branch runs depends on the samples")
    branch = node.attributes["then_branch" if chosen else "else_branch"].as_graph()
    walker.walk(branch)
    for outer, inner in zip(node.outputs, branch.outputs, strict=True):
        walker.bind(outer, replace(walker.look(inner)))


def unroll_loop(node: ir.Node, walker: Walker) -> None:
    """Walk the body as often as the count and the condition say.

    Raises:
        ModelError: Where the samples say, or where it would be too long.
    """
    body = node.attributes["body"].as_graph()
    count, going = _given(node, 0, walker), _given(node, 1, walker)
    turns = None if count is None else _known(node, count, "its trip count depends on the samples")
    more = going is None or bool(_known(node, going, "its first condition depends on the samples"))
    carried = [walker.look(value) for value in node.inputs[2:] if value is not None]
    rows: list[list[Slot]] = [[] for _ in body.outputs[1 + len(carried) :]]
    turn = 0
    while more and (turns is None or turn < turns):
        first = [walker.tape.known(torch.tensor(turn)), walker.tape.known(torch.tensor(True))]
        condition, *made = _turn(node, body, walker, [*first, *carried])
        carried = made[: len(carried)]
        for row, slot in zip(rows, made[len(carried) :], strict=True):
            row.append(slot)
        more, turn = bool(_known(node, condition, f"its condition after turn {turn} depends on the samples")), turn + 1
    stacks = [_stack(node, walker, row, 0, v) for row, v in zip(rows, body.outputs[1 + len(carried) :], strict=True)]
    _bind_outputs(node, walker, [*carried, *stacks])


def unroll_scan(node: ir.Node, walker: Walker) -> None:
    """Walk the body for each slice of the scanned inputs.

    Raises:
        ModelError: Where its form is older than operator set 9, or where it would be too long.
    """
    if walker.opset(node) < 9:
        raise _refuse(node, "its form with a batch axis of its own (operator set 8) has no torch form")
    body, count = node.attributes["body"].as_graph(), int(graph.attribute(node, "num_scan_inputs", 0))
    given = [walker.look(value) for value in node.inputs if value is not None]
    carried, scanned = given[: len(given) - count], given[len(given) - count :]
    axes, backward = _ints(node, "scan_input_axes", count), _ints(node, "scan_input_directions", count)
    outputs = body.outputs[len(carried) :]
    rows: list[list[Slot]] = [[] for _ in outputs]
    turns = scanned[0].shape[axes[0]]
    for turn in range(turns):
        places = (turns - 1 - turn if back else turn for back in backward)
        slices = [_slice(walker, *part) for part in zip(scanned, axes, places, strict=True)]
        made = _turn(node, body, walker, [*carried, *slices])
        carried = made[: len(carried)]
        for row, slot in zip(rows, made[len(carried) :], strict=True):
            row.append(slot)
    axes, backward = _ints(node, "scan_output_axes", len(rows)), _ints(node, "scan_output_directions", len(rows))
    ordered = [row[::-1] if back else row for row, back in zip(rows, backward, strict=True)]
    stacks = [_stack(node, walker, *part) for part in zip(ordered, axes, outputs, strict=True)]
    _bind_outputs(node, walker, [*carried, *stacks])


def _turn(node: ir.Node, body: ir.Graph, walker: Walker, inputs: Sequence[Slot]) -> list[Slot]:
    """One walk of the body; its outputs."""
    walker.unrolled += len(body)
    if walker.unrolled > MOST_UNROLLED:
        why = f"its turns and those of the loops before it have more than {MOST_UNROLLED} nodes together"
        raise _refuse(node, why, "Use --until with a tensor before that node, or shorter samples.")
    for value, slot in zip(body.inputs, inputs, strict=True):
        walker.bind(value, replace(slot))
    walker.walk(body)
    return [replace(walker.look(value)) for value in body.outputs]


def _slice(walker: Walker, slot: Slot, axis: int, place: int) -> Slot:
    assert slot.example is not None
    example = slot.example.select(axis, place)
    if slot.constant:
        return walker.tape.known(example)
    return walker.tape.slot(example, walker.tape.call(torch.select, slot.proxy, axis, place))


def _stack(node: ir.Node, walker: Walker, row: list[Slot], axis: int, value: ir.Value) -> Slot:
    """What all turns made, along a new axis."""
    if not row:
        return walker.tape.known(_empty(node, value, axis))
    if len({slot.shape for slot in row}) > 1:
        raise _refuse(node, f"what its turns give for {value.name!r} has different sizes")
    example = torch.stack([slot.example for slot in row if slot.example is not None], axis)
    if all(slot.constant for slot in row):
        return walker.tape.known(example)
    return walker.tape.slot(example, walker.tape.call(torch.stack, [walker.tape.proxy(slot) for slot in row], axis))


def _empty(node: ir.Node, value: ir.Value, axis: int) -> torch.Tensor:
    shape = None if value.shape is None else [size for size in value.shape if isinstance(size, int)]
    if shape is None or value.shape is None or len(shape) < len(value.shape) or value.dtype is None:
        raise _refuse(node, f"it takes no turn, and the sizes of {value.name!r} are not given")
    shape.insert(axis % (len(shape) + 1), 0)
    return torch.empty(shape, dtype=TORCH_OF[value.dtype])


def _bind_outputs(node: ir.Node, walker: Walker, slots: Sequence[Slot]) -> None:
    for value, slot in zip(node.outputs, slots, strict=False):
        walker.bind(value, replace(slot))


def _given(node: ir.Node, index: int, walker: Walker) -> Slot | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None else walker.look(value)


def _known(node: ir.Node, slot: Slot | None, why: str) -> int:
    """The known number of a scalar."""
    if slot is None or not slot.constant or slot.example is None:
        raise _refuse(node, why)
    return int(slot.example.reshape(-1)[0])


def _ints(node: ir.Node, name: str, count: int) -> list[int]:
    return [int(v) for v in graph.attribute(node, name, [0] * count)]


def _refuse(node: ir.Node, why: str, hint: str = _OUT) -> ModelError:
    where = f"{node.op_type} node {graph.label(node)!r}"
    return ModelError("cannot train the model", where=where, why=why, hint=hint, code="MODEL-DISTILL-NODE")
