from __future__ import annotations

from onnxcompress.testing import model_of
from onnxcompress.verify.producers import comparable

GUARDED = """g (float[N, 4] x) => (float[N, 4] y) <float zero = {0}> {
    s = Softmax (x)
    bad = IsNaN (s)
    safe = Where (bad, zero, s)
    y = Tanh (safe)
}"""
ROUNDED = """g (float[N, 4] x) => (float[N, 4] y) {
    s = Softmax (x)
    r = Round (s)
    y = Tanh (r)
}"""


def test_a_guard_against_nan_does_not_hide_what_comes_after():
    assert comparable(model_of(GUARDED)) == ["y"]


def test_before_a_step_that_jumps_its_input_is_compared():
    assert comparable(model_of(ROUNDED)) == ["s"]
