"""Q and DQ: the grid is exact, the gradient passes straight through inside the range."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import array, model

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.fake_quant import from_grid, to_grid
from onnxcompress.distill.write_back import write_back
from onnxcompress.runtime import Session

TYPES = {"uint8": (np.uint8, 0, 255), "int8": (np.int8, -128, 127), "uint16": (np.uint16, 0, 65535)}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("per_axis", [False, True])
def test_the_round_trip_is_bit_equal_to_onnx_runtime(kind, per_axis):
    dtype, low, high = TYPES[kind]
    rng = np.random.default_rng(0)
    shape = (5,) if per_axis else ()
    step = 0.0003 if kind == "uint16" else 0.037
    weights = {
        "s": (rng.uniform(0.5, 1.5, shape) * step).astype(np.float32),
        "z": rng.integers(low + (high - low) // 3, high - (high - low) // 3, shape).astype(dtype),
    }
    text = """<ir_version: 10, opset_import: ["" : 21]> net (float[N, 5] x) => (float[N, 5] y) {
        q = QuantizeLinear (x, s, z)  y = DequantizeLinear (q, s, z) }"""
    made = model(text, weights)
    x = rng.normal(size=(4000, 5)).astype(np.float32) * 3
    halves = ((np.arange(4000)[:, None] % 99 - 49 + 0.5) * weights["s"]).astype(np.float32)
    for given in (x, np.broadcast_to(halves, x.shape).copy()):
        found = Bridge(made).specialise({"x": given}).run({"x": given})["y"].detach().numpy()
        np.testing.assert_array_equal(found, Session(made, optimize=False).run({"x": given})["y"])


def test_the_grid_survives_ops_between_q_and_dq():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[1, 2, 4, 4] x) => (float[1, 2, 2, 2] y) <float s = {0.05}, uint8 z = {7}> {
        q = QuantizeLinear (x, s, z)
        m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (q)
        y = DequantizeLinear (m, s, z) }"""
    made = model(text)
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
    found = Bridge(made).specialise({"x": x}).run({"x": x})["y"].detach().numpy()
    np.testing.assert_array_equal(found, Session(made, optimize=False).run({"x": x})["y"])


def test_the_gradient_passes_inside_the_range_and_stops_outside():
    x = torch.tensor([-100.0, -0.26, 0.26, 100.0], requires_grad=True)
    scale, zero = torch.tensor(0.5), torch.tensor(0.0)
    from_grid(to_grid(x, scale, zero, -8, 7), scale, zero).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


INTEGER_WEIGHTS = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[N, 4] x) => (float[N, 3] y) {
    xq = QuantizeLinear (x, sx, zx)
    xd = DequantizeLinear (xq, sx, zx)
    wd = DequantizeLinear <axis = 0> (w, sw, zw)
    bd = DequantizeLinear <axis = 0> (b, sb)
    y = Gemm <transB = 1> (xd, wd, bd)
}
"""


def integer_model(dtype: np.dtype | type = np.int8) -> ir.Model:
    rng = np.random.default_rng(3)
    sw = np.array([0.02, 0.03, 0.04], np.float32)
    weights = {
        "sx": np.float32(0.05),
        "zx": np.uint8(128),
        "w": rng.integers(-100, 100, (3, 4)).astype(dtype),
        "sw": sw,
        "zw": np.zeros(3, dtype),
        "b": rng.integers(-(2**29), 2**29, 3).astype(np.int32),
        "sb": sw * np.float32(0.05),
    }
    return model(INTEGER_WEIGHTS, {n: np.asarray(a) for n, a in weights.items()})


def test_integer_weights_are_trained_on_their_grid():
    made = integer_model()
    bridge = Bridge(made)
    assert {w.name: w.grid is not None for w in bridge.weights} == {"w": True, "b": True}
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    found = bridge.specialise({"x": x}).run({"x": x})["y"]
    np.testing.assert_allclose(found.detach(), Session(made, optimize=False).run({"x": x})["y"], rtol=1e-6)
    found.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for _, p in bridge.trainable())


def test_unmoved_integers_keep_their_bits_and_moved_ones_land_on_the_grid():
    made = integer_model()
    bridge = Bridge(made)
    start = [p.detach().clone() for p in bridge.parameters]
    w, b = array(made, "w").copy(), array(made, "b").copy()
    assert write_back(made, bridge, start) == []
    position = [x.name for x in bridge.weights].index("w")
    bridge.parameters[position].data[0, 0] += 2.4 * 0.02
    bridge.parameters[position].data[1, 1] = 1000.0
    assert write_back(made, bridge, start) == ["w"]
    w[0, 0] += 2
    w[1, 1] = 127
    np.testing.assert_array_equal(array(made, "w"), w)
    np.testing.assert_array_equal(array(made, "b"), b)


def test_blocked_four_bit_weights():
    import ml_dtypes

    text = """<ir_version: 10, opset_import: ["" : 21]>
    net (float[N, 8] x) => (float[N, 2] y) {
        wd = DequantizeLinear <axis = 0, block_size = 4> (w, s)  y = MatMul (x, wd) }"""
    rng = np.random.default_rng(0)
    w = rng.integers(-8, 8, (8, 2)).astype(ml_dtypes.int4)
    made = model(text, {"w": w, "s": rng.uniform(0.1, 0.2, (2, 2)).astype(np.float32)})
    bridge, x = Bridge(made), rng.normal(size=(3, 8)).astype(np.float32)
    found = bridge.specialise({"x": x}).run({"x": x})["y"]
    np.testing.assert_allclose(found.detach(), Session(made).run({"x": x})["y"], rtol=1e-5, atol=1e-6)
    (parameter,) = bridge.parameters
    start = [parameter.detach().clone()]
    parameter.data.add_(1.0)
    assert write_back(made, bridge, start) == ["w"]
    moved = made.graph.initializers["w"].const_value
    assert moved.dtype == ir.DataType.INT4
    assert (moved.numpy().astype(int) >= w.astype(int)).all()
