from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress.calibrators import collect
from onnxcompress.calibrators.finite import not_finite
from onnxcompress.calibrators.float_histogram import FloatHistogram
from onnxcompress.calibrators.states import encode
from onnxcompress.calibrators.streaming import count_samples, stride_of
from onnxcompress.data import ArraySource
from onnxcompress.errors import DataError
from onnxcompress.runtime_options import RuntimeOptions

OPTIONS = RuntimeOptions(threads=1)
TEXT = """<ir_version: 10, opset_import: ["": 21]>
g (float[N,4] x) => (float[N,4] y) { a = Relu(x)  b = Exp(a)  y = Sqrt(b) }"""


def states(model: ir.Model, arrays: np.ndarray, **options) -> dict[str, dict[str, bytes]]:
    found = collect(model, ArraySource({"x": arrays}), ["x", "a", "b"], options=OPTIONS, **options)
    return {name: {k: v.tobytes() for k, v in hist.state_dict().items()} for name, hist in found.items()}


def test_every_sample_is_counted_and_the_bounds_are_exact() -> None:
    x = np.random.default_rng(0).normal(size=(37, 4)).astype(np.float32)
    found = collect(ir.from_onnx_text(TEXT), ArraySource({"x": x}), ["x", "a"], options=OPTIONS)
    assert found["x"].counted == found["a"].counted == x.size
    assert (found["x"].low, found["x"].high) == (x.min(), x.max())
    assert (found["a"].low, found["a"].high) == (0, x.max())


def test_order_run_size_and_groups_do_not_change_the_state() -> None:
    model, x = ir.from_onnx_text(TEXT), np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    whole = states(model, x)
    assert states(model, x[::-1]) == whole
    assert states(model, x, memory_bytes=1) == whole
    assert states(model, x, batch=7)["a"] == whole["a"]


def test_nan_and_infinity_are_counted_by_tensor_and_refused_by_name_under_strict() -> None:
    x = np.ones((3, 4), np.float32)
    x[1] = 200.0  # exp overflows
    found = collect(ir.from_onnx_text(TEXT), ArraySource({"x": x}), ["a", "b"], options=OPTIONS)
    assert (found["b"].inf, found["b"].nan, found["b"].counted) == (4, 0, 8)
    assert [(f.code, f.node) for f in not_finite(found, strict=False)] == [("QUANT-NOT-FINITE", "b")]
    with pytest.raises(DataError, match="tensor b"):
        list(not_finite(found, strict=True))


def test_a_tensor_without_a_finite_value_is_refused() -> None:
    x = np.full((3, 4), 200.0, np.float32)
    found = collect(ir.from_onnx_text(TEXT), ArraySource({"x": x}), ["b"], options=OPTIONS)
    with pytest.raises(DataError, match="12 infinite"):
        list(not_finite(found, strict=False))


def test_threads_do_not_change_the_state() -> None:
    model, x = ir.from_onnx_text(TEXT), np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    one, many = (collect(model, ArraySource({"x": x}), ["x", "b"], options=RuntimeOptions(threads=n)) for n in (1, 3))
    assert encode(one) == encode(many)


def test_large_tensors_are_thinned_by_the_sample_whatever_the_run() -> None:
    assert stride_of(1 << 15) == 1 and stride_of(60_000) == 3 and stride_of(10**8) == 7
    values = np.random.default_rng(2).normal(size=(4, 60_001)).astype(np.float32)
    together, apart = FloatHistogram(), FloatHistogram()
    count_samples(together, values, 4)
    for row in values:
        count_samples(apart, row[None], 1)
    assert together.state_dict()["counts"].tobytes() == apart.state_dict()["counts"].tobytes()
    assert together.high == values.max()
