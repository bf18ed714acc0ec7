"""Recurrent nodes refitted: where units repeat each other, a student without the repetitions can be exact."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxcompress import graph
from onnxcompress.passes.reconstruction.cells import Cell, Inputs, Player, before, cell_of
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing import context

UNITS, KEPT, INPUTS, STEPS = 6, [0, 1, 2, 3], 3, 7
TWINS = [0, 1, 2, 3, 0, 1]  # units 4 and 5 do what 0 and 1 do
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
CASES = {
    "lstm": ("LSTM", "", "", 1),
    "lstm both ways": ("LSTM", 'direction="bidirectional"', "", 2),
    "gru": ("GRU", "linear_before_reset=1", "", 1),
    "gru, reset first": ("GRU", "", "", 1),
    "gru backwards": ("GRU", 'direction="reverse", linear_before_reset=1', "", 1),
    "rnn": ("RNN", "", "", 1),
    "lengths": ("LSTM", 'direction="bidirectional"', "lengths", 2),
    "first state": ("GRU", "", ", h0", 1),
}


def _proto(case: str, units: list[int]) -> onnx.ModelProto:
    op, attributes, extra, directions = CASES[case]
    generator = np.random.default_rng(4)
    gates, k = GATES[op], len(units)
    w, r, b = (
        0.7 * generator.normal(size=(directions, gates, UNITS, n)).astype(np.float32) for n in (INPUTS, UNITS, 2)
    )
    w, r, b = (a[:, :, TWINS][:, :, units] for a in (w, r, b))
    constants = {
        "w": w.reshape(directions, gates * k, INPUTS),
        "r": r[..., units].reshape(directions, gates * k, k),
        "b": b.transpose(0, 3, 1, 2).reshape(directions, 2 * gates * k),
        "v": generator.normal(size=(UNITS, 2)).astype(np.float32)[units],
    }
    lengths = "lengths" if extra == "lengths" else ""
    state = ", h0" if "h0" in extra else ""
    inputs = f"float[{STEPS},N,{INPUTS}] x" + (", int32[N] lengths" if lengths else "")
    inputs += f", float[{directions},N,{k}] h0" if state else ""
    more = f"hidden_size={k}" + (f", {attributes}" if attributes else "")
    reads = "x, w, r, b" + (f", {lengths}{state}" if lengths or state else "")
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float[{STEPS},{directions},N,2] out)'
        f"{{ y = {op}<{more}>({reads}) out = MatMul(y, v) }}"
    )
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items()
    )
    return proto


def _models(case: str) -> tuple[ir.Model, ir.Model]:
    teacher, student = (ir.from_proto(_proto(case, units)) for units in (list(range(UNITS)), KEPT))
    student.meta["onnxcompress.kept"] = {"y": {3: KEPT}}
    return teacher, student


def _samples(case: str, count: int, seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    feeds = {"x": generator.normal(size=(STEPS, count, INPUTS)).astype(np.float32)}
    if CASES[case][2] == "lengths":
        feeds["lengths"] = generator.integers(2, STEPS + 1, size=count).astype(np.int32)
    return feeds


@pytest.mark.parametrize("case", [c for c in CASES if c != "first state"])
def test_units_that_repeat_others_are_made_up_for(case):
    teacher, student = _models(case)
    pool = _samples(case, 200, 1)
    findings = _refit(student, teacher, pool)
    assert [f.code for f in findings] == ["RECONSTRUCT-REFITTED", "RECONSTRUCT-REFITTED"]
    fresh = _samples(case, 50, 2)
    ours, theirs = (Session(m).run(fresh)["out"] for m in (student, teacher))
    if "lengths" in fresh:
        valid = np.arange(STEPS)[:, None] < fresh["lengths"]
        ours, theirs = (a * valid[:, None, :, None] for a in (ours, theirs))
    assert np.square(ours - theirs).sum() < 1e-3 * np.square(theirs).sum()


def _refit(student: ir.Model, teacher: ir.Model, pool: dict[str, np.ndarray]):
    from onnxcompress.passes.reconstruction.walk import Walk

    runs = [
        {n: a[..., i : i + 20, :] if n == "x" else a[i : i + 20] for n, a in pool.items()} for i in range(0, 200, 20)
    ]
    walk = Walk(student, teacher, runs, student.meta["onnxcompress.kept"], 5000, context(teacher))
    return list(walk.findings({graph.label(n) for n in student.graph}))


@pytest.mark.parametrize("case", CASES)
def test_states_before_each_step_reproduce_the_next(case):
    """From the states before each step, one step of the node gives the states after it."""
    proto = _proto(case, list(range(UNITS)))
    cell = cell_of(next(iter(ir.from_proto(proto).graph)), 0)
    assert isinstance(cell, Cell)
    directions = CASES[case][3]
    generator = np.random.default_rng(0)
    x = generator.normal(size=(STEPS, 4, INPUTS)).astype(np.float32)
    first = generator.normal(size=(directions, 4, UNITS)).astype(np.float32)
    lengths = np.array([7, 3, 5, 2]) if "lengths" in case else None
    given = Inputs(x, lengths, first)
    player = Player(cell, RuntimeOptions(threads=1))
    weights = cell.weights()
    y = player.states(given, weights)
    assert y.shape == (STEPS, directions, 4, UNITS)
    if cell.node.op_type == "LSTM":
        return  # its step needs the cell state too
    for d in range(directions):
        h = before(cell, given, y, d)
        for t in range(STEPS):
            again = player.states(Inputs(x[t : t + 1], None, np.repeat(h[t][None], directions, 0)), weights)
            np.testing.assert_allclose(again[0, d], y[t, d], atol=1e-5)


def test_one_sample_twice_and_a_constant_input_give_numbers():
    teacher, student = _models("gru")
    pool = {"x": np.zeros((STEPS, 200, INPUTS), np.float32)}
    _refit(student, teacher, pool)
    assert all(np.isfinite(graph.array_of(v)).all() for v in student.graph.initializers.values())


def test_unknown_units_are_left_with_a_reason():
    teacher, student = _models("lstm")
    student.meta["onnxcompress.kept"] = {}
    for name in ("w", "b"):
        value = student.graph.initializers[name]
        fresh = np.random.default_rng(9).normal(size=graph.array_of(value).shape)
        graph.set_constant(value, fresh.astype(np.float32))
    findings = _refit(student, teacher, _samples("lstm", 200, 1))
    assert findings[0].code == "RECONSTRUCT-NO-TARGET"
    assert "which were kept" in findings[0].message


def test_units_that_nobody_wrote_down_are_found_by_their_weights():
    teacher, student = _models("lstm both ways")
    student.meta["onnxcompress.kept"] = {}
    findings = _refit(student, teacher, _samples("lstm both ways", 200, 1))
    assert findings[0].code == "RECONSTRUCT-REFITTED"
    assert findings[0].numbers["error_after"] < 1e-3
