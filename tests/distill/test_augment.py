"""Views of the samples: seeded by step and place, rows of a batch on their own, nothing done where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
from builders.distill_models import residual

from onnxcompress.data import ArraySource
from onnxcompress.distill.augment import Light, moving_axes
from onnxcompress.distill.batches import Batches


def pictures(count: int = 6, shape: tuple[int, ...] = (1, 28, 28)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((4, 1, 28, 28), (2, 3)),
        ((4, 28, 28, 3), (1, 2)),
        ((4, 1, 300), (2,)),
        ((4, 61, 40), ()),
        ((4, 64, 28, 28), ()),
        ((4, 1, 8, 8), ()),
        ((4, 30), ()),
    ],
)
def test_only_pictures_and_sequences_move(shape, axes):
    array = np.ones(shape, np.float32)
    assert moving_axes(array) == axes
    assert moving_axes(array.astype(np.int64)) == ()


def test_a_view_hangs_on_seed_step_and_place_alone():
    x, all_rows = pictures(), np.arange(6)
    whole = Light(3).views({"x": x}, 5, all_rows, 6)["x"]
    half = Light(3).views({"x": x[4:]}, 5, all_rows[4:], 6)["x"]
    np.testing.assert_array_equal(half, whole[4:])
    assert whole.dtype == np.float32
    assert not np.array_equal(whole, Light(3).views({"x": x}, 6, all_rows, 6)["x"])
    assert not np.array_equal(whole, Light(4).views({"x": x}, 5, all_rows, 6)["x"])


def test_a_view_is_near_its_sample_and_shifted_by_reflection():
    ramp = np.broadcast_to(np.arange(28, dtype=np.float32), (64, 1, 28, 28)).copy()
    seen = Light(0).views({"x": ramp}, 0, np.arange(64), 64)["x"]
    steps = np.abs(np.diff(seen, axis=3))
    assert steps.max() < 1.11
    assert steps.min() > 0.89
    assert np.abs(seen - ramp).max() < 2 + 0.2 * 27


def test_inputs_that_are_no_pictures_stay_as_they_are():
    ids = np.arange(12).reshape(3, 4)
    made = Light(0).views({"ids": ids, "x": pictures(3)}, 0, np.arange(3), 3)
    assert made["ids"] is ids


def test_two_processes_see_the_views_of_one():
    x = pictures(20, (3, 16, 16))[:, :, :16, :16]
    model, source = residual(), ArraySource({"x": x})
    for value in model.graph.inputs:
        value.shape = type(value.shape)(["N", 3, 16, 16])
    whole = next(iter(Batches(model, source, 8, seed=1, augment=Light(1))))
    parts = [next(iter(Batches(model, source, 8, seed=1, rank=r, world=2, augment=Light(1)))) for r in (0, 1)]
    joined = np.concatenate([run.feeds["x"] for part in parts for run in part])
    np.testing.assert_array_equal(joined, np.concatenate([run.feeds["x"] for run in whole]))
    plain = next(iter(Batches(model, source, 8, seed=1)))
    assert not np.array_equal(joined, plain[0].feeds["x"])
