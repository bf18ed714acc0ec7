"""VGG16's first fully connected layer at 224 x 224, random weights: 25,088 inputs and 4,096 outputs within 1 GB."""

from __future__ import annotations

import resource

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress import graph
from onnxcompress.data import ArraySource
from onnxcompress.passes.reconstruct import Reconstruct
from onnxcompress.testing import context

INPUTS, OUTPUTS = 512 * 49, 4096


def _model(weight: np.ndarray) -> ir.Model:
    model = ir.from_onnx_text(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[N,{INPUTS}] x) => (float[N,{OUTPUTS}] y)'
        "{ h = Gemm<transB=1>(x, w) y = Relu(h) }"
    )
    value = next(v for node in model.graph for v in node.inputs if v is not None and v.name == "w")
    value.const_value, value.shape = ir.tensor(weight, name="w"), ir.Shape(weight.shape)
    value.type = ir.TensorType(ir.DataType.FLOAT)
    model.graph.register_initializer(value)
    return model


@pytest.mark.nightly
def test_the_dual_form_fits_fc6():
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(OUTPUTS, INPUTS)).astype(np.float32) / 158
    teacher = _model(weight)
    student = graph.clone(teacher)
    graph.set_constant(student.graph.initializers["w"], weight * np.float32(0.8))
    low = generator.normal(size=(64, INPUTS)).astype(np.float32)  # inputs of rank 64, as features are nearly
    x = generator.normal(size=(256, 64)).astype(np.float32) @ low
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    findings = list(Reconstruct().run(student, context(student, teacher=teacher, data=ArraySource({"x": x}))))
    numbers = findings[0].numbers
    assert numbers["form"] == "dual"
    assert numbers["error_after"] < 0.05 * numbers["error_before"]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 4 * weight.nbytes + (1 << 30), "copies of the weight itself, and 1 GB of statistics"
