from __future__ import annotations

import onnx_ir as ir
import pytest

from onnxcompress.cost import costs
from onnxcompress.passes.depth.branches import branches
from onnxcompress.passes.depth.units import units
from onnxcompress.shapes import infer

HEAD = '<ir_version: 9, opset_import: ["" : 17]>\n'

RESIDUAL = (
    HEAD
    + """agraph (float[N, 4, 6, 6] x) => (float[N, 4, 6, 6] y) <float[4, 4, 3, 3] w = {WEIGHTS}> {
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    b = Relu (a)
    y = Add (b, x)
}"""
)
PROJECTION = (
    HEAD
    + """agraph (float[N, 4, 6, 6] x) => (float[N, 4, 6, 6] y)
    <float[4, 4, 3, 3] w = {WEIGHTS}, float[4, 4, 1, 1] p = {PROJECTION}> {
    short = Conv (x, p)
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    y = Add (short, a)
}"""
)
TWO_INPUTS = (
    HEAD
    + """agraph (float[N, 4] x, float[N, 4] z) => (float[N, 4] y) <float[4, 4] w = {MATRIX}> {
    a = MatMul (z, w)
    y = Add (a, x)
}"""
)
READ_TWICE = (
    HEAD
    + """agraph (float[N, 4] x) => (float[N, 4] y, float[N, 4] side) <float[4, 4] w = {MATRIX}> {
    a = MatMul (x, w)
    side = Relu (a)
    y = Add (a, x)
}"""
)
NOT_LINEAR = HEAD + "agraph (float[N, 4] x) => (float[N, 4] y) {\n    a = Relu (x)\n    y = Add (a, x)\n}"
BROADCAST = (
    HEAD
    + """agraph (float[N, 4] x) => (float[N, 4] y) <float[4, 1] w = {1, 2, 3, 4}> {
    a = MatMul (x, w)
    y = Add (a, x)
}"""
)
STACK = (
    HEAD
    + """agraph (float[N, 4] x) => (float[N, 4] y) <float[4, 4] w = {MATRIX}> {
    a0 = MatMul (x, w)
    s0 = Add (x, a0)
    r0 = Relu (s0)
    m0 = MatMul (r0, w)
    h0 = Tanh (m0)
    s1 = Add (s0, h0)
    a1 = MatMul (s1, w)
    s2 = Add (s1, a1)
    r1 = Relu (s2)
    m1 = MatMul (r1, w)
    h1 = Tanh (m1)
    y = Add (s2, h1)
}"""
)


def model_of(text: str) -> ir.Model:
    filled = text.replace("{WEIGHTS}", "{" + ", ".join(f"{(i % 7 - 3) / 9}" for i in range(144)) + "}")
    filled = filled.replace("{PROJECTION}", "{" + ", ".join(f"{(i % 5 - 2) / 3}" for i in range(16)) + "}")
    return ir.from_onnx_text(filled.replace("{MATRIX}", "{" + ", ".join(f"{(i % 5 - 2) / 3}" for i in range(16)) + "}"))


def found_in(text: str):
    model = model_of(text)
    table = infer(model)
    return branches(model, table, costs(model, table).macs_by_node)


def test_an_identity_shortcut_makes_a_branch():
    (branch,) = found_in(RESIDUAL)
    assert (branch.value.name, branch.shortcut.name, branch.channel_axis) == ("b", "x", 1)
    assert [node.op_type for node in branch.nodes] == ["Conv", "Relu"]


def test_a_projection_is_the_shortcut_of_the_costlier_operand():
    (branch,) = found_in(PROJECTION)
    assert (branch.value.name, branch.shortcut.name) == ("a", "short")


@pytest.mark.parametrize("text", [TWO_INPUTS, READ_TWICE, NOT_LINEAR, BROADCAST])
def test_no_branch(text):
    assert found_in(text) == []


def test_each_residual_of_a_stack_is_a_branch_of_its_own():
    assert [branch.value.name for branch in found_in(STACK)] == ["a0", "h0", "a1", "h1"]


def test_what_repeats_together_is_a_block():
    found = found_in(STACK)
    assert [[b.value.name for b in unit] for unit in units(found, "block")] == [["a0", "h0"], ["a1", "h1"]]
    assert [len(unit) for unit in units(found, "branch")] == [1, 1, 1, 1]


def test_without_repetition_a_branch_is_a_block():
    assert [len(unit) for unit in units(found_in(STACK)[:2], "block")] == [1, 1]
