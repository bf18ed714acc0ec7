"""Models with local functions: weights in bodies, weights and scales passed to them, and what stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import array, model
from builders.distill_steps import equal, trained, untrained

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.trainer import snapshot
from onnxcompress.distill.write_back import write_back
from onnxcompress.errors import ModelError
from onnxcompress.graph import array_of

X = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
HEAD = '<ir_version: 10, opset_import: ["" : 21, "local" : 1]>\n'

# w is passed in, `inner` and the bias are held in the body, `outer` in the main graph; layer runs twice.
LAYERS = (
    HEAD
    + """net (float[N, 2] x) => (float[N, 2] y) <float[2, 2] w = {1.0, 2.0, 3.0, 4.0}> {
        outer = Constant <value = float[2] {0.5, -0.5}> ()
        a = local.layer (x, w)
        b = Add (a, outer)
        y = local.layer (b, w)
    }
    <domain: "local", opset_import: ["" : 21, "local" : 1]> layer (p, q) => (r) {
        inner = Constant <value = float[2, 2] {0.1, -0.2, 0.3, -0.4}> ()
        m = MatMul (p, q)
        n = local.shift (m)
        o = MatMul (n, inner)
        r = Add (o, m)
    }
    <domain: "local", opset_import: ["" : 21]> shift (p) => (r) {
        bias = Constant <value_floats = [0.25, -0.75]> ()
        s = Add (p, bias)
        r = Tanh (s)
    }"""
)


def in_function(made: ir.Model, name: str, constant: str) -> np.ndarray:
    """The numbers of a constant in a function's body."""
    function = made.functions["local", name, ""]
    (value,) = [node.outputs[0] for node in function if node.outputs[0].name == constant]
    found = array_of(value)
    assert found is not None
    return found


def test_weights_in_bodies_and_passed_to_functions_are_one_in_all_calls():
    bridge = untrained(model(LAYERS))
    assert {w.name for w, _ in bridge.trainable()} == {"w", "outer", "inner", "bias"}


def test_all_of_them_are_written_back_and_functions_stay():
    made = model(LAYERS)
    before = {"inner": in_function(made, "layer", "inner"), "bias": in_function(made, "shift", "bias")}
    assert trained(made, {"x": X}) == {"w", "outer", "inner", "bias"}
    assert [node.op_type for node in made.graph] == ["Constant", "layer", "Add", "layer"]
    np.testing.assert_allclose(np.abs(in_function(made, "layer", "inner") - before["inner"]), 0.01, rtol=1e-4)
    np.testing.assert_allclose(np.abs(in_function(made, "shift", "bias") - before["bias"]), 0.01, rtol=1e-4)


QUANTIZED = (
    HEAD
    + """net (float[N, 2] x) => (float[N, 2] y)
    <float sx = {0.05}, uint8 zx = {128}, int8[2, 2] w = {10, -20, 30, -40}, float sw = {0.03}> {
        y = local.layer (x, sx, zx, w)
    }
    <domain: "local", opset_import: ["" : 21]> layer (x, sx, zx, w) => (y) {
        sw = Constant <value = float {0.02}> ()
        so = Constant <value_float = 0.07> ()
        q = QuantizeLinear (x, sx, zx)
        d = DequantizeLinear (q, sx, zx)
        e = DequantizeLinear (w, sw)
        m = MatMul (d, e)
        qm = QuantizeLinear (m, so, zx)
        y = DequantizeLinear (qm, so, zx)
    }"""
).replace(", float sw = {0.03}", "")


def test_scales_in_bodies_and_passed_to_functions_are_trained():
    made = model(QUANTIZED)
    bridge, names = untrained(made, scales=True), {"sx", "sw", "so"}
    assert {w.name for w in bridge.weights if w.role == "scale"} == names
    assert not [f for f in bridge.findings if f.code == "DISTILL-SCALES-FUNCTIONS"]
    start, feeds = snapshot(bridge), {"x": X}
    with torch.no_grad():
        for weight, parameter in bridge.trainable():
            parameter += 0.1 if weight.role == "scale" else 0.05
    changed = write_back(made, bridge, start)
    assert set(changed) == {*names, "w"}
    equal(bridge, made, feeds)
    assert in_function(made, "layer", "so") == pytest.approx(0.07 * np.exp(0.1))


ATTRIBUTES = (
    HEAD
    + """net (float[N, 2] x) => (float[N, 2] y) <int8[2, 2] w = {1, 2, 3, 4}> {
        y = local.layer <table = float[2] {1.0, 2.0}, step = 0.5> (x, w)
    }
    <domain: "local", opset_import: ["" : 21]> layer <table, step> (p, w) => (r) {
        t = Constant <value : tensor = @table> ()
        s = Constant <value_float : float = @step> ()
        d = DequantizeLinear (w, s)
        m = MatMul (p, d)
        r = Mul (m, t)
    }"""
)


def test_what_a_call_passes_as_an_attribute_stays_and_is_told():
    made = model(ATTRIBUTES)
    bridge = untrained(made, scales=True)
    equal(bridge, made, {"x": X})
    assert [w.name for w in bridge.weights] == ["w"]
    assert [(f.code, f.node) for f in bridge.findings] == [
        ("DISTILL-FUNCTION-WEIGHTS", "t"),
        ("DISTILL-SCALES-FUNCTIONS", "s"),
    ]


def test_a_function_of_another_operator_set_is_refused_with_the_reason():
    text = LAYERS.replace('"local", opset_import: ["" : 21]> shift', '"local", opset_import: ["" : 18]> shift')
    with pytest.raises(ModelError, match="cannot take the place of their calls") as caught:
        Bridge(model(text))
    assert caught.value.code == "MODEL-DISTILL-FUNCTION"
    assert "version 18" in (caught.value.why or "")


def test_a_loop_in_a_function_and_a_function_in_a_loop():
    text = (
        HEAD
        + """net (float[N, 2] x) => (float[N, 2] y) <int64 count = {2}, bool yes = {1}, float[2] w = {0.5, 0.75}> {
        y = Loop (count, yes, x) <body =
            turn (int64 i, bool go, float[N, 2] h) => (bool more, float[N, 2] t) {
                more = Identity (go)
                t = local.step (h, w)
            }>
        }
        <domain: "local", opset_import: ["" : 21]> step (p, w) => (r) {
            b = Constant <value_floats = [0.25, -0.75]> ()
            m = Mul (p, w)
            s = Add (m, b)
            r = Tanh (s)
        }"""
    )
    made = model(text)
    w = array(made, "w").copy()
    assert trained(made, {"x": X}) == {"w", "b"}
    assert not np.array_equal(array(made, "w"), w)
