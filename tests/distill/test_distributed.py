"""One process of several sees its part of every batch; the parts make up the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from builders.distill_models import pictures, residual

from onnxcompress.distill.batches import Batches, parts_of
from onnxcompress.distill.distributed import World, world


def first(count: int, **place) -> list[list[np.ndarray]]:
    batches = itertools.islice(Batches(residual(), pictures(50), 16, seed=3, **place), count)
    return [[run.feeds["x"] for run in runs] for runs in batches]


def test_the_parts_make_up_the_batches_of_one_process():
    alone, left, right = first(5), first(5, rank=0, world=2), first(5, rank=1, world=2)
    for whole, a, b in zip(alone, left, right, strict=True):
        np.testing.assert_array_equal(np.concatenate(whole), np.concatenate([*a, *b]))


def test_every_sample_comes_before_any_comes_again():
    seen = np.concatenate([x for runs in first(3) for x in runs])[:48]
    assert len(np.unique(seen.reshape(48, -1), axis=0)) == 48


def test_shares_count_against_the_global_batch():
    runs = next(iter(Batches(residual(), pictures(50), 16, seed=3, rank=1, world=2)))
    assert sum(run.share for run in runs) == 0.5


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with world() as found:
        assert found == World(0, 1)


def test_a_probe_in_parts_counts_every_sample_once():
    parts = parts_of(residual(), pictures(50), np.arange(5, 47), 16)
    assert [len(part.feeds["x"]) for part in parts] == [16, 16, 10]
    assert sum(part.share for part in parts) == pytest.approx(1.0)
    seen = np.concatenate([part.feeds["x"] for part in parts])
    np.testing.assert_array_equal(seen, pictures(50).read(range(5, 47))["x"])
