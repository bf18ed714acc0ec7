"""onnx's version converter, and what it must leave as it was."""

from __future__ import annotations

import numpy as np
import onnx.checker
import onnx.parser
import onnx.reference
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxcompress import quantize
from onnxcompress.errors import ModelError
from onnxcompress.model_io.opset import raise_opset
from onnxcompress.testing.texts import model_of
from onnxcompress.verify import check_interface


def test_named_sizes_of_outputs_stay_where_the_converter_knows_their_numbers() -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N,2] x) => (float[P,Q] y) { y = Relu(x) }'
    before, after = model_of(text), model_of(text)
    raise_opset(after, 21)
    assert after.graph.opset_imports[""] == 21
    check_interface(before, after)


WITH_FUNCTION = """<ir_version: 8, opset_import: ["": 17, "my": 1]> g (float[2,3] x) => (float[2,3] y) {
    a = my.Twice(x)  y = my.Twice(a) }
    <domain: "my", opset_import: ["": INSIDE]> Twice (i) => (o) { n = Neg(i)  o = Sub(i, n) }"""


def test_functions_are_written_out_and_raised_with_the_model() -> None:
    model = ir.from_proto(onnx.parser.parse_model(WITH_FUNCTION.replace("INSIDE", "17")))
    raise_opset(model, 21)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert not proto.functions
    assert [node.op_type for node in proto.graph.node] == ["Neg", "Sub"] * 2
    (y,) = onnx.reference.ReferenceEvaluator(proto).run(None, {"x": np.ones((2, 3), np.float32)})
    assert (y == 4).all()


def test_functions_of_another_operator_set_are_refused() -> None:
    model = ir.from_proto(onnx.parser.parse_model(WITH_FUNCTION.replace("INSIDE", "18")))
    with pytest.raises(ModelError, match="cannot raise the model from operator set 17 to 21"):
        raise_opset(model, 21)
    assert len(model.functions) == 1


def test_int16_needs_operator_set_21_and_takes_a_model_with_functions_there() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "my": 1]> g (float[N,3] x, float[3,3] w) => (float[N,3] y) {
        a = my.Product(x, w)  y = MatMul(a, w) }
        <domain: "my", opset_import: ["": 17]> Product (i, m) => (o) { p = MatMul(i, m)  o = Relu(p) }"""
    proto = onnx.parser.parse_model(text)
    del proto.graph.input[1]
    rng = np.random.default_rng(5)
    proto.graph.initializer.append(numpy_helper.from_array(rng.normal(size=(3, 3)).astype(np.float32), "w"))
    data = {"x": rng.normal(size=(16, 3)).astype(np.float32)}
    result = quantize(proto, data=data, activations="int16", effort="fast")
    assert result.model.graph.opset_imports[""] == 21
