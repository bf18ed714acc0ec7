from __future__ import annotations

import pytest

from onnxcompress import verify
from onnxcompress.passes.normalize import Normalize
from onnxcompress.passes.normalizing.weights_as_inputs import freeze_weights
from onnxcompress.testing import context, model_of

ALL = """g (float[N,2] x, float[2] w, float[2] b) => (float[N,2] y)
<float[2] w = {1, 2}, float[2] b = {3, 4}>
{ h = Mul(x, w) y = Add(h, b) }"""
SOME = """g (float[N,2] x, float[2] w) => (float[N,2] y)
<float[2] w = {1, 2}, float[2] b = {3, 4}>
{ h = Mul(x, w) y = Add(h, b) }"""


@pytest.mark.parametrize(
    ("text", "when", "taken"),
    [(ALL, "auto", 2), (SOME, "auto", 0), (SOME, "always", 1), (ALL, "never", 0)],
)
def test_weights_leave_the_inputs_only_where_nobody_chose_them(text: str, when: str, taken: int) -> None:
    model = model_of(text)
    before = [v.name for v in model.graph.inputs]
    assert freeze_weights(model, when) == taken
    assert len(model.graph.inputs) == len(before) - taken
    assert model.graph.inputs[0].name == "x"
    assert set(model.graph.initializers) == {"w", "b"}


def test_the_pass_says_so() -> None:
    model = model_of(ALL)
    codes = [f.code for f in Normalize().run(model, context(model))]
    assert codes == ["NORMALIZE-FROZEN-INPUTS"]


def test_the_ir_version_rises_to_one_that_allows_it() -> None:
    model = model_of(ALL)
    model.ir_version = 3
    list(Normalize(freeze_inputs="never").run(model, context(model)))
    assert model.ir_version == 3
    list(Normalize().run(model, context(model)))
    assert model.ir_version == 4
    verify.check_structure(model)
