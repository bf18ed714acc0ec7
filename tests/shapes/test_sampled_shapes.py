from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

import onnxcompress
from onnxcompress import comparing
from onnxcompress.cost import costs
from onnxcompress.data import ArraySource
from onnxcompress.errors import UsageError
from onnxcompress.shapes import infer, probe_feeds, sampled_shapes

FREE_SIZES = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 3, H, W] x) => (float[N, 8, P, Q] y)
<float[8, 3, 3, 3] w = {WEIGHT}>
{
   y = Conv <pads = [1, 1, 1, 1]> (x, w)
}
"""
MACS_OF_PIXEL = 8 * 3 * 9


def _model() -> ir.Model:
    return _with_input("N, 3, H, W")


def _with_input(dims: str) -> ir.Model:
    weight = ", ".join(f"{number:.4f}" for number in np.random.default_rng(0).normal(size=216))
    return ir.from_onnx_text(FREE_SIZES.replace("WEIGHT", weight).replace("N, 3, H, W", dims))


def _data(height: int, width: int, count: int = 8) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).normal(size=(count, 3, height, width)).astype(np.float32)}


def test_free_sizes_are_the_samples_and_the_batch_stays_free() -> None:
    shapes = sampled_shapes(_model(), ArraySource(_data(48, 40)))
    assert shapes == {"x": (-1, 3, 48, 40)}
    for batch in (1, 3):
        assert probe_feeds(_model(), shapes=shapes, batch=batch)["x"].shape == (batch, 3, 48, 40)
    table = infer(_model(), shapes=shapes)
    assert table.symbols == {"N": 2, "H": 48, "W": 40}
    assert costs(_model(), table).summary()["macs"] == 48 * 40 * MACS_OF_PIXEL


def test_a_model_that_leaves_only_the_batch_free_needs_no_sizes() -> None:
    fixed = _with_input("N, 3, 8, 8")
    assert sampled_shapes(fixed, ArraySource(_data(8, 8))) == {}


def test_one_name_with_two_sizes_in_a_sample_settles_nothing() -> None:
    square = _with_input("N, 3, S, S")
    assert sampled_shapes(square, ArraySource(_data(8, 16))) == {}
    assert sampled_shapes(square, ArraySource(_data(16, 16))) == {"x": (-1, 3, 16, 16)}


def test_a_negative_size_other_than_free_is_refused() -> None:
    with pytest.raises(UsageError, match="the shape does not fit the model"):
        probe_feeds(_model(), shapes={"x": (-2, 3, 8, 8)})


def test_quantize_counts_and_times_at_the_samples_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Mapping[str, np.ndarray]] = []
    real = comparing.time_models

    def watched(models, feeds, **options):
        timed.append(feeds)
        return real(models, feeds, rounds=3, warmup=1, **options)

    monkeypatch.setattr(comparing, "time_models", watched)
    result = onnxcompress.quantize(_model(), data=_data(48, 40), effort="fast", latency=True)
    assert result.shapes == {"x": (-1, 3, 48, 40)}
    assert result.report.before["macs"] == 48 * 40 * MACS_OF_PIXEL
    assert "multiply-adds are counted at H = 48, W = 40, as the first sample has it" in result.report.notes
    assert timed[0]["x"].shape == (1, 3, 48, 40)
    again = onnxcompress.compare(_model(), result.model, data=_data(48, 40))
    assert again.before["macs"] == result.report.before["macs"]


def test_a_given_shape_wins_and_is_not_asked_for() -> None:
    result = onnxcompress.quantize(_model(), data=_data(48, 40), effort="fast", shapes={"x": (1, 3, 16, 16)})
    assert result.report.before["macs"] == 16 * 16 * MACS_OF_PIXEL
    assert "multiply-adds are counted at H = 16, W = 16" in result.report.notes
    assert not any("--shape" in note for note in result.report.notes)


def test_the_order_of_the_samples_does_not_choose_the_size() -> None:
    rng = np.random.default_rng(3)
    samples = [{"x": rng.normal(size=(1, 3, side, side)).astype(np.float32)} for side in (16, 24, 32, 40)]
    found = [onnxcompress.quantize(_model(), data=each, effort="fast").shapes for each in (samples, samples[::-1])]
    assert found[0] == found[1] and found[0]["x"][2] in (16, 24, 32, 40)


def test_pruning_counts_as_before() -> None:
    result = onnxcompress.prune(_model(), data=_data(48, 40), weights="global", sparsity=0.5)
    assert result.shapes == {}
    assert any("H = 32, W = 32; give --shape" in note for note in result.report.notes)
