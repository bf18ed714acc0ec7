from __future__ import annotations

import numpy as np
import pytest
from builders.runtime_models import detector, linear, normal, parsed

from onnxcompress.data import ArraySource
from onnxcompress.errors import DataError, ModelError
from onnxcompress.runtime import Session, batch_axis, run_source
from onnxcompress.runtime_options import RuntimeOptions

ONE = RuntimeOptions(threads=1)


def collected(model, arrays, **settings):
    runs = list(run_source(model, ArraySource(arrays), options=ONE, **settings))
    return runs, np.concatenate([run.indices for run in runs])


def test_batches_in_order_with_a_smaller_last_one():
    x = normal(10, 4)
    runs, indices = collected(linear(), {"x": x}, batch=4)
    assert [len(run["logits"]) for run in runs] == [4, 4, 2]
    np.testing.assert_array_equal(indices, np.arange(10))
    whole = Session(linear(), ONE).run({"x": x})["logits"]
    np.testing.assert_allclose(np.concatenate([run["logits"] for run in runs]), whole, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4), (3, 1, 4)])
def test_fixed_batch_of_one_runs_one_sample_at_a_time(shape):
    model = parsed("g (float[1,4] x) => (float[1,4] y) { y = Neg(x) }")
    x = normal(*shape)
    runs, _ = collected(model, {"x": x})
    assert [run["y"].shape for run in runs] == [(1, 4)] * 3
    np.testing.assert_array_equal(np.concatenate([run["y"] for run in runs]), -x.reshape(3, 4))


def test_fixed_batch_is_padded_and_cut_with_a_finding():
    model = parsed("g (float[4,2] x) => (float[4,2] y, float s) { y = Neg(x) s = ReduceSum<keepdims=0>(x) }")
    findings = []
    runs, indices = collected(model, {"x": normal(6, 2)}, findings=findings)
    assert [run["y"].shape for run in runs] == [(4, 2), (2, 2)]
    assert runs[1]["s"].shape == ()
    np.testing.assert_array_equal(indices, np.arange(6))
    assert [finding.code for finding in findings] == ["RUNTIME-PADDED-RUN"]


def test_recurrent_state_is_stacked_along_its_own_axis():
    model = parsed("g (float[N,3] x, float[2,N,3] h) => (float[2,N,3] y) { y = Add(x, h) }")
    assert batch_axis(model) == {"x": 0, "h": 1}
    x, h = normal(5, 3), normal(5, 2, 3, seed=1)
    for given in (h, h[:, :, None]):
        runs, _ = collected(model, {"x": x, "h": given}, batch=2)
        got = np.concatenate([run["y"] for run in runs], axis=1)
        np.testing.assert_array_equal(got, x + h.transpose(1, 0, 2))


def test_fixed_state_runs_one_sample_at_a_time():
    model = parsed("g (float[1,3] x, float[2,1,3] h) => (float[2,1,3] y) { y = Add(x, h) }")
    x, h = normal(3, 3), normal(3, 2, 1, 3, seed=1)
    runs, _ = collected(model, {"x": x, "h": h})
    np.testing.assert_array_equal(np.stack([run["y"] for run in runs]), x[:, None, None] + h)


def test_scalars_split_a_batch_where_they_change():
    model = parsed("g (float[N,2] x, int64 rate) => (float[N,2] y) { r = Cast<to=1>(rate) y = Mul(x, r) }")
    x, rate = normal(6, 2), np.array([8, 8, 16, 16, 16, 8])
    runs, indices = collected(model, {"x": x, "rate": rate}, batch=6)
    assert [len(run["y"]) for run in runs] == [2, 3, 1]
    np.testing.assert_array_equal(indices, np.arange(6))
    np.testing.assert_allclose(np.concatenate([run["y"] for run in runs]), x * rate[:, None].astype(np.float32))


def test_integer_float16_and_bool_inputs():
    model = parsed(
        "g (int64[N,2] i, float16[N,2] h, bool[N,2] b) => (float[N,2] y)"
        "{ f = Cast<to=1>(i) g = Cast<to=1>(h) s = Add(f, g) z = Neg(s) y = Where(b, s, z) }"
    )
    arrays = {"i": np.ones((3, 2), np.int64), "h": np.ones((3, 2), np.float16), "b": np.eye(3, 2, dtype=bool)}
    runs, _ = collected(model, arrays)
    np.testing.assert_array_equal(runs[0]["y"], np.where(arrays["b"], 2, -2))


def test_taps_and_names_choose_what_comes_back():
    model = parsed("g (float[N,4] x) => (float[N,4] y) { a = Relu(x) y = Neg(a) }")
    runs, _ = collected(model, {"x": normal(3, 4)}, taps=["a"], names=["a"])
    assert list(runs[0]) == ["a"]


def test_progress_is_told_the_samples():
    told = []
    collected(linear(), {"x": normal(5, 4)}, batch=2, progress=lambda *step: told.append(step))
    assert told == [("run", 2, 5), ("run", 4, 5), ("run", 5, 5)]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"z": normal(3, 4)}, "lacks a model input"),
        ({"x": normal(3, 4, 2, 2)}, "3 dims"),
        ({"x": normal(0, 4)}, "no sample"),
        ({"x": normal(3, 5)}, "Expected: 4"),
    ],
)
def test_data_that_does_not_fit_is_refused(arrays, said):
    with pytest.raises(DataError, match=said):
        collected(linear(), arrays)


def test_inputs_that_take_different_numbers_of_samples_are_refused():
    model = parsed("g (float[4,2] x, float[2,2] z) => (float[4,2] y, float[2,2] w) { y = Neg(x) w = Neg(z) }")
    with pytest.raises(DataError, match="x: 4, z: 2"):
        collected(model, {"x": normal(8, 2), "z": normal(8, 2)})


def test_plugins_are_cut_off_and_told():
    findings = []
    runs, _ = collected(detector(), {"x": normal(2, 3, 8, 8)}, findings=findings)
    assert set(runs[0]) == {"features", "scores"}
    assert [finding.code for finding in findings] == ["RUNTIME-UNKNOWN-OP"]


def test_nothing_before_a_plugin_is_a_model_error():
    model = parsed("g (float[N,4] x) => (float[N,4] y) { [nms] y = TRT.EfficientNMS_TRT(x) }")
    with pytest.raises(ModelError, match="nothing comes before it") as caught:
        collected(model, {"x": normal(2, 4)})
    assert caught.value.where == "node nms"
