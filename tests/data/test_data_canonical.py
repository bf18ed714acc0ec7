from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcompress.data import ArraySource, CanonicalSource, DataSource, canonical

RNG = np.random.default_rng(5)
X = RNG.normal(size=(24, 3, 2)).astype(np.float32)
Y = RNG.integers(0, 4, 24)


def everything(source: DataSource) -> tuple[bytes, bytes]:
    indices = np.arange(len(source))
    return source.read(indices)["x"].tobytes(), source.labels(indices).tobytes()


def permuted(order: np.ndarray) -> DataSource:
    return ArraySource({"x": X[order]}, Y[order])


@given(st.permutations(range(24)))
def test_a_permuted_source_has_the_same_samples_in_the_same_order(order):
    assert everything(canonical(permuted(np.array(order)))) == everything(canonical(permuted(np.arange(24))))


@given(st.permutations(range(24)), st.integers(0, 3))
def test_draws_and_splits_choose_by_what_the_samples_hold(order, seed):
    one, other = canonical(permuted(np.arange(24))), canonical(permuted(np.array(order)))
    assert everything(one.draw(7, seed=seed)) == everything(other.draw(7, seed=seed))
    for part, same in zip(one.split(0.25, seed=seed), other.split(0.25, seed=seed), strict=True):
        assert everything(part) == everything(same)


def test_equal_samples_are_ordered_by_their_labels():
    x = np.repeat(X[:2], 3, axis=0)
    labels = np.array([0, 1, 2, 0, 1, 2])
    mixed = np.array([4, 2, 0, 5, 1, 3])
    sources = [canonical(ArraySource({"x": x[o]}, labels[o])) for o in (np.arange(6), mixed)]
    assert everything(sources[0]) == everything(sources[1])


def test_subsets_in_order_stay_canonical_and_are_not_read_again():
    found = canonical(permuted(np.arange(24)))
    part = found.subset([1, 4, 4, 9])
    assert isinstance(part, CanonicalSource) and canonical(part) is part
    np.testing.assert_array_equal(part.digests, found.digests[[1, 4, 4, 9]])
    again = canonical(found.subset([9, 1]))
    np.testing.assert_array_equal(again.digests, found.digests[[1, 9]])


def test_messages_name_the_place_in_the_users_data():
    found = canonical(permuted(np.arange(24)))
    np.testing.assert_array_equal(X[[found.origin(i) for i in range(24)]], found.read(range(24))["x"])


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.array(["b", "a", "ab"], dtype=object)},
        {"x": np.arange(3), "z": np.float16([2, 1, 0])},
        {"x": np.zeros((3, 0), np.float32)},
    ],
)
def test_any_type_has_digests(arrays):
    found = canonical(ArraySource(arrays))
    assert len(found) == 3 and found.digests.shape == (3, 16)
    back = canonical(ArraySource({name: array[::-1] for name, array in arrays.items()}))
    np.testing.assert_array_equal(found.digests, back.digests)
    assert found.fingerprint() == back.fingerprint()


class Ragged(ArraySource):
    """Samples of different lengths, read one at a time."""

    uniform = False

    def read(self, indices):
        assert len(indices) == 1
        return {"x": X[:1, :, : 1 + int(indices[0]) % 2]}


def test_samples_of_different_shapes_are_read_one_at_a_time():
    found = canonical(Ragged({"x": X[:4]}))
    assert len(np.unique(found.digests, axis=0)) == 2
