from __future__ import annotations

import numpy as np
import pytest
from builders.runtime_models import linear, normal, parsed

from onnxcompress.errors import UsageError
from onnxcompress.runtime import LatencyResult, batch_for, latency
from onnxcompress.runtime.latency import MAX_BATCH
from onnxcompress.runtime_options import RuntimeOptions

ONE = RuntimeOptions(threads=1)


def test_every_model_is_timed_every_round():
    result = latency({"float": linear(), "small": linear(4, 2)}, {"x": normal(3, 4)}, options=ONE, rounds=5)
    assert list(result.ms) == ["float", "small"]
    assert all(len(times) == 5 for times in result.times.values())
    assert result.ratio["float"] == 1.0
    assert (result.batch, result.rounds) == (3, 5)
    assert set(result.to_dict()["models"]["small"]) == {"ms", "ratio", "beyond_noise"}


def test_a_difference_counts_only_beyond_five_percent_and_the_spread():
    quiet = LatencyResult({"a": 1.0, "b": 0.9}, {"a": 1.0, "b": 1.1}, 0.01, 1, 9)
    loud = LatencyResult({"a": 1.0, "b": 0.9}, {"a": 1.0, "b": 1.1}, 0.2, 1, 9)
    assert quiet.tolerance == 0.05
    assert quiet.beyond_noise("b")
    assert not loud.beyond_noise("b")


@pytest.mark.parametrize(("models", "rounds"), [({}, 9), ({"a": linear()}, 2)])
def test_nothing_to_measure_is_refused(models, rounds):
    with pytest.raises(UsageError, match="cannot measure latency"):
        latency(models, {"x": normal(1, 4)}, rounds=rounds)


def test_batch_grows_up_to_the_cap_and_keeps_its_values():
    x = normal(1, 4)
    grown = batch_for(linear(), {"x": x}, min_ms=1e9, options=ONE)["x"]
    assert MAX_BATCH <= len(grown) < 2 * MAX_BATCH
    np.testing.assert_array_equal(np.unique(grown, axis=0), x)


def test_a_fixed_batch_stays():
    model = parsed("g (float[1,4] x) => (float[1,4] y) { y = Neg(x) }")
    assert batch_for(model, {"x": normal(1, 4)}, min_ms=1e9, options=ONE)["x"].shape == (1, 4)


def test_a_model_that_is_slow_enough_keeps_its_batch():
    assert batch_for(linear(), {"x": normal(2, 4)}, min_ms=0.0, options=ONE)["x"].shape == (2, 4)
