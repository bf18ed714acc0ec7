from __future__ import annotations

import numpy as np
import pytest

from onnxcompress.errors import UsageError
from onnxcompress.passes.sparsifying.n_m import NM, pattern_of


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (1, 4), (1, 2), (3, 5)])
def test_the_largest_of_each_group_stay(n, m):
    scores = np.random.default_rng(0).random((7, 3 * m))
    gone = NM(n, m).mask(scores).reshape(7, 3, m)
    grouped = scores.reshape(7, 3, m)
    assert (gone.sum(axis=-1) == m - n).all()
    assert (np.where(gone, grouped, -1).max(axis=-1) <= np.where(gone, 2, grouped).min(axis=-1)).all()


def test_of_equal_weights_the_first_ones_stay():
    assert NM(2, 4).mask(np.ones((1, 8))).tolist() == [[False, False, True, True] * 2]


@pytest.mark.parametrize("text", ["threshold", "2-4", "2:", ":4", "2:4:8", "-1:4", "a:b", " 2:4"])
def test_other_words_are_no_pattern(text):
    assert pattern_of(text) is None


@pytest.mark.parametrize("text", ["3:2", "4:4", "0:4", "0:0"])
def test_patterns_that_leave_nothing_out_or_nothing_in_are_refused(text):
    with pytest.raises(UsageError) as caught:
        pattern_of(text)
    assert caught.value.code == "USAGE-PRUNE-PATTERN"
