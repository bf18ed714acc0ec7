"""Folders of pictures: order, classes, sizes, layouts, presets, broken and huge files."""

from __future__ import annotations

import numpy as np
import pytest
from builders.data_models import model_taking
from PIL import Image

from onnxcompress.data import PRESETS, open_data
from onnxcompress.errors import DataError, UsageError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def paint(path, colour, size=(8, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def first(source):
    return source.read([0])[source.names[0]][0]


@pytest.fixture
def red(tmp_path):
    paint(tmp_path / "a.png", RED)
    return tmp_path


def test_flat_folder_is_sorted_and_unlabelled(tmp_path):
    for name, colour in {"b.png": GREEN, "a.png": RED, "c.png": BLUE}.items():
        paint(tmp_path / name, colour)
    source = open_data(tmp_path, model_taking("float[N,3,8,8] x"))
    assert source.labels([0]) is None
    np.testing.assert_array_equal(source.read([0, 1, 2])["x"][:, :, 0, 0], [RED, GREEN, BLUE])


def test_class_folders_are_labels_in_the_order_of_their_names(tmp_path):
    for name in ("cat/1.png", "cat/2.png", "ant/1.png", "dog/1.png"):
        paint(tmp_path / name, RED)
    source = open_data(tmp_path, model_taking("float[N,3,8,8] x"))
    np.testing.assert_array_equal(source.labels(np.arange(4)), [0, 1, 1, 2])


@pytest.mark.parametrize(
    ("taken", "options", "shape"),
    [("N,3,6,4", {}, (3, 6, 4)), ("N,6,4,3", {}, (6, 4, 3)), ("N,1,6,4", {}, (1, 6, 4)),
     ("N,3,H,W", {"size": (6, 4)}, (3, 6, 4)), ("N,H,W,3", {"size": (6, 4), "layout": "nhwc"}, (6, 4, 3))],
)  # fmt: skip
def test_size_channels_and_layout_come_from_the_model(red, taken, options, shape):
    assert first(open_data(red, model_taking(f"float[{taken}] x"), **options)).shape == shape


def test_crop_keeps_proportions_and_stretch_does_not(tmp_path):
    wide = Image.new("RGB", (24, 8), BLUE)
    wide.paste(Image.new("RGB", (8, 8), RED), (8, 0))
    wide.save(tmp_path / "wide.png")
    model = model_taking("float[N,3,8,8] x")
    cropped = first(open_data(tmp_path, model))
    assert (cropped[0] == 255).all(), "the centre is red from edge to edge"
    stretched = first(open_data(tmp_path, model, resize="stretch"))
    assert stretched[2, :, 0].min() == 255 and stretched[0, :, 4].min() > 200


def test_presets_do_the_arithmetic_of_their_frameworks(red):
    model = model_taking("float[N,3,8,8] x")
    expected = {
        "none": (255, 0, 0),
        "unit": (1, 0, 0),
        "tf": (1, -1, -1),
        "imagenet": ((1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225),
        "imagenet-caffe-bgr": (-103.939, -116.779, 255 - 123.68),
        "clip": ((1 - 0.48145466) / 0.26862954, -0.4578275 / 0.26130258, -0.40821073 / 0.27577711),
    }
    assert sorted(expected) == sorted(PRESETS)
    for preset, pixel in expected.items():
        np.testing.assert_allclose(first(open_data(red, model, preset=preset))[:, 0, 0], pixel, rtol=1e-5)


def test_options_override_a_preset(red):
    source = open_data(red, model_taking("float[N,3,8,8] x"), preset="imagenet", mean=0.5, std=0.5, channel_order="bgr")
    np.testing.assert_allclose(first(source)[:, 0, 0], [-1, -1, 1])


def test_an_integer_model_gets_the_pixels(red):
    assert first(open_data(red, model_taking("uint8[N,3,8,8] x"))).dtype == np.uint8
    with pytest.raises(UsageError, match="no meaning for the uint8 input"):
        open_data(red, model_taking("uint8[N,3,8,8] x"), mean=0.5)


def test_a_broken_picture_names_its_index(tmp_path):
    paint(tmp_path / "a.png", RED)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:30])
    source = open_data(tmp_path, model_taking("float[N,3,8,8] x"))
    source.read([0])
    with pytest.raises(DataError, match=r"sample 1, b\.png") as caught:
        source.read([1])
    assert caught.value.code == "DATA-IMAGE" and str(tmp_path) not in str(caught.value)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    paint(tmp_path / "a.png", RED, size=(64, 64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
    with pytest.raises(DataError, match="decompression bomb"):
        open_data(tmp_path, model_taking("float[N,3,8,8] x")).read([0])


def test_models_that_do_not_take_pictures(red):
    cases = {
        "float[N,30] x": "batch, channels, height and width",
        "float[N,7,8,8] x": "takes 7 channels",
        "float[N,3,H,W] x": "--size 224x224",
    }
    for taken, words in cases.items():
        with pytest.raises((DataError, UsageError)) as caught:
            open_data(red, model_taking(taken))
        assert words in str(caught.value)
    two = model_taking("float[N,2] more", "float[N,3,8,8] x")
    with pytest.raises(DataError, match="feeds one input") as caught:
        open_data(red, two)
    assert "'more'" in caught.value.where
    assert "--map more=0" in caught.value.hint
    read = open_data(red, two, mapping={"more": "0.5"}, preset="unit").read([0])
    assert read["more"].tolist() == [[0.5, 0.5]]
    assert read["x"].max() == 1
    with pytest.raises(UsageError, match="unknown resize"):
        open_data(red, model_taking("float[N,3,8,8] x"), resize="pad")


def test_no_file_name_is_left_in_a_fingerprint_or_finding(red):
    from onnxcompress.data import check_data

    source = open_data(red, model_taking("float[N,3,8,8] x"))
    assert "a.png" not in source.fingerprint() + repr(check_data(source, model_taking("float[N,3,8,8] x")))
