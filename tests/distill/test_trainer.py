"""The training loop at its edges."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.distill_models import model

from onnxcompress.data import ArraySource
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.settings import Settings
from onnxcompress.errors import ModelError
from onnxcompress.passes.base import Scope
from onnxcompress.runtime_options import RuntimeOptions

COUNTS = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 6] x) => (float[N, 6] y) {
    [first] h = MatMul (x, w)
    whole = Cast <to = 7> (h)
    back = Cast <to = 1> (whole)
    [last] y = MatMul (back, v)
}
"""


def net(noise: float) -> ir.Model:
    draw, other = np.random.default_rng(0), np.random.default_rng(1)
    arrays = {name: 3 * draw.normal(size=(6, 6)) + noise * other.normal(size=(6, 6)) for name in "wv"}
    return model(COUNTS, {name: array.astype(np.float32) for name, array in arrays.items()})


def trained(scope: Scope) -> set[str]:
    x = np.random.default_rng(2).normal(size=(200, 6)).astype(np.float32)
    settings = Settings(steps=20, rate=1e-2, loss="mse", close=1.0, repair=False)
    job = Job(net(0.3), net(0.0), ArraySource({"x": x}), None, settings, RuntimeOptions(threads=1), scope)
    return {f.code for f in distill(job)}


def test_weights_that_no_gradient_reaches_are_told_at_once():
    with pytest.raises(ModelError, match="no gradient comes from the loss") as caught:
        trained(Scope(only=("first",)))
    assert caught.value.code == "MODEL-NO-WEIGHTS"


def test_those_that_one_reaches_are_trained():
    assert "DISTILL-TRAINED" in trained(Scope())
