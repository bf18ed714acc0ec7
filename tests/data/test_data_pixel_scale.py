"""Raw pixels where a model wants normalised ones: told from pixels that it was trained on by its first layers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxcompress.data import ArraySource, check_data
from onnxcompress.data.pixel_scale import witness
from onnxcompress.model_io import load

RNG = np.random.default_rng(5)
PIXELS = np.clip(RNG.normal(130, 60, (12, 3, 8, 8)), 0, 255).round().astype(np.float32)
NOISY = (PIXELS + RNG.normal(size=PIXELS.shape)).astype(np.float32)
READY = (PIXELS / 255 - 0.5) / 0.25
WEIGHT = RNG.normal(0, 0.2, (6, 3, 3, 3)).astype(np.float32)
NORM = "c = Conv(x, w) n = BatchNormalization(c, s, b, m, v) y = Relu(n)"
BIASED = "y = Conv(x, w, b)"
ADDED = "c = Conv(x, w) y = Add(c, b3)"
GREY_AREA = {
    "squashed first": f"h = Tanh(x) {BIASED.replace('x,', 'h,')}",
    "no bias": "y = Conv(x, w)",
    "a bias of zero": "y = Conv(x, w, zero)",
}


def model_of(body: str, trained_on: np.ndarray) -> ir.Model:
    """A first layer whose statistics and bias fit what it was trained on."""
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g (float[N,3,8,8] x) => (float[N,6,6,6] y) {{ {body} }}'
    )
    scale = 1 / trained_on.std()
    sums = np.einsum("nihw,oi->nohw", trained_on, WEIGHT.sum(axis=(2, 3))) * scale
    arrays = {
        "w": WEIGHT * scale,
        "m": sums.mean(axis=(0, 2, 3)),
        "v": (trained_on.var() * scale**2) * (WEIGHT**2).sum(axis=(1, 2, 3)),
        "s": np.ones(6),
        "b": np.linspace(-0.5, 0.7, 6),
        "b3": np.linspace(-0.5, 0.7, 6).reshape(6, 1, 1),
        "zero": np.zeros(6),
    }
    used = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in arrays.items() if name in used
    )
    return ir.from_proto(proto)


def said(model: ir.Model, array: np.ndarray) -> list[str]:
    findings = check_data(ArraySource({"x": array.astype(np.float32)}), model)
    assert {f.code for f in findings} <= {"DATA-RAW-PIXELS"}
    return [f.message for f in findings]


@pytest.mark.parametrize("body", [NORM, BIASED, ADDED])
def test_raw_pixels_whole_or_not_are_told_from_the_right_ones(body: str) -> None:
    model = model_of(body, READY)
    assert said(model, READY) == []
    word = "sigmas off its running mean" if body == NORM else "as large as the bias"
    for raw in (PIXELS, NOISY):
        (message,) = said(model, raw)
        assert word in message and "--scale 1/255 with --mean and --std" in message


@pytest.mark.parametrize("body", [NORM, BIASED, ADDED])
def test_a_model_trained_on_pixels_takes_them_without_a_word(body: str) -> None:
    model = model_of(body, PIXELS)
    assert said(model, PIXELS) == said(model, NOISY) == []


@pytest.mark.parametrize("case", GREY_AREA)
def test_without_a_witness_whole_numbers_are_taken_for_pixels(case: str) -> None:
    model = model_of(GREY_AREA[case], READY)
    assert witness(model, "x") is None
    (message,) = said(model, PIXELS)
    assert "if the model was trained on normalised ones" in message
    assert said(model, NOISY) == []


def test_statistics_listed_among_the_inputs_count_too() -> None:
    model = model_of(NORM, READY)
    model.graph.inputs.extend(model.graph.initializers[name] for name in ("w", "s", "b", "m", "v"))
    found = witness(model, "x")
    assert found is not None and found.node.op_type == "BatchNormalization"


FOLDER = Path(os.environ.get("ONNXCOMPRESS_TEST_DATA", "."))
TORCH = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TRAINED = {
    "FastestDet": (0.0, 1.0),
    "bccd_dwcnn": (0.6, 0.2),
    "espcn_x3": (0.0, 1.0),
    "fmnist_resnet8": (0.2860, 0.3530),
    "fmnist_vgg_bn": (0.2860, 0.3530),
    "fmnist_vit": (0.2860, 0.3530),
    "mobilenet_v1_0.25_128": (0.5, 0.5),
    "ppocrv5_cls": tuple(np.reshape(v, (1, 3, 1, 1)) for v in TORCH),
    "version-RFB-320": (127 / 255, 128 / 255),
    "vww_mobilenetv1_025_96": (0.0, 1.0),
}


@pytest.mark.data
def test_no_real_model_is_suspected_and_each_on_raw_pixels_is() -> None:
    from benchmarks.catalog import catalog

    for name, entry in catalog(FOLDER).items():
        model = load(entry.path)
        arrays = {key: array[:16] for key, array in entry.samples().train.items()}
        assert "DATA-RAW-PIXELS" not in [f.code for f in check_data(ArraySource(arrays), model)], name
        if name in TRAINED:
            (key, ready), (mean, std) = next(iter(arrays.items())), TRAINED[name]
            raw = np.rint((ready * std + mean) * 255).astype(np.float32)
            for array in (raw, raw + RNG.normal(size=raw.shape).astype(np.float32)):
                found = check_data(ArraySource({key: array}), model)
                assert [f.code for f in found] == ["DATA-RAW-PIXELS"], name
