from __future__ import annotations

import numpy as np
import pytest
from builders.pruning_models import net

from onnxcompress.graph import in_scope
from onnxcompress.passes.pruning.cells import cells
from onnxcompress.passes.pruning.importance import importance, weighed
from onnxcompress.passes.pruning.rules import RULES
from onnxcompress.passes.pruning.walk import trace
from onnxcompress.shapes import infer
from onnxcompress.testing import context


def test_half_of_a_wide_layer_is_worth_half_of_a_narrow_one_and_a_stream_all_that_it_crosses():
    """a and c feed one sum (three readers and makers more), b is inner and wide."""
    model = net(
        "g (float[N,4] x) => (float[N,2] y) { a = Gemm(x, w0) b = Gemm(a, w1) r = Relu(b) c = Gemm(r, w2) "
        "s = Add(a, c) y = Gemm(s, w3) }",
        {"w0": (4, 8), "w1": (8, 32), "w2": (32, 8), "w3": (8, 2)},
    )
    found = trace(model, infer(model, values=True), RULES, in_scope(model), set())
    scores = importance(found, "l2", context(model))[0]
    stream, inner = weighed(found, cells(found, scores), scores)
    assert (stream.width, inner.width) == (8, 32)
    assert stream.importance.sum() == pytest.approx(4), "w0, w1, w2 and w3 each lose all"
    assert inner.importance.sum() == pytest.approx(2)
    assert (np.diff(stream.importance) >= 0).all()
