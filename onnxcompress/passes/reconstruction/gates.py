"""Refit a recurrent node: input weights, recurrent weights and bias together, on the student's own inputs and states.

The targets are the teacher's gate pre-activations (see `cells`), cut to the kept units, at the teacher's own states.
The rows are [x_t, h_{t-1}, 1] of the student: in the first sweep h is the teacher's (kept units), in later ones what
the student made of the last sweep's weights. The states themselves decide, on batches that took no part: the weights
whose states are nearest to the teacher's stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxcompress.passes.reconstruction.cells import Cell, Inputs, Player, Weights, before, kept_units
from onnxcompress.passes.reconstruction.patches import choose
from onnxcompress.passes.reconstruction.problem import FOLDS, improved
from onnxcompress.runtime_options import RuntimeOptions

_SWEEPS = 4


@dataclass(frozen=True)
class Take:
    """One batch.

    Attributes:
        ours: What the student's node reads.
        states: The teacher's states, kept units, [steps, directions, samples, kept].
        gates: The teacher's linear part of every gate, [directions, steps, samples, gates * kept].
        recurrent: The part of it that the state gives.
        at: Flat indices (steps * samples) of the rows that are used.
        fold: Which fold it belongs to.
    """

    ours: Inputs
    states: np.ndarray
    gates: np.ndarray
    recurrent: np.ndarray
    at: np.ndarray
    fold: int


@dataclass(frozen=True)
class Refit:
    """What came of it: weights, and the relative held-out error of the states before and after."""

    weights: Weights
    error_before: float
    error_after: float
    sweeps: int


def take(
    cell: Cell,
    player: Player,
    inputs: tuple[Inputs, Inputs],
    teacher: Weights,
    kept: np.ndarray,
    rows: int,
    seed: Sequence[int],
) -> Take:
    """Everything that does not change from sweep to sweep, for one batch.

    Args:
        cell: The student's node.
        player: Of the teacher's node.
        inputs: What the student's node reads, and the teacher's.
        teacher: The teacher's weights.
        kept: Units that the student has, [directions, units].
        rows: Most rows.
        seed: Of their draw; it ends in the batch's number.
    """
    ours, theirs = inputs
    states = player.states(theirs, teacher)
    cut = kept_units(teacher, cell.gates, kept)
    half = cut.b.shape[1] // 2
    gates, recurrent = [], []
    for d in range(len(teacher.w)):
        h = before(cell, theirs, states, d)
        recurrent.append(h @ cut.r[d].T + cut.b[d, half:])
        if cell.node.op_type == "GRU" and not cell.resets_after:
            part = slice(2 * kept.shape[1], 3 * kept.shape[1])
            recurrent[d][..., part] = (_reset_of(teacher, d, theirs.x, h) * h) @ cut.r[d, part].T + cut.b[d, half:][
                part
            ]
        gates.append(theirs.x @ cut.w[d].T + cut.b[d, :half])
    valid = np.flatnonzero(ours.valid().reshape(-1))
    at = valid[choose(len(valid), rows, np.random.Generator(np.random.PCG64(list(seed))))]
    whole = np.stack(recurrent)
    mine = np.take_along_axis(states, kept[None, :, None, :], axis=3)
    return Take(ours, mine, np.stack(gates) + whole, whole, at, seed[-1] % FOLDS)


def refit(cell: Cell, takes: Sequence[Take], options: RuntimeOptions) -> Refit:
    """The weights whose states are nearest to the teacher's on the batches of fold 0."""
    player, weights = Player(cell, options), cell.weights()
    states = [player.states(t.ours, weights) for t in takes]
    error = first = _error(takes, states)
    best, sweeps = weights, 0
    states = [t.states for t in takes]
    for sweep in range(_SWEEPS):
        weights = _sweep(cell, takes, states, weights)
        states = [player.states(t.ours, weights) for t in takes]
        now = _error(takes, states)
        if not now < error:
            if sweep:
                break
            continue
        error, best, sweeps = now, weights, sweep + 1
    return Refit(best, first, error, sweeps)


def _error(takes: Sequence[Take], states: Sequence[np.ndarray]) -> float:
    """Squared error of the states relative to their power, on fold 0, at steps that count."""
    off = power = 0.0
    for t, y in zip(takes, states, strict=True):
        if t.fold == 0:
            mask = t.ours.valid()[:, None, :, None]
            off += float(np.square((y - t.states) * mask, dtype=np.float64).sum())
            power += float(np.square(t.states * mask, dtype=np.float64).sum())
    return off / max(power, 1e-30) if np.isfinite(off) else np.inf


