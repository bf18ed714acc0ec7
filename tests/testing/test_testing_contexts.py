from __future__ import annotations

import numpy as np

from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing import context, model_of


def test_a_context_has_what_a_pass_manager_would_give() -> None:
    model = model_of("g (float[N,2] x) => (float[N,2] y) { y = Relu(x) }")
    ctx = context(model, data={"x": np.ones((5, 2), np.float32)}, target="tensorrt", seed=3)
    assert ctx.original is not model
    assert ctx.teacher is ctx.original
    assert ctx.target.name == "tensorrt"
    assert ctx.data is not None
    assert len(ctx.data) == 5
    assert (ctx.seed, ctx.runtime) == (3, RuntimeOptions(threads=1))
