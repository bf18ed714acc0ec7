"""Scales through ReLU6: only for channels that stay below the cap, and only so far that they still do."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from builders.equality import difference, run

from onnxcompress.graph import array_of, clone
from onnxcompress.passes.quantization.equalization import equalize
from onnxcompress.testing import context, model_of

TEXT = """<ir_version: 10, opset_import: ["": 21]>
    g (float[N,2] x) => (float[N,2] y)
    <float[2,3] w = {64.0, 1.0, 0.03125, 32.0, -1.0, 0.03125}, float[3,2] v = {0.1, 0.2, 1.0, -2.0, 2.0, 4.0},
     float low = {0.0}, float high = {6.0}>
    { h = MatMul(x, w) r = Clip(h, low, high) y = MatMul(r, v) }"""
X = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)


def weights(model: ir.Model) -> tuple[np.ndarray, np.ndarray]:
    first, last = model.graph[0], model.graph[-1]
    found = array_of(first.inputs[1]), array_of(last.inputs[1])
    assert found[0] is not None
    assert found[1] is not None
    return found[0], found[1]


def equalized(**options: bool) -> tuple[ir.Model, ir.Model]:
    model = model_of(TEXT)
    after = clone(model)
    ctx = context(model, data={"x": X})
    equalize(after, ctx.data, ctx, per_channel=False, **options)
    return model, after


def test_a_cap_keeps_every_scale_by_default() -> None:
    before, after = equalized()
    for old, new in zip(weights(before), weights(after), strict=True):
        np.testing.assert_array_equal(old, new)


def test_channels_below_the_cap_are_scaled_and_the_one_that_reaches_it_is_not() -> None:
    before, after = equalized(caps=True)
    (old, readers), (new, scaled) = weights(before), weights(after)
    np.testing.assert_array_equal(new[:, 0], old[:, 0])
    assert new[0, 2] > 4 * old[0, 2]
    np.testing.assert_allclose(new[0, 2] * scaled[2], old[0, 2] * readers[2])
    assert (X @ new)[:, 2].max() <= 6
    assert difference(run(ir.to_proto(before), {"x": X}), run(ir.to_proto(after), {"x": X}), 1e-6) == ""
