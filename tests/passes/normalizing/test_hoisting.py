from __future__ import annotations

import numpy as np
import onnx_ir as ir
from builders.equality import difference, run

from onnxcompress.graph import add_initializer
from onnxcompress.passes.normalizing.hoisting import hoist_shared
from onnxcompress.testing import model_of

TEXT = """g (float[N,64] x, bool c) => (float[N,2] y) {
    y = If(c) <then_branch = t () => (float[N,2] r) { r = MatMul(x, x) },
               else_branch = e () => (float[N,2] r) { m = Neg(x) r = MatMul(m, m) }>
}"""


def _model(*, alike: bool) -> ir.Model:
    """Both branches multiply by a weight of their own; equal ones where `alike`."""
    model = model_of(TEXT)
    generator = np.random.default_rng(0)
    whole = generator.normal(size=(64, 2)).astype(np.float32)
    for number, body in enumerate(model.graph.subgraphs()):
        product = next(node for node in body if node.op_type == "MatMul")
        weight = add_initializer(body, f"w{number}", whole if alike else whole + number)
        product.replace_input_with(1, weight)
    return model


def test_equal_weights_of_two_branches_are_held_once() -> None:
    model, before = _model(alike=True), _model(alike=True)
    assert hoist_shared(model) == 1
    assert list(model.graph.initializers) == ["w0"]
    assert all(not body.initializers for body in model.graph.subgraphs())
    assert hoist_shared(model) == 0
    x = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    for choice in (True, False):
        feeds = {"x": x, "c": np.asarray(choice)}
        assert not difference(run(ir.to_proto(before), feeds), run(ir.to_proto(model), feeds))


def test_different_weights_stay_where_they_are() -> None:
    model = _model(alike=False)
    assert hoist_shared(model) == 0
    assert not model.graph.initializers
