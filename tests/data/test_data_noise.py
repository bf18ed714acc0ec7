"""`random:N`, and noise that comes in a file."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress.data import canonical, check_data, looks_like_noise, open_data
from onnxcompress.errors import DataError, UsageError

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, 8, 8] x, int64[N, 4] ids) => (float[N, 3, 8, 8] y) { y = Relu (x) }"""


def test_random_samples_have_the_inputs_sizes_and_are_told_as_made_up():
    net = ir.from_onnx_text(TEXT)
    source = canonical(open_data("random:20", net)).subset(range(10))
    arrays = source.read(range(10))
    assert {n: (a.shape, a.dtype.name) for n, a in arrays.items()} == {
        "x": ((10, 3, 8, 8), "float32"),
        "ids": ((10, 4), "int64"),
    }
    assert source.synthetic
    assert [f.code for f in check_data(source, net)] == ["DATA-RANDOM"]


def test_random_samples_are_the_same_every_time():
    net = ir.from_onnx_text(TEXT)
    assert open_data("random:20", net).fingerprint() == open_data("random:20", net).fingerprint()


@pytest.mark.parametrize("spec", ["random:", "random:0", "random:-3", "random:many"])
def test_a_count_is_needed(spec: str):
    with pytest.raises(UsageError, match="number of samples"):
        open_data(spec, ir.from_onnx_text(TEXT))


def test_an_open_size_is_named():
    with pytest.raises(DataError, match="cannot make up samples") as caught:
        open_data("random:4", ir.from_onnx_text(TEXT.replace("N, 3, 8, 8", "N, 3, H, W")))
    assert "'x'" in caught.value.where
    assert "open" in caught.value.why


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("array", "verdict"),
    [
        (noise(64, 3, 12, 12), True),
        (np.random.default_rng(0).integers(0, 256, (64, 1, 28, 28)).astype(np.float32), True),
        (noise(256, 1, 128), True),
        (noise(64, 3, 4, 4).repeat(3, 2).repeat(3, 3), False),
        (np.cumsum(noise(64, 1, 128), axis=2), False),
        (noise(64, 20, 16).cumsum(axis=1), False),  # steps belong together, features need not
        (noise(500, 30), False),  # a table
        (noise(1, 3, 64, 64), False),
        (noise(4, 3, 8, 8), False),  # too few to say
        (np.zeros((64, 3, 12, 12), np.float32), False),
        (noise(64, 3, 12, 12).astype(np.int64), False),
    ],
)
def test_noise_is_told_by_neighbours_that_have_nothing_in_common(array: np.ndarray, verdict: bool):
    assert looks_like_noise(array) is verdict


def test_one_picture_under_all_samples_does_not_hide_the_noise():
    pattern = np.linspace(-5, 5, 144, dtype=np.float32).reshape(12, 12)
    assert looks_like_noise(noise(64, 3, 12, 12) + pattern)
