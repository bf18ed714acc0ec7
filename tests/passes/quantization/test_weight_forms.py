from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress.graph import add_initializer
from onnxcompress.passes.quantization.kinds import FLOAT8, INT4, INT7, INT8, WeightKind
from onnxcompress.passes.quantization.rounding.grid import stored_of
from onnxcompress.passes.quantization.scales import expanded, quantized_weight, stored_form, weight_scales
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions

RNG = np.random.default_rng(3)
FORMS = [(None, 0), (0, 0), (1, 0), (0, 16), (1, 16), (2, 2)]
KINDS = [INT8, INT7, INT4, FLOAT8]


def weight_of(*shape: int) -> np.ndarray:
    return (RNG.standard_t(4, size=shape) * np.exp(RNG.normal(size=(shape[0], *[1] * (len(shape) - 1))))).astype("f4")


def model_of(numbers: np.ndarray, scales: np.ndarray, axis: int | None, block: int) -> ir.Model:
    """Yields the weight that a DequantizeLinear stands for."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 21}, name="g")
    inputs = [add_initializer(graph, n, a) for n, a in (("q", numbers), ("s", scales))]
    attributes = {"axis": axis, "block_size": block or None}
    made = [ir.AttrInt64(k, v) for k, v in attributes.items() if v is not None]
    out = ir.Value(name="w", shape=ir.Shape(numbers.shape), type=ir.TensorType(ir.DataType.FLOAT))
    graph.append(ir.Node("", "DequantizeLinear", inputs, made, outputs=[out]))
    graph.outputs.append(out)
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(("axis", "block"), FORMS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k.name}-{k.high}")
@pytest.mark.parametrize("clip", ["none", "mse"])
def test_runtime_reads_every_form_as_numbers_times_scales(
    axis: int | None, block: int, kind: WeightKind, clip: str
) -> None:
    weight = weight_of(24, 35, 3)
    numbers, scales = stored_form(weight, axis, kind=kind, block=block, clip=clip)
    model = model_of(numbers, scales, axis, block)
    got = Session(model, RuntimeOptions(threads=1)).run({})["w"]
    wide = numbers.astype(np.float32)
    np.testing.assert_array_equal(got, wide * expanded(scales, weight.shape, axis, block))
    assert kind.low <= wide.min() < wide.max() <= kind.high
    assert np.linalg.norm(got - weight) <= {4: 0.6, 8: 0.1}[kind.bits] * np.linalg.norm(weight)
    stored = stored_of(model.graph.outputs[0])
    assert (stored is not None) == kind.integer
    if stored is not None:
        np.testing.assert_array_equal(stored.numbers(), numbers.astype(np.int32))
        np.testing.assert_array_equal(stored.numbers().astype(np.float32) * stored.scales(), got)


@pytest.mark.parametrize(("axis", "block"), FORMS)
@pytest.mark.parametrize("kind", [INT8, INT4], ids=lambda k: k.name)
def test_least_squares_clip_is_never_worse_in_any_scale(axis: int | None, block: int, kind: WeightKind) -> None:
    weight = weight_of(24, 35, 3)
    errors = []
    for clip in ("none", "mse"):
        scales = weight_scales(weight, axis, kind=kind, block=block, clip=clip)
        steps = expanded(scales, weight.shape, axis, block)
        numbers = quantized_weight(weight, scales, axis, kind=kind, block=block).astype(np.float64)
        errors.append((weight - numbers * steps) ** 2)
    starts = [0] if axis is None else np.arange(0, weight.shape[axis], block or 1)
    sums = [np.add.reduceat(e, starts, axis=axis or 0) for e in errors]
    others = None if axis is None else tuple(i for i in range(3) if i != axis)
    rows = sums if block else [s.sum(axis=others) for s in sums]
    assert np.all(rows[1] <= rows[0] * (1 + 1e-5))
    assert errors[1].sum() < (0.96 if kind is INT4 else 1.0) * errors[0].sum()


@pytest.mark.parametrize(("axis", "block"), FORMS)
def test_a_clipped_weight_keeps_its_gain_in_every_scale(axis: int | None, block: int) -> None:
    weight = weight_of(24, 35, 3)
    numbers, scales = stored_form(weight, axis, kind=INT4, block=block, clip="mse")
    got = numbers.astype(np.float64) * expanded(scales, weight.shape, axis, block)
    starts = [0] if axis is None else np.arange(0, weight.shape[axis], block or 1)
    others = None if axis is None else tuple(i for i in range(3) if i != axis)
    sums = [np.add.reduceat(weight * other, starts, axis=axis or 0) for other in (got, weight.astype(np.float64))]
    inner, power = sums if block else (s.sum(axis=others) for s in sums)
    np.testing.assert_allclose(inner, power, rtol=1e-5)


def test_a_range_that_is_covered_is_not_cut_and_uses_every_number() -> None:
    weight = np.array([[-8.0, 3.0], [-3.0, 7.0], [0.0, 0.0]], np.float32)
    scales = weight_scales(weight, 0, kind=INT4)
    np.testing.assert_array_equal(scales[:2], [1.0, 1.0])
    assert scales[2] == 1.0  # a channel of zeros takes a usual scale
    numbers = quantized_weight(weight, scales, 0, kind=INT4).astype(np.int8)
    np.testing.assert_array_equal(numbers, weight.astype(np.int8))


def test_float8_saturates_where_a_plain_cast_gives_nan() -> None:
    weight = np.array([1000.0, -1000.0, 1.0], np.float32)
    numbers = quantized_weight(weight, np.float32(1.0).reshape(()), None, kind=FLOAT8).astype(np.float32)
    np.testing.assert_array_equal(numbers, [448.0, -448.0, 1.0])
