"""onnx's version converter, and what it must leave as it was."""

from __future__ import annotations

from onnxcompress.model_io.opset import raise_opset
from onnxcompress.testing.texts import model_of
from onnxcompress.verify import check_interface


def test_named_sizes_of_outputs_stay_where_the_converter_knows_their_numbers() -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N,2] x) => (float[P,Q] y) { y = Relu(x) }'
    before, after = model_of(text), model_of(text)
    raise_opset(after, 21)
    assert after.graph.opset_imports[""] == 21
    check_interface(before, after)
