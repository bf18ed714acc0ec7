"""Everything that depends on the scales, gathered once: tensors, weights, and which classes are chosen together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, is_constant
from onnxcompress.passes.pruning.atoms import Atoms, Ids
from onnxcompress.passes.quantization.equalization.activations import Seen
from onnxcompress.passes.quantization.equalization.caps import Limits, limits_of
from onnxcompress.passes.quantization.equalization.marks import Marks
from onnxcompress.passes.quantization.equalization.noise import Tensor, Weight, activation_noise, powers, weight_noise
from onnxcompress.passes.quantization.linear import Linear, is_linear, linear_of

_ELEMENTS = 1 << 20  # of a weight that are looked at


@dataclass(frozen=True)
class Grids:
    """How the result will be quantized.

    Attributes:
        per_channel: One weight scale for each output channel.
        symmetric: Activations have the zero point 0.
        limit: Largest integer of a weight.
    """

    per_channel: bool = True
    symmetric: bool = False
    limit: int = 127


@dataclass(eq=False)
class Problem:
    """The objective over all classes.

    Attributes:
        grids: How the result will be quantized.
        tensors: Inputs of multiplying nodes.
        names: Their names.
        weights: The constants that they meet.
        parts: Classes that meet in one tensor, and so are chosen together; ascending roots.
        limits: What the scales must keep to.
        noted: Largest magnitude by root: of the tensors, of the weights' rows, and of their columns.
    """

    grids: Grids
    tensors: list[Tensor]
    names: list[str]
    weights: list[Weight]
    parts: list[Ids]
    limits: Limits
    noted: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])

    def noise(self, part: Ids, scales: np.ndarray) -> float:
        """What the tensors and weights that touch `part` lose under `scales` (by atom)."""
        tensors = (t for t in self.tensors if np.isin(t.ids, part).any())
        weights = (w for w in self.weights if np.isin(w.read, part).any() or np.isin(w.made, part).any())
        found = sum(activation_noise(t, scales, symmetric=self.grids.symmetric) for t in tensors)
        return found + sum(weight_noise(w, scales, limit=self.grids.limit) for w in weights)

    def named(self, part: Ids) -> list[str]:
        """Tensors that hold classes of `part`."""
        return [name for name, t in zip(self.names, self.tensors, strict=True) if np.isin(t.ids, part).any()]


def linears(model: ir.Model) -> list[Linear]:
    """Multiplying nodes with one constant factor, in order."""
    found = [linear_of(node) for node in model.graph if is_linear(node)]
    return [each for each in found if each.weight == 1 and each.data == (0,)]


def free_results(marks: Marks) -> list[ir.Value]:
    """What multiplying nodes yield straight into a division by one number a channel."""
    made = [linear.node.outputs[0] for linear in linears(marks.model)]
    return [v for v in made if v in marks.ids and marks.free(marks.ids[v]) and _divides(v)]


def _divides(value: ir.Value) -> bool:
    return any(use.node.op_type in ("Div", "Mul") and is_constant(use.node.inputs[1 - use.idx]) for use in value.uses())


def problem_of(marks: Marks, seen: Sequence[Seen], grids: Grids) -> Problem:
    """Tensors and weights with the roots of their classes in place of atoms."""
    count = len(marks.atoms)
    roots = marks.atoms.roots(np.arange(count))
    at = {each.value: each for each in seen}
    weights: dict[ir.Value, list[Weight]] = {}
    for linear in linears(marks.model):
        each = at.get(linear.value(0))
        made = None if each is None else _weight(marks, linear, each, roots, grids)
        if made is not None:
            weights.setdefault(linear.value(0), []).append(made)
    tensors = {value: _tensor(at[value], readers, roots) for value, readers in weights.items()}
    worth = _worths(list(tensors.values()), count)
    tensors |= {v: _result(at[v], roots) for v in free_results(marks) if v in at and v not in tensors}
    flat = [_worthy(w, worth) for readers in weights.values() for w in readers]
    problem = Problem(
        grids,
        list(tensors.values()),
        [v.name or "" for v in tensors],
        flat,
        [],
        limits_of(marks.caps or (), seen, roots),
    )
    problem.parts = list(_parts(problem.tensors, count))
    problem.noted = _noted(problem, count)
    return problem


def _weight(marks: Marks, linear: Linear, seen: Seen, roots: Ids, grids: Grids) -> Weight | None:
    slots = {slot.power: slot for slot in marks.slots if slot.node is linear.node and slot.index == 1}
    array = array_of(linear.value(1))
    if array is None or array.ndim < 2:
        return None
    read, made = (roots[slots[p].ids] if p in slots else np.zeros((1,) * array.ndim, np.int64) for p in (1, -1))
    by_atom = powers(roots[seen.ids], seen.values, len(roots))
    if not read.any():
        by_atom = np.full(len(roots), np.square(seen.values, dtype=np.float64).mean())
    axis = linear.axis if grids.per_channel else None
    wide = np.broadcast_to(by_atom[read], np.broadcast_shapes(read.shape, (1,) * array.ndim))
    rows = _rows(array, linear.axis if linear.axis is not None else 0)
    cut = (array, read, made, wide)
    picked = [a if a.shape[rows[0]] == 1 else a.take(rows[1], axis=rows[0]) for a in cut]
    return Weight(picked[0].astype(np.float32), picked[1], picked[2], axis, picked[3], np.ones(1))


def _worths(tensors: Sequence[Tensor], count: int) -> np.ndarray:
    """What noise in a class counts where it is read; 0 where nothing reads it, and for what is fixed."""
    found = np.zeros(count)
    for t in tensors:
        members = np.bincount(t.ids, minlength=count)
        found += np.bincount(t.ids, t.gains, minlength=count) / np.maximum(members, 1)
    found[0] = 0.0
    return found


def _worthy(weight: Weight, worth: np.ndarray) -> Weight:
    by = worth[weight.made]
    return replace(weight, worth=np.where(by > 0, by, 1 / weight.strength()))


def _rows(array: np.ndarray, axis: int) -> tuple[int, Ids]:
    """Evenly spaced output channels of a weight that has very many elements."""
    count = array.shape[axis]
    kept = max(1, min(count, _ELEMENTS * count // max(array.size, 1)))
    return axis, np.linspace(0, count - 1, kept).round().astype(np.int64)


def _tensor(seen: Seen, readers: Sequence[Weight], roots: Ids) -> Tensor:
    """Gains by class, spread evenly over the channels of the class."""
    ids = roots[seen.ids]
    gain = np.zeros(len(roots))
    for w in readers:
        square = np.broadcast_to(np.square(w.array, dtype=np.float64), w.array.shape)
        who = np.broadcast_to(w.read, w.array.shape)
        gain += np.bincount(who.ravel(), square.ravel(), minlength=len(roots)) / w.strength()
    return Tensor(ids, seen.values, gain[ids] / np.bincount(ids, minlength=len(roots))[ids])


def _result(seen: Seen, roots: Ids) -> Tensor:
    """A result counts by channel: each one's noise against its own power, and all channels alike."""
    power = np.square(seen.values, dtype=np.float64).mean(axis=1)
    gains = np.where(power > 0, 1 / np.maximum(power, 1e-30), 0.0) / max(1, len(power))
    return Tensor(roots[seen.ids], seen.values, gains)


def _parts(tensors: Sequence[Tensor], count: int) -> Iterator[Ids]:
    together = Atoms()
    together.fresh(count)
    held = [np.unique(t.ids[t.ids > 0]) for t in tensors]
    for ids in held:
        together.unify(ids, np.broadcast_to(ids[:1], ids.shape))
    members = np.unique(np.concatenate([np.zeros(0, np.int64), *held]))
    leaders = together.roots(members)
    for leader in np.unique(leaders):
        yield members[leaders == leader]


def _noted(problem: Problem, count: int) -> dict[str, np.ndarray]:
    found = {key: np.zeros(count) for key in ("tensors", "rows", "columns")}
    for t in problem.tensors:
        np.maximum.at(found["tensors"], t.ids, np.abs(t.values).max(axis=1))
    for w in problem.weights:
        size = np.abs(w.array)
        np.maximum.at(found["rows"], np.broadcast_to(w.made, size.shape), size)
        np.maximum.at(found["columns"], np.broadcast_to(w.read, size.shape), size)
    return found
