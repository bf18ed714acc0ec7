from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress import graph
from onnxcompress.passes.reconstruction.means import compensate
from onnxcompress.runtime import Session

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] out)
<
  float[3, 2, 1, 1] w0 = {1, 2, 0.5, -1, 1, 1},
  float[3] scale = {1, SCALE, 1}, float[3] shift = {0, SHIFT, 0}, float[3] mean = {0, 0, 0}, float[3] var = {1, 1, 1},
  float[2, 3, 1, 1] w1 = {1, 2, 3, 4, 5, 6}
>
{
   h = Conv (x, w0)
   n = BatchNormalization (h, scale, shift, mean, var)
   a = Relu (n)
   out = Conv (a, w1)
}
"""


def _pair(scale: float, shift: float) -> tuple[ir.Model, ir.Model]:
    """A teacher and the student that lost its middle channel."""
    teacher = ir.from_onnx_text(TEXT.replace("SCALE", str(scale)).replace("SHIFT", str(shift)))
    student = graph.clone(teacher)
    for name, axis in (("w0", 0), ("scale", 0), ("shift", 0), ("mean", 0), ("var", 0), ("w1", 1)):
        value = student.graph.initializers[name]
        graph.set_constant(value, np.ascontiguousarray(np.delete(graph.array_of(value), 1, axis)))
    return teacher, student


def _kept() -> dict[str, dict[int, list[int]]]:
    return {name: {1: [0, 2]} for name in ("h", "n", "a")}


@pytest.mark.parametrize("shift", [2.0, 0.25])
def test_a_constant_channel_is_compensated_exactly(shift: float) -> None:
    teacher, student = _pair(0.0, shift)
    findings = list(compensate(student, teacher, _kept(), {"out"}))
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(np.float32)
    expected, got = (Session(m).run({"x": x})["out"] for m in (teacher, student))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert [f.code for f in findings] == ["RECONSTRUCT-MEAN"]


def test_the_mean_of_a_relu_is_the_gaussian_one() -> None:
    """E[relu(z)] = 1 / sqrt(2 pi) for z ~ N(0, 1)."""
    teacher, student = _pair(1.0, 0.0)
    list(compensate(student, teacher, _kept(), {"out"}))
    node = next(n for n in student.graph if n.outputs[0].name == "out")
    bias = graph.array_of(node.inputs[2])
    np.testing.assert_allclose(bias, np.asarray([2, 5]) / np.sqrt(2 * np.pi), rtol=2e-2)


def test_without_a_normalisation_nothing_is_claimed() -> None:
    teacher, student = _pair(1.0, 0.0)
    for model in (teacher, student):
        relu = next(n for n in model.graph if n.op_type == "Relu")
        relu.replace_input_with(0, next(n for n in model.graph if n.op_type == "Conv").outputs[0])
    findings = list(compensate(student, teacher, _kept(), {"out"}))
    assert [f.code for f in findings] == ["RECONSTRUCT-NO-MEAN"]