def _sweep(cell: Cell, takes: Sequence[Take], states: Sequence[np.ndarray], weights: Weights) -> Weights:
    w, r, b = weights.w.copy(), weights.r.copy(), weights.b.copy()
    fresh = Weights(w, r, b)
    folds = np.concatenate([np.full(len(t.at), t.fold) for t in takes])
    for d in range(len(w)):
        x = np.concatenate([_rows(t.ours.x, t.at) for t in takes])
        h = np.concatenate([_rows(before(cell, t.ours, y, d), t.at) for t, y in zip(takes, states, strict=True)])
        gates = np.concatenate([_rows(t.gates[d], t.at) for t in takes])
        joint = gates.shape[1] if cell.node.op_type != "GRU" else 2 * weights.hidden
        _joint(fresh, d, slice(0, joint), x, h, gates[:, :joint], folds)
        if joint < gates.shape[1]:
            recurrent = np.concatenate([_rows(t.recurrent[d], t.at) for t in takes])
            _candidate(cell, fresh, d, x, h, (gates[:, joint:], recurrent[:, joint:], _reset(takes, d, joint)), folds)
    return fresh


def _rows(array: np.ndarray, at: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1])[at]


def _joint(
    weights: Weights, d: int, part: slice, x: np.ndarray, h: np.ndarray, target: np.ndarray, folds: np.ndarray
) -> None:
    """Fit the gates of `part` on input, state and one, in place; what the bias gains goes into its input half."""
    half = weights.b.shape[1] // 2
    start = np.concatenate(
        [weights.w[d, part], weights.r[d, part], (weights.b[d, :half] + weights.b[d, half:])[part, None]], axis=1
    )
    found = improved(_with_one(x, h), target, start.T, folds).T
    inputs = x.shape[1]
    weights.w[d, part], weights.r[d, part] = found[:, :inputs], found[:, inputs:-1]
    weights.b[d, :half][part] = found[:, -1] - weights.b[d, half:][part]


def _candidate(
    cell: Cell,
    weights: Weights,
    d: int,
    x: np.ndarray,
    h: np.ndarray,
    targets: tuple[np.ndarray, ...],
    folds: np.ndarray,
) -> None:
    """Fit GRU's candidate in place, its reset gate as the student has it after the refit of that gate.

    `targets` are the teacher's whole linear part, the recurrent part, and the teacher's reset gate.
    """
    half, part = weights.b.shape[1] // 2, slice(2 * weights.hidden, 3 * weights.hidden)
    whole, recurrent, theirs = targets
    ours = _reset_of(weights, d, x, h)
    if not cell.resets_after:
        _joint(weights, d, part, x, ours * h, whole, folds)
        return
    own = np.concatenate([weights.r[d, part], weights.b[d, half:][part, None]], axis=1)
    found = improved(_with_one(h), recurrent, own.T, folds)
    weights.r[d, part], weights.b[d, half:][part] = found[:-1].T, found[-1]
    target = (whole - recurrent) + theirs * recurrent - ours * (_with_one(h) @ found)
    own = np.concatenate([weights.w[d, part], weights.b[d, :half][part, None]], axis=1)
    found = improved(_with_one(x), target, own.T, folds)
    weights.w[d, part], weights.b[d, :half][part] = found[:-1].T, found[-1]


def _reset_of(weights: Weights, d: int, x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """GRU's reset gate at every step, all units."""
    gate, half = slice(weights.hidden, 2 * weights.hidden), weights.b.shape[1] // 2
    bias = weights.b[d, :half][gate] + weights.b[d, half:][gate]
    return _sigmoid(x @ weights.w[d, gate].T + h @ weights.r[d, gate].T + bias)


def _reset(takes: Sequence[Take], d: int, joint: int) -> np.ndarray:
    """The teacher's reset gate, kept units."""
    return _sigmoid(np.concatenate([_rows(t.gates[d], t.at) for t in takes])[:, joint // 2 : joint])


def _with_one(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate([*parts, np.ones((len(parts[0]), 1), parts[0].dtype)], axis=1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
