"""Which samples are kept from training, and how few are too few."""

from __future__ import annotations

import numpy as np
import pytest

from onnxcompress.data import ArraySource, DataSource
from onnxcompress.distill.split import LEAST, held_out_count, hold_out
from onnxcompress.errors import DataError


def numbered(count: int, start: int = 0) -> ArraySource:
    return ArraySource({"x": np.arange(start, start + count, dtype=np.float32)[:, None]})


def values(source: DataSource) -> list[int]:
    return source.read(np.arange(len(source)))["x"][:, 0].astype(int).tolist()


@pytest.mark.parametrize(
    ("count", "held"),
    [(8, 2), (40, 10), (200, 50), (256, 64), (640, 64), (1000, 100), (5000, 500), (20_000, 2000), (90_000, 2000)],
)
def test_a_tenth_is_held_out_64_to_2000_and_a_quarter_at_most(count: int, held: int):
    assert held_out_count(count) == held
    split = hold_out(numbered(count), None, seed=0)
    assert (len(split.train), len(split.guide)) == (count - held, held)


def test_the_parts_do_not_overlap_and_go_by_the_seed():
    split, same, other = (hold_out(numbered(100), None, seed=seed) for seed in (0, 0, 1))
    assert sorted(values(split.train) + values(split.guide)) == list(range(100))
    assert values(split.guide) == values(same.guide) != values(other.guide)
    assert values(split.judge) == values(split.guide)


def test_given_samples_judge_as_they_are_and_choose_nothing():
    split = hold_out(numbered(100), numbered(30, start=1000), seed=0)
    assert values(split.judge) == list(range(1000, 1030))
    assert sorted(values(split.train) + values(split.guide)) == list(range(100))


def test_of_many_given_samples_2000_judge_wherever_they_lie():
    judge = values(hold_out(numbered(100), numbered(10_000), seed=0).judge)
    assert len(judge) == 2000
    assert abs(np.mean(judge) - 5000) < 300


def test_a_few_samples_train_where_others_judge():
    split = hold_out(numbered(3), numbered(30, start=1000), seed=0)
    assert values(split.train) == values(split.guide) == [0, 1, 2]
    assert len(split.judge) == 30


@pytest.mark.parametrize(("count", "given"), [(1, None), (LEAST - 1, None), (3, 4)])
def test_too_few_samples_are_refused_with_the_number_needed(count: int, given: int | None):
    with pytest.raises(DataError, match="so few samples") as caught:
        hold_out(numbered(count), None if given is None else numbered(given), seed=0)
    assert caught.value.code == "DATA-TOO-FEW"
    assert f"at least {LEAST}" in caught.value.why


@pytest.mark.parametrize(
    ("count", "given", "told"), [(300, None, False), (300, 16, False), (300, 5, True), (40, 100, True)]
)
def test_few_samples_are_told(count: int, given: int | None, told: bool):
    split = hold_out(numbered(count), None if given is None else numbered(given), seed=0)
    assert [f.code for f in split.findings()] == (["DISTILL-FEW-SAMPLES"] if told else [])
