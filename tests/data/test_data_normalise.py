"""Scale, mean and std on arrays, and what of them is refused."""

from __future__ import annotations

import numpy as np
import pytest
from builders.data_models import model_taking

from onnxcompress.data import open_data
from onnxcompress.errors import UsageError

PIXELS = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
MODEL = "float[N,1,4,4] x"


def everything(array, model=MODEL, **options):
    source = open_data({"x": array}, model_taking(model), **options)
    return source.read(np.arange(len(source)))["x"]


def test_raw_bytes_with_a_mean_are_scaled_by_255():
    expected = ((PIXELS / 255 - 0.286) / 0.353)[:, None].astype(np.float32)
    for scale in (None, "1/255", 1 / 255):
        np.testing.assert_allclose(everything(PIXELS, mean=0.286, std=0.353, scale=scale), expected, rtol=1e-5)
    np.testing.assert_allclose(
        everything(PIXELS, mean=127, std=128, scale=1), (PIXELS[:, None] - 127.0) / 128, rtol=1e-6
    )


def test_raw_bytes_without_options_and_floats_stay_as_they_are():
    np.testing.assert_array_equal(everything(PIXELS), PIXELS[:, None])
    floats = PIXELS.astype(np.float16)
    np.testing.assert_allclose(everything(floats, mean=1.0), floats[:, None].astype(np.float32) - 1)


def test_one_number_a_channel_runs_along_the_models_channels():
    stored = np.ones((2, 4, 4, 3), np.float32)
    read = everything(stored, "float[N,3,4,4] x", mean=(1, 2, 3), std=(1, 2, 4))
    np.testing.assert_allclose(read[0, :, 0, 0], [0, -0.5, -0.5])
    tabular = everything(np.ones((2, 7, 5), np.float32), "float[N,7,5] x", mean=range(5))
    np.testing.assert_allclose(tabular[0, 0], 1 - np.arange(5))


def test_inputs_of_other_dims_are_left_alone():
    model = model_taking("float[N,2] a", "float[N,2] b", "float[1,N,3] state")
    arrays = {"a": np.ones((5, 2), "f4"), "b": np.ones((5, 2), "f4"), "state": np.ones((5, 1, 3), "f4")}
    read = open_data(arrays, model, mean=1.0).read([0])
    assert read["a"].sum() == 0 and read["b"].sum() == 0 and read["state"].sum() == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": "1/0"}, "--scale 1/0 is not a factor"),
        ({"scale": "x"}, "--scale x"),
        ({"std": 0.0}, "a std is never 0"),
        ({"mean": float("nan")}, "--mean needs finite numbers"),
        ({"mean": (1, 2, 3)}, "mean or std has 3 numbers"),
        ({"preset": "resnet"}, "unknown preset 'resnet'"),
        ({"channel_order": "gbr"}, "unknown channel order"),
        ({"layout": "chwn"}, "unknown layout"),
    ],
)
def test_refused(options, words):
    with pytest.raises(UsageError) as caught:
        everything(PIXELS, **options)
    assert words in str(caught.value)
