"""Kernels that are computed from constants are learned, frequencies of angles are not."""

from __future__ import annotations

import numpy as np
import pytest
from builders.distill_models import model

from onnxcompress.data import ArraySource
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.settings import Settings
from onnxcompress.distill.weights import find_weights
from onnxcompress.graph import clone
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'
RNG = np.random.default_rng(0)
FEEDS = {"x": RNG.normal(size=(5, 3, 8)).astype(np.float32)}
NORMED = """net (float[N, 3, 8] x) => (float[N, 4, 8] y) {
    size = ReduceL2 <axes = [1, 2], keepdims = 1> (v)  gain = Div (g, size)  w = Mul (v, gain)
    y = Conv <pads = [1, 1]> (x, w) }"""
STANDARD = """net (float[N, 3, 8] x) => (float[N, 4, 8] y) {
    m = ReduceMean <axes = [1, 2], keepdims = 1> (v)  d = Sub (v, m)
    s = Mul (d, d)  q = ReduceMean <axes = [1, 2], keepdims = 1> (s)  r = Sqrt (q)  w = Div (d, r)
    y = Conv <pads = [1, 1]> (x, w) }"""
MASKED = "net (float[N, 3, 8] x) => (float[N, 4, 8] y) { w = Mul (v, mask)  y = Conv <pads = [1, 1]> (x, w) }"


def kernel(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


V, G = kernel(4, 3, 3), kernel(4, 1, 1) + 3
MASK = (RNG.random((4, 3, 3)) < 0.5).astype(np.float32)


def roles(text: str, weights: dict[str, np.ndarray]) -> dict[str, str]:
    return {w.name: w.role for w in find_weights(model(HEAD + text, weights))[0]}


@pytest.mark.parametrize(
    ("text", "weights", "found"),
    [
        (NORMED, {"v": V, "g": G}, {"v": "weight", "g": "weight"}),
        (STANDARD, {"v": V}, {"v": "weight"}),
        (MASKED, {"v": V, "mask": MASK}, {"v": "weight"}),
    ],
    ids=["weight normalization", "weight standardization", "mask"],
)
def test_a_computed_kernel_is_learned(text: str, weights: dict[str, np.ndarray], found: dict[str, str]) -> None:
    assert roles(text, weights) == found
    teacher = model(HEAD + text, weights)
    bridge = Bridge(teacher)
    made = bridge.specialise(FEEDS).run(FEEDS)["y"]
    np.testing.assert_allclose(made.detach(), Session(teacher).run(FEEDS)["y"], rtol=1e-4, atol=1e-5)
    made.square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in bridge.parameters)


def test_a_student_with_normalized_weights_comes_back() -> None:
    teacher = model(HEAD + NORMED, {"v": V, "g": G})
    student = model(HEAD + NORMED, {"v": V + 0.5 * kernel(4, 3, 3), "g": 0.7 * G})
    data = ArraySource({"x": RNG.normal(size=(200, 3, 8)).astype(np.float32)})
    far = [float(np.square(Session(student).run(FEEDS)["y"] - Session(teacher).run(FEEDS)["y"]).mean())]
    settings = Settings(steps=150, rate=2e-2, batch_size=32)
    distill(Job(student, teacher, data, None, settings, RuntimeOptions(threads=1)))
    far.append(float(np.square(Session(student).run(FEEDS)["y"] - Session(teacher).run(FEEDS)["y"]).mean()))
    assert far[1] < 0.05 * far[0]
    assert [n.op_type for n in student.graph] == [n.op_type for n in clone(teacher).graph]


def test_integers_that_are_scaled_by_hand_are_left_alone() -> None:
    text = """net (float[N, 8] x) => (float[N, 4] y) {
        f = Cast <to = 1> (q)  d = Sub (f, z)  w = Mul (d, s)  y = MatMul (x, w) }"""
    weights = {"q": RNG.integers(0, 15, (8, 4)).astype(np.uint8), "z": kernel(1, 4), "s": kernel(1, 4)}
    assert roles(text, weights) == {}


ANGLES = "f = Mul (c, inv)  a = Cos (f)  b = Sin (f)  h = Mul (x, a)  i = Mul (x, b)  y = Add (h, i) }"


@pytest.mark.parametrize(
    "text",
    [
        "net (float[N, 5, 4] x, int64[N, 5] p) => (float[N, 5, 4] y) { t = Unsqueeze (p, last)  c = Cast <to = 1> (t)  "
        + ANGLES,
        "net (float[N, S, 4] x) => (float[N, S, 4] y) { n = Shape (x)  e = Gather (n, one)  r = Range (zero, e, one)  "
        "t = Unsqueeze (r, last)  c = Cast <to = 1> (t)  " + ANGLES,
        "net (float[N, S, 4] x) => (float[N, S, 4] y) { n = Shape (x)  e = Gather (n, one)  r = Range (zero, e, one)  "
        "t = Unsqueeze (r, last)  c = Cast <to = 1> (t)  row = Unsqueeze (inv, start)  "
        + ANGLES.replace("Mul (c, inv)", "MatMul (c, row)", 1),
    ],
    ids=["positions given", "positions counted", "as a product of matrices"],
)
def test_frequencies_stay(text: str) -> None:
    known = {"last": np.array([-1]), "one": np.array(1), "zero": np.array(0), "start": np.array([0])}
    weights = {name: array.astype(np.int64) for name, array in known.items() if name in text}
    assert roles(text, {**weights, "inv": kernel(4)}) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("net (float[N, 8] x) => (float[N, 4] y) { m = MatMul (x, w)  y = Sin (m) }", {"w": "weight"}),
        ("net (float[N, 4] x) => (float[N, 4] y) { m = Mul (x, w)  y = Sin (m) }", {"w": "norm"}),
        ("net (int64[N, 8] x) => (float[N, 4] y) { c = Cast <to = 1> (x)  y = MatMul (c, w) }", {"w": "weight"}),
    ],
    ids=["a sine as activation", "its frequency by channel", "whole numbers as features"],
)
def test_what_looks_like_frequencies_is_learned(text: str, found: dict[str, str]) -> None:
    shape = (4,) if "Mul (x" in text and "MatMul" not in text else (8, 4)
    assert roles(text, {"w": kernel(*shape)}) == found
