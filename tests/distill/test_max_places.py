"""MaxPool with its Indices, and MaxUnpool, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from builders.distill_models import model

from onnxcompress.distill.bridge import Bridge
from onnxcompress.runtime import Session

ATTRIBUTES = (
    "kernel_shape = [2, 2], strides = [2, 2]",
    "kernel_shape = [3, 3], pads = [1, 1, 1, 1]",
    "kernel_shape = [3, 2], strides = [2, 1], pads = [0, 1, 1, 0]",
    "kernel_shape = [2, 2], dilations = [2, 2]",
    "kernel_shape = [2, 2], strides = [2, 2], storage_order = 1",
    "kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1",
)


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_places_of_maxima_equal_onnx_runtime_s(attributes: str) -> None:
    made = model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 3, 7, 6] x) => (float[N, 3, H, W] y, int64[N, 3, H, W] places) {{
            y, places = MaxPool <{attributes}> (x) }}"""
    )
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 3, 7, 6)).astype(np.float32)}
    wanted, found = Session(made, optimize=False).run(feeds), Bridge(made).specialise(feeds).run(feeds)
    np.testing.assert_array_equal(found["y"].numpy(), wanted["y"])
    np.testing.assert_array_equal(found["places"].numpy(), wanted["places"])


def test_maxima_go_back_to_their_places_and_gradients_with_them() -> None:
    made = model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 2, 6, 6] x) => (float[N, 2, 6, 6] y) {
            c = Conv (x, w)
            pooled, places = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
            y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (pooled, places) }""",
        {"w": np.random.default_rng(1).standard_normal((2, 2, 1, 1)).astype(np.float32)},
    )
    feeds = {"x": np.random.default_rng(0).standard_normal((3, 2, 6, 6)).astype(np.float32)}
    bridge = Bridge(made)
    found = bridge.specialise(feeds).run(feeds)["y"]
    np.testing.assert_allclose(found.detach().numpy(), Session(made).run(feeds)["y"], atol=1e-5)
    found.sum().backward()
    ((weight, parameter),) = bridge.trainable()
    assert weight.name == "w" and parameter.grad is not None and float(parameter.grad.abs().sum()) > 0
