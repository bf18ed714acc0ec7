"""Which axis of an input counts samples, and which inputs there are."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from builders.data_models import model_taking

from onnxcompress.data import input_specs
from onnxcompress.errors import ModelError


@pytest.mark.parametrize(
    ("inputs", "axes"),
    [
        (["float[N,3,8,8] x"], [0]),
        (["float[1,3,8,8] x"], [0]),
        (["float[N,T] x", "float[2,N,128] h", "int64 rate"], [0, 1, None]),
        (["float[1,257] x", "float[2,1,16] cache"], [0, None]),
        (["float[8,3] x"], [None]),
    ],
)
def test_batch_axis(inputs, axes):
    assert [spec.batch_axis for spec in input_specs(model_taking(*inputs))] == axes


def test_sample_dims_and_text():
    state = input_specs(model_taking("float[N,T] x", "float[2,N,128] h"))[1]
    assert state.sample_dims == (2, 128)
    assert str(state) == "'h' (float32, 2 x N x 128)"


def test_an_initializer_that_is_an_input_needs_no_data():
    model = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[N] x, float[1] w = {2}) => (float[N] y) { y = Mul(x, w) }
    """)
    assert [spec.name for spec in input_specs(model)] == ["x"]


def test_an_input_that_is_no_tensor_is_refused():
    with pytest.raises(ModelError, match="only tensors") as caught:
        input_specs(model_taking("seq(float[N]) x"))
    assert caught.value.code == "MODEL-INPUT-TYPE"
