"""`quantize` on samples that are empty, constant, spoiled or badly scaled: message, exit code, and what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from builders.command_line import CommandLine, Outcome
from onnx import numpy_helper

RNG = np.random.default_rng(3)
GOOD = RNG.normal(size=(24, 3, 8, 8)).astype(np.float32)
TEXT = """<ir_version: 8, opset_import: ["": 18]> g (float[N,3,8,8] x) => (float[N,4] y) {
  [first] c = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(c)
  [second] d = Conv<pads=[1,1,1,1]>(r, w2, b2)  e = Relu(d)
  p = GlobalAveragePool(e)  f = Flatten(p)  [head] y = Gemm(f, w3, b3) }"""
SIZES = {"w": (8, 3, 3, 3), "b": (8,), "w2": (8, 8, 3, 3), "b2": (8,), "w3": (8, 4), "b3": (4,)}


@pytest.fixture
def cnn(tmp_path: Path) -> Path:
    proto = onnx.parser.parse_model(TEXT)
    arrays = {name: RNG.normal(0, 0.3, size).astype(np.float32) for name, size in SIZES.items()}
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(proto, tmp_path / "cnn.onnx")
    return tmp_path / "cnn.onnx"


def _spoiled(value: float) -> np.ndarray:
    array = GOOD.copy()
    array[3, 1, 2, 2] = value
    return array


def _quantize(cli: CommandLine, cnn: Path, array: np.ndarray, *more: str) -> Outcome:
    np.savez(cnn.with_name("samples.npz"), x=array)
    words = ("--data", cnn.with_name("samples.npz"), "-o", cnn.with_name("small.onnx"), "--effort", "fast")
    return cli("quantize", cnn, *words, *more)


def _error(cnn: Path) -> float:
    wanted, got = (
        ort.InferenceSession(cnn.with_name(name), providers=["CPUExecutionProvider"]).run(None, {"x": GOOD})[0]
        for name in ("cnn.onnx", "small.onnx")
    )
    return float(np.linalg.norm(wanted - got) / np.linalg.norm(wanted))


def _words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("array", "word"),
    [(GOOD[:0], "0 samples"), (_spoiled(np.nan), "sample 3 of input 'x'"), (_spoiled(np.inf), "NaN or infinity")],
)
def test_empty_and_broken_samples_are_refused(cli: CommandLine, cnn: Path, array: np.ndarray, word: str) -> None:
    outcome = _quantize(cli, cnn, array)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (4, "", 1)
    assert word in outcome.err
    assert {path.name for path in cnn.parent.iterdir()} == {"cnn.onnx", "samples.npz"}


@pytest.mark.parametrize("peak", [1e30, 3e38])
def test_one_absurd_value_costs_its_sample_alone(cli: CommandLine, cnn: Path, peak: float) -> None:
    np.savez(cnn.with_name("good.npz"), x=GOOD)
    outcome = _quantize(cli, cnn, _spoiled(peak), "-v", "--eval-data", str(cnn.with_name("good.npz")))
    assert outcome.code == 0
    assert "QUANT-OUTLIER" in outcome.err
    assert f"sample 3 is left out of the calibration: input 'x' reaches {peak:.3g}" in _words(outcome.err)
    assert _error(cnn) < 0.05


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_constant_samples_are_named_and_give_a_valid_file(cli: CommandLine, cnn: Path, value: float) -> None:
    outcome = _quantize(cli, cnn, np.full_like(GOOD, value), "-v")
    assert outcome.code == 0
    assert f"input 'x' is {value:g} everywhere" in _words(outcome.err)
    assert "QUANT-CONSTANT" in outcome.err
    onnx.checker.check_model(cnn.with_name("small.onnx"), full_check=True)
    assert np.isfinite(_error(cnn))


def test_a_dead_layer_is_named_and_quantized(cli: CommandLine, cnn: Path) -> None:
    model = onnx.load(cnn)
    dead = next(i for i in model.graph.initializer if i.name == "b2")
    dead.CopyFrom(numpy_helper.from_array(np.full(8, -90, np.float32), "b2"))
    onnx.save(model, cnn)
    outcome = _quantize(cli, cnn, GOOD, "-v")
    assert outcome.code == 0
    assert "e is 0 everywhere in all samples" in _words(outcome.err)
    assert _error(cnn) < 0.05


def test_raw_pixels_are_remarked_on_before_calibration(cli: CommandLine, cnn: Path) -> None:
    outcome = _quantize(cli, cnn, np.clip(GOOD * 60 + 128, 0, 255))
    assert outcome.code == 0
    assert "look like raw pixels, and the sums of Conv first become" in _words(outcome.err)
