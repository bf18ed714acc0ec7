from __future__ import annotations

import shlex

import pytest

from onnxcompress.errors import UsageError
from onnxcompress.interop.tensorrt import trtexec_command
from onnxcompress.testing import model_of

REMOVED = ("--int8", "--fp16", "--best", "--calib", "--precisionConstraints", "--bf16", "--fp8")


def test_a_fixed_model_needs_no_profile() -> None:
    model = model_of("g (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Relu(x) }")
    assert trtexec_command("out/m.onnx", model) == "trtexec --onnx=out/m.onnx --saveEngine=out/m.engine"


def test_dynamic_axes_get_a_smallest_usual_and_largest_size() -> None:
    model = model_of("g (float[N,3,H,W] x, float[N,4] z) => (float[N,4] y) { r = Relu(x) y = Relu(z) }")
    line = trtexec_command("m.onnx", model, {"x": (2, 3, 224, 192)})
    assert line == (
        "trtexec --onnx=m.onnx --saveEngine=m.engine --minShapes=x:1x3x1x1,z:1x4 "
        "--optShapes=x:2x3x224x192,z:1x4 --maxShapes=x:8x3x224x192,z:8x4"
    )
    assert not any(flag in line for flag in REMOVED)


def test_paths_and_names_are_quoted_for_the_shell() -> None:
    model = model_of("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    model.graph.inputs[0].name = "in put;rm"
    line = trtexec_command("my models/it's.onnx", model)
    assert shlex.split(line)[1:4] == [
        "--onnx=my models/it's.onnx",
        "--saveEngine=my models/it's.engine",
        "--minShapes=in put;rm:1",
    ]


def test_an_open_size_is_asked_for() -> None:
    model = model_of("g (float[N,T] x) => (float[N,T] y) { y = Relu(x) }")
    with pytest.raises(UsageError, match="--shape x:") as caught:
        trtexec_command("m.onnx", model)
    assert caught.value.code == "USAGE-SHAPE-NEEDED"
