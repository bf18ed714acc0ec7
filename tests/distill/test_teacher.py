"""The teacher in ONNX Runtime gives the tensors of a batch, also where it takes another number of samples at once."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.distill_models import model, pictures, residual

from onnxcompress.distill.teacher import Teacher
from onnxcompress.distill.torch_teacher import TorchTeacher
from onnxcompress.runtime_options import RuntimeOptions


def fixed(count: int) -> ir.Model:
    """The net with its batch set."""
    model = residual()
    for value in (*model.graph.inputs, *model.graph.outputs):
        assert value.shape is not None
        value.shape = ir.Shape([count, *value.shape.dims[1:]])
    return model


@pytest.mark.parametrize(("takes", "rows"), [(1, 6), (4, 8), (4, 6), (8, 3), (6, 6)])
def test_a_fixed_batch_is_no_hindrance(takes: int, rows: int) -> None:
    feeds = pictures(16).read(range(rows))
    options = RuntimeOptions(threads=1)
    wanted = Teacher(residual(), ["logits"], (), options).arrays(feeds)
    made = Teacher(fixed(takes), ["logits"], (), options).arrays(feeds)
    assert made["logits"].shape == wanted["logits"].shape
    np.testing.assert_allclose(made["logits"], wanted["logits"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("takes", "rows"), [(1, 3), (4, 8), (4, 6), (8, 3)])
def test_nor_in_torch(takes: int, rows: int) -> None:
    feeds = pictures(16).read(range(rows))
    wanted = Teacher(residual(), ["logits"], (), RuntimeOptions(threads=1)).arrays(feeds)
    made = TorchTeacher(fixed(takes), ["logits"]).arrays(feeds)
    np.testing.assert_allclose(made["logits"], wanted["logits"], rtol=1e-4, atol=1e-5)


def test_a_scalar_setting_is_no_batch() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> net (int64 n, float[N, 2] x) => (float[N, 2] y) {'
    made = model(f"{text} f = Cast <to = 1> (n)  y = Mul (x, f) }}", {})
    feeds = {"n": np.array(3), "x": np.ones((4, 2), np.float32)}
    np.testing.assert_array_equal(Teacher(made, ["y"]).arrays(feeds)["y"], np.full((4, 2), 3, np.float32))
