"""One scale and one shift a channel."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.data import ArraySource
from onnxcompress.passes.reconstruct import Reconstruct
from onnxcompress.passes.reconstruction.affine import fit_affine, norm_of
from onnxcompress.runtime import Session
from onnxcompress.testing import context

FOLDS = np.arange(500) % 5


def _rows(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(500, 3))


def test_scale_and_shift_come_back():
    y = _rows()
    found = fit_affine(y, y * [2.0, 0.5, 1.0] + [1.0, -3.0, 0.0], FOLDS)
    np.testing.assert_allclose(found.scale, [2.0, 0.5, 1.0], rtol=1e-6)
    np.testing.assert_allclose(found.shift, [1.0, -3.0, 0.0], atol=1e-6)
    assert found.after < 1e-12 < found.before


def test_least_squares_equals_a_brute_force_fit():
    y = _rows()
    t = 1.5 * y + 0.4 + _rows(1)
    found = fit_affine(y, t, FOLDS)
    part = FOLDS != 0
    for channel in range(3):
        tall = np.stack([y[part, channel], np.ones(part.sum())], 1)
        brute = np.linalg.lstsq(tall, t[part, channel], rcond=None)[0]
        moments = t[part, channel].std() / y[part, channel].std()
        assert np.isclose(found.scale[channel], brute[0]) or np.isclose(found.scale[channel], moments)
        assert np.isclose(
            found.shift[channel], t[part, channel].mean() - found.scale[channel] * y[part, channel].mean()
        )


def test_what_cannot_gain_and_constant_channels_stay():
    y = _rows()
    y[:, 2] = 4.0
    found = fit_affine(y, y, FOLDS)
    np.testing.assert_array_equal(found.scale, 1.0)
    assert np.isfinite(fit_affine(y, _rows(3), FOLDS).scale).all()


def _normed(gamma: float) -> ir.Model:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,4] y)
        { h = Mul(x, x) y = LayerNormalization(h, s, b) }"""
    )
    arrays = {"s": np.full(4, gamma, np.float32), "b": np.zeros(4, np.float32)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    return ir.from_proto(proto)


def test_a_norm_gets_its_scale_back():
    teacher, student = _normed(2.0), _normed(0.7)
    x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    findings = list(Reconstruct().run(student, context(student, teacher=teacher, data=ArraySource({"x": x}))))
    assert [f.code for f in findings] == ["RECONSTRUCT-RESCALED", "RECONSTRUCT-DONE"]
    ours, theirs = (Session(m).run({"x": x})["y"] for m in (student, teacher))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_batch_norm_behind_a_convolution_is_left_to_it():
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[N,2,4,4] x, float[2,2,1,1] w) => (float[N,2,4,4] y)
        <float[2] s = {1,1}, float[2] b = {0,0}, float[2] m = {0,0}, float[2] v = {1,1}>
        { c = Conv(x, w) d = BatchNormalization(c, s, b, m, v) y = BatchNormalization(d, s, b, m, v) }"""
    )
    _, behind, again = ir.from_proto(proto).graph
    assert norm_of(behind) is None
    assert norm_of(again) is not None


def test_a_layer_beyond_the_memory_is_rescaled():
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,500] x) => (float[N,3] y) { y = Gemm(x, w, b) }'
    )
    w = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    arrays = {"w": w, "b": np.ones(3, np.float32)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    teacher = ir.from_proto(proto)
    student = graph.clone(teacher)
    graph.set_constant(student.graph.initializers["w"], 0.5 * w)
    x = np.random.default_rng(1).normal(size=(100, 500)).astype(np.float32)
    given = context(student, teacher=teacher, data=ArraySource({"x": x}))
    findings = list(Reconstruct().run(student, dataclasses.replace(given, memory_bytes=50_000)))
    assert findings[0].code == "RECONSTRUCT-RESCALED"
    np.testing.assert_allclose(graph.array_of(student.graph.initializers["w"]), w, rtol=1e-3)
