from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress.passes.reconstruction.patches import ConvGeometry, choose, conv_patches, rows_at
from onnxcompress.runtime import Session


@pytest.mark.parametrize(
    ("spatial", "kernel", "strides", "dilations", "pads", "group"),
    [
        ((7, 9), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
        ((8, 8), (3, 2), (2, 1), (1, 2), (1, 0, 0, 2), 2),
        ((11,), (5,), (3,), (1,), (2, 1), 4),
        ((5, 6, 7), (2, 3, 1), (1, 2, 1), (2, 1, 1), (0,) * 6, 1),
    ],
)
def test_patches_times_weights_is_the_convolution(
    spatial: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
    group: int,
) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, 4, *spatial)).astype(np.float32)
    w = generator.normal(size=(8, 4 // group, *kernel)).astype(np.float32)
    attributes = dict(kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads, group=group)
    y = Session(_conv(x, w, attributes)).run({"x": x})["y"]
    geometry = ConvGeometry(kernel, strides, dilations, pads, group)
    positions = choose(y.size // 8, 20, generator)
    rows = conv_patches(x, geometry, positions)
    mine = rows @ w.reshape(group, 8 // group, -1).transpose(0, 2, 1)
    theirs = rows_at(y, positions).reshape(len(positions), group, -1).transpose(1, 0, 2)
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def _conv(x: np.ndarray, w: np.ndarray, attributes: dict[str, object]) -> ir.Model:
    value = ir.val("x", ir.DataType.FLOAT, x.shape)
    weight = ir.Value(name="w", const_value=ir.tensor(w, name="w"), shape=ir.Shape(w.shape))
    weight.type = ir.TensorType(ir.DataType.FLOAT)
    node = ir.node("Conv", [value, weight], attributes)
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = ir.Shape([None] * x.ndim)
    body = ir.Graph([value], node.outputs, nodes=[node], initializers=[weight], opset_imports={"": 17}, name="g")
    return ir.Model(body, ir_version=8)


def test_choose_takes_everything_when_there_is_little() -> None:
    assert choose(3, 10, np.random.default_rng(0)).tolist() == [0, 1, 2]
    picked = choose(100, 10, np.random.default_rng(0))
    assert len(set(picked.tolist())) == 10
    assert picked.tolist() == sorted(picked.tolist())
