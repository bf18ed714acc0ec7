"""Scales of Q/DQ nodes: trained, tied, followed by bias scales, and written back on the grid."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import model

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.fake_quant import from_grid, grown, to_grid
from onnxcompress.distill.trainer import snapshot
from onnxcompress.distill.write_back import write_back
from onnxcompress.runtime import Session

CONV = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[N, 2, 6, 6] x) => (float[N, 3, 2, 2] y) {
    xq = QuantizeLinear (x, sx, zx)
    xd = DequantizeLinear (xq, sx2, zx)
    wd = DequantizeLinear <axis = 0> (w, sw, zw)
    bd = DequantizeLinear <axis = 0> (b, sb)
    c = Conv (xd, wd, bd)
    cq = QuantizeLinear (c, sc, zx)
    cd = DequantizeLinear (cq, sc, zx)
    m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (cd)
    mq = QuantizeLinear (m, sc, zx)
    y = DequantizeLinear (mq, sc, zx)
}
"""


def conv_model(factor: float = 1.0) -> ir.Model:
    rng = np.random.default_rng(1)
    sx, sw = np.float32(0.031 * factor), np.array([0.02, 0.03, 0.04], np.float32)
    weights = {
        "sx": sx, "sx2": sx, "zx": np.uint8(128), "w": rng.integers(-100, 100, (3, 2, 3, 3)).astype(np.int8), "sw": sw,
        "zw": np.zeros(3, np.int8), "b": rng.integers(-500, 500, 3).astype(np.int32), "sb": sw * sx,
        "sc": np.float32(0.07),
    }  # fmt: skip
    return model(CONV, {n: np.asarray(a) for n, a in weights.items()})


def samples(count: int = 16) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=(count, 2, 6, 6)).astype(np.float32)}


def numbers(made: ir.Model) -> dict[str, np.ndarray]:
    return {n: v.const_value.numpy().copy() for n, v in made.graph.initializers.items()}


def trained(made: ir.Model, steps: int = 20) -> Bridge:
    """A bridge after some steps that make the output small."""
    bridge, feeds = Bridge(made, scales=True), samples()
    optimizer = torch.optim.Adam([p for _, p in bridge.trainable()], lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        bridge.specialise(feeds).run(feeds)["y"].square().mean().backward()
        optimizer.step()
    return bridge


def test_scales_are_weights_and_equal_ones_are_one():
    bridge = Bridge(conv_model(), scales=True)
    assert [w.name for w in bridge.weights if w.role == "scale"] == ["sx", "sx2", "sw", "sc"]
    assert [w.name for w, _ in bridge.trainable() if w.role == "scale"] == ["sx", "sw", "sc"]
    assert [v.name for v in bridge.follow] == ["sb"]


def test_without_the_option_scales_stay():
    assert {w.role for w in Bridge(conv_model()).weights} == {"weight", "bias"}


def test_untrained_scales_change_no_number_and_no_byte():
    made, feeds = conv_model(), samples()
    before = numbers(made)
    bridge = Bridge(made, scales=True)
    found = bridge.specialise(feeds).run(feeds)["y"].detach().numpy()
    np.testing.assert_allclose(found, Session(made, optimize=False).run(feeds)["y"], atol=1e-6)
    assert write_back(made, bridge, snapshot(bridge)) == []
    assert all(np.array_equal(before[n], a) for n, a in numbers(made).items())


def test_the_gradient_of_a_scale_is_that_of_learned_step_sizes():
    x = torch.tensor([-100.0, -0.26, 0.1, 0.4, 100.0])
    growth = torch.zeros((), requires_grad=True)
    scale, zero = grown(torch.tensor(0.5), growth), torch.tensor(3.0)
    from_grid(to_grid(x, scale, zero, -8, 7), scale, zero).sum().backward()
    inside = (-1 + 0.26 / 0.5) + (0 - 0.1 / 0.5) + (1 - 0.4 / 0.5)
    assert growth.grad.item() == pytest.approx(0.5 * ((-8 - 3) + inside + (7 - 3)))


def test_trained_scales_go_back_and_the_bias_scale_follows():
    made, feeds = conv_model(), samples()
    before = numbers(made)
    start = snapshot(Bridge(made, scales=True))
    bridge = trained(made)
    wanted = bridge.specialise(feeds).run(feeds)["y"].detach().numpy()
    changed = set(write_back(made, bridge, start))
    after = numbers(made)
    assert {"sx", "sx2", "sw", "sc", "sb", "w"} <= changed
    assert after["sx"] == after["sx2"] != before["sx"]
    np.testing.assert_allclose(after["sb"], after["sx"] * after["sw"], rtol=1e-6)
    assert {n: a.dtype for n, a in after.items()} == {n: a.dtype for n, a in before.items()}
    np.testing.assert_allclose(Session(made, optimize=False).run(feeds)["y"], wanted, atol=1e-5)


def test_onnx_runtimes_integer_kernels_give_what_was_trained_up_to_a_step():
    made, feeds = conv_model(), samples()
    start = snapshot(Bridge(made, scales=True))
    bridge = trained(made)
    wanted = bridge.specialise(feeds).run(feeds)["y"].detach().numpy()
    write_back(made, bridge, start)
    step = float(numbers(made)["sc"])
    difference = np.abs(Session(made).run(feeds)["y"] - wanted)
    assert difference.max() <= step * 1.001
    assert (difference > step / 2).mean() < 0.02


def test_a_scale_that_moved_regrids_weights_that_did_not():
    made, feeds = conv_model(), samples()
    bridge = Bridge(made, scales=True)
    start = snapshot(bridge)
    growth = next(p for w, p in bridge.trainable() if w.name == "sw")
    with torch.no_grad():
        growth.fill_(0.5)
    wanted = bridge.specialise(feeds).run(feeds)["y"].detach().numpy()
    assert set(write_back(made, bridge, start)) == {"sw", "sb", "w", "b"}
    np.testing.assert_allclose(Session(made, optimize=False).run(feeds)["y"], wanted, atol=1e-5)


def test_scales_that_are_all_powers_of_two_stay():
    made = conv_model()
    for name, value in made.graph.initializers.items():
        if name.startswith("s"):
            array = 2.0 ** np.round(np.log2(value.const_value.numpy()))
            value.const_value = ir.tensor(array.astype(np.float32), name=name)
    bridge = Bridge(made, scales=True)
    assert "scale" not in {w.role for w in bridge.weights}
    assert [f.code for f in bridge.findings] == ["DISTILL-SCALES-POWERS"]


def test_a_bias_scale_of_two_layers_keeps_the_factors_as_they_are():
    text = CONV.replace("c = Conv (xd, wd, bd)", "v = DequantizeLinear <axis = 0> (w2, sw2, zw)  c0 = Conv (xd, wd, bd)"
                        "  c1 = Conv (xd, v, bd)  c = Add (c0, c1)")  # fmt: skip
    one = numbers(conv_model())
    made = model(text, {**one, "w2": one["w"][::-1].copy(), "sw2": one["sw"].copy()})
    names = {w.name for w in Bridge(made, scales=True).weights if w.role == "scale"}
    assert names == {"sc"}
