from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.linear import linear_of
from onnxcompress.passes.reconstruction.patches import choose
from onnxcompress.runtime import Session

# One row a case: node text, shapes of x, w and b (empty: none).
CASES = {
    "padded": ("Conv<pads=[1,1,1,1]>(x, w, b)", (2, 3, 7, 6), (4, 3, 3, 3), (4,)),
    "strided, uneven pads": ("Conv<pads=[0,2,1,0], strides=[2,3]>(x, w, b)", (2, 3, 9, 11), (4, 3, 3, 2), (4,)),
    "dilated, no bias": ("Conv<dilations=[2,1]>(x, w)", (2, 3, 8, 8), (4, 3, 3, 3), ()),
    "grouped": ("Conv<group=2, pads=[1,1,1,1]>(x, w, b)", (2, 4, 5, 5), (6, 2, 3, 3), (6,)),
    "depthwise": ("Conv<group=4, strides=[2,2]>(x, w, b)", (2, 4, 7, 7), (4, 1, 3, 3), (4,)),
    "1-D": ("Conv<pads=[2,0]>(x, w, b)", (2, 3, 9), (4, 3, 3), (4,)),
    "3-D": ("Conv<pads=[1,0,1,1,0,1]>(x, w)", (1, 2, 4, 5, 3), (3, 2, 2, 3, 2), ()),
    "same upper": ('Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w, b)', (2, 3, 8, 7), (4, 3, 3, 4), (4,)),
    "same lower": ('Conv<auto_pad="SAME_LOWER", strides=[2,1]>(x, w, b)', (2, 3, 8, 7), (4, 3, 3, 4), (4,)),
    "valid": ('Conv<auto_pad="VALID", strides=[2,2]>(x, w, b)', (2, 3, 8, 7), (4, 3, 3, 4), (4,)),
    "transposed": ("ConvTranspose<strides=[2,2], pads=[1,0,0,1]>(x, w, b)", (2, 3, 4, 5), (3, 4, 3, 3), (4,)),
    "transposed, dilated": ("ConvTranspose<dilations=[2,2]>(x, w)", (2, 3, 4, 5), (3, 4, 3, 2), ()),
    "transposed, grouped": ("ConvTranspose<group=2, strides=[2,1]>(x, w, b)", (2, 4, 4, 5), (4, 3, 2, 3), (6,)),
    "transposed, extra": (
        "ConvTranspose<strides=[3,2], output_padding=[1,1], pads=[1,1,1,1]>(x, w)", (1, 2, 4, 4), (2, 3, 3, 3), (),
    ),
    "transposed, same upper": (
        'ConvTranspose<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)', (1, 2, 4, 5), (2, 3, 3, 4), (),
    ),
    "transposed, same lower": (
        'ConvTranspose<auto_pad="SAME_LOWER", strides=[2,2]>(x, w)', (1, 2, 4, 5), (2, 3, 3, 4), (),
    ),
    "transposed, shape": ("ConvTranspose<output_shape=[8,9], strides=[2,2]>(x, w)", (1, 2, 4, 4), (2, 3, 3, 3), ()),
    "transposed, 1-D": ("ConvTranspose<strides=[2]>(x, w, b)", (2, 3, 5), (3, 2, 4), (2,)),
    "transposed, 3-D": ("ConvTranspose<strides=[2,1,2]>(x, w)", (1, 2, 3, 2, 3), (2, 2, 2, 2, 3), ()),
    "gemm": ("Gemm(x, w, b)", (5, 3), (3, 4), (4,)),
    "gemm, turned and scaled": ("Gemm<alpha=0.5, beta=2.0, transA=1, transB=1>(x, w, b)", (3, 5), (4, 3), (1, 4)),
    "gemm, one bias for all": ("Gemm<transB=1>(x, w, b)", (5, 3), (4, 3), (1,)),
    "gemm, no bias": ("Gemm(x, w)", (5, 3), (3, 4), ()),
    "matmul": ("MatMul(x, w)", (2, 5, 3), (3, 4), ()),
    "matmul, constant on the left": ("MatMul(w, x)", (2, 3, 5), (4, 3), ()),
}  # fmt: skip


def _linear(case: str) -> tuple[Linear, np.ndarray, np.ndarray]:
    text, x_shape, *rest = CASES[case]
    generator = np.random.default_rng(7)
    sizes = ",".join(map(str, x_shape))
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[{sizes}] x) => (float y) {{ y = {text} }}'
    )
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    for name, shape in zip("wb", rest, strict=True):
        if shape:
            proto.graph.initializer.append(
                onnx.numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)
            )
    model = ir.from_proto(proto)
    x = generator.normal(size=x_shape).astype(np.float32)
    found = linear_of(next(iter(model.graph)), 0)
    assert isinstance(found, Linear)
    return found, x, Session(model).run({"x": x})["y"]


@pytest.mark.parametrize("case", CASES)
def test_rows_times_weights_are_what_the_operator_computes(case):
    linear, x, y = _linear(case)
    everywhere = np.arange(linear.count(x.shape))
    assert len(everywhere) == linear.positions(y.shape)
    product = linear.rows(x, everywhere) @ linear.matrix()
    np.testing.assert_allclose(product, linear.targets(y, everywhere), rtol=1e-4, atol=1e-4)
    groups, columns, outputs = linear.shape()
    assert linear.matrix().shape == (groups, columns, outputs)


@pytest.mark.parametrize("case", CASES)
def test_what_is_stored_is_what_is_read(case):
    linear, _, _ = _linear(case)
    wanted = np.random.default_rng(1).normal(size=linear.shape())
    linear.store(wanted)
    again = linear_of(linear.node, 0)
    assert isinstance(again, Linear)
    np.testing.assert_allclose(again.matrix(), wanted, rtol=1e-6)


@pytest.mark.parametrize("case", ["strided, uneven pads", "transposed, grouped", "matmul, constant on the left"])
def test_chosen_rows_are_those_of_all_rows(case):
    linear, x, y = _linear(case)
    some = np.array([0, 3, linear.count(x.shape) - 1])
    everywhere = np.arange(linear.count(x.shape))
    np.testing.assert_array_equal(linear.rows(x, some), linear.rows(x, everywhere)[:, some])
    np.testing.assert_array_equal(linear.targets(y, some), linear.targets(y, everywhere)[:, some])


def test_choice_is_sorted_and_without_repetition():
    picked = choose(100, 20, np.random.default_rng(0))
    assert len(np.unique(picked)) == 20
    assert np.all(np.diff(picked) > 0)
    assert np.array_equal(choose(5, 20, np.random.default_rng(0)), np.arange(5))
