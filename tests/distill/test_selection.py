"""What --train, --only and --exclude hold still, through every stage."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.distill_models import model, pictures, residual, with_cut_blocks

from onnxcompress import graph
from onnxcompress.data import ArraySource
from onnxcompress.distill.distillation import distill
from onnxcompress.distill.job import Job
from onnxcompress.distill.settings import Settings
from onnxcompress.errors import ModelError
from onnxcompress.passes.base import Scope
from onnxcompress.runtime_options import RuntimeOptions

TIED = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 6] x) => (float[N, 6] y) {
    [first] a = MatMul (x, w)
    [act] r = Relu (a)
    [second] b = MatMul (r, w)
    [last] y = MatMul (b, v)
}
"""
CALLS = """
<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
net (float[N, 6] x) => (float[N, 6] y) {
    [one] a = own.linear (x, w, b)
    [act] r = Relu (a)
    [two] y = own.linear (r, v, c)
}
<domain: "own", opset_import: ["" : 17]>
linear (p, m, n) => (o) {
    [product] q = MatMul (p, m)
    [sum] o = Add (q, n)
}
"""


def numbers(made: ir.Model) -> dict[str, np.ndarray]:
    tensors = {name: value.const_value for name, value in made.graph.initializers.items()}
    return {name: tensor.numpy().copy() for name, tensor in tensors.items() if tensor is not None}


def moved(student: ir.Model, teacher: ir.Model, data: ArraySource, scope: Scope, **settings: object) -> set[str]:
    """Names of the initializers that a short training changes."""
    before = numbers(student)
    chosen = Settings(**{"steps": 10, "rate": 1e-3, "close": 1.0, **settings})
    distill(Job(student, teacher, data, None, chosen, RuntimeOptions(threads=1), scope))
    after = numbers(student)
    return {name for name, array in before.items() if not np.array_equal(array, after[name])}


def damaged(text: str, weights: dict[str, tuple[int, ...]]) -> tuple[ir.Model, ir.Model, ArraySource]:
    draw = np.random.default_rng(0)
    whole = {name: draw.normal(size=shape).astype(np.float32) for name, shape in weights.items()}
    noisy = {name: (a + 0.3 * draw.normal(size=a.shape)).astype(np.float32) for name, a in whole.items()}
    return model(text, noisy), model(text, whole), ArraySource({"x": draw.normal(size=(200, 6)).astype(np.float32)})


@pytest.mark.parametrize("bn", ["freeze", "update", "revive"])
def test_repair_and_batch_normalization_leave_what_is_excluded(bn: str):
    teacher = residual()
    student = with_cut_blocks(teacher, 4)
    excluded = ("op:Conv", "n1", "n3")
    changed = moved(student, teacher, pictures(200), Scope(exclude=excluded), bn=bn)
    statistics = {"m0", "v0"} if bn == "update" else set[str]()
    assert changed
    assert changed <= {"g0", "b0", "wf", "bf"} | statistics


@pytest.mark.parametrize("bn", ["freeze", "revive"])
def test_repair_and_revival_move_only_the_kind_that_is_asked_for(bn: str):
    teacher = residual()
    assert moved(with_cut_blocks(teacher, 4), teacher, pictures(200), Scope(), train="bias", bn=bn) <= {
        "bias2",
        "bias4",
        "bf",
    }


@pytest.mark.parametrize("scope", [Scope(exclude=("second",)), Scope(only=("first", "last")), Scope(only=("last",))])
def test_what_two_nodes_share_stays_where_one_is_out_of_scope(scope: Scope):
    student, teacher, data = damaged(TIED, {"w": (6, 6), "v": (6, 6)})
    assert moved(student, teacher, data, scope) == {"v"}


def test_what_two_nodes_share_moves_where_both_may():
    student, teacher, data = damaged(TIED, {"w": (6, 6), "v": (6, 6)})
    assert moved(student, teacher, data, Scope(only=("first", "second"))) == {"w"}


@pytest.mark.parametrize(
    ("scope", "stays"),
    [
        (Scope(exclude=("one",)), {"w", "b"}),
        (Scope(only=("two",)), {"w", "b"}),
        (Scope(exclude=("product",)), {"w", "v"}),
        (Scope(only=("op:Add",)), {"w", "v"}),
    ],
)
def test_a_call_stands_for_the_nodes_of_its_function(scope: Scope, stays: set[str]):
    student, teacher, data = damaged(CALLS, {"w": (6, 6), "b": (6,), "v": (6, 6), "c": (6,)})
    assert moved(student, teacher, data, scope) == {"w", "b", "v", "c"} - stays


def test_a_scope_over_all_calls_leaves_nothing():
    student, teacher, data = damaged(CALLS, {"w": (6, 6), "b": (6,), "v": (6, 6), "c": (6,)})
    with pytest.raises(ModelError, match="no weight is left"):
        moved(student, teacher, data, Scope(exclude=("op:linear",)))


def test_nodes_without_names_are_found_by_their_outputs():
    student, teacher, data = damaged(TIED, {"w": (6, 6), "v": (6, 6)})
    for node in graph.iter_nodes(student):
        node.name = ""
    assert moved(student, teacher, data, Scope(exclude=("y",))) == {"w"}
