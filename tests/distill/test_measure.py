"""Which of two students is closer to the teacher, and when one is close enough."""

from __future__ import annotations

import pytest

from onnxcompress.distill.measure import Closeness


@pytest.mark.parametrize(
    ("mine", "other", "better"),
    [
        ((0.95, 0.20, 1000), (0.90, 0.10, 1000), True),  # five points of agreement are no luck
        ((0.90, 0.10, 1000), (0.95, 0.20, 1000), False),
        ((0.900, 0.10, 1000), (0.905, 0.20, 1000), True),  # half a point is: the error decides
        ((0.905, 0.20, 1000), (0.900, 0.10, 1000), False),
        ((0.905, 0.10, 1000), (0.905, 0.10, 1000), False),  # equal is not better
        ((0.99, 0.20, 50), (0.50, 0.10, 50), False),  # too few positions: the error alone
        ((None, 0.10, 0), (None, 0.20, 0), True),
        ((None, 0.20, 0), (None, 0.10, 0), False),
        ((1.0, float("nan"), 1000), (0.1, 1.0, 1000), False),
    ],
)
def test_agreement_decides_where_it_says_something(
    mine: tuple[float | None, float, int], other: tuple[float | None, float, int], better: bool
):
    assert Closeness(*mine).better_than(Closeness(*other)) is better


@pytest.mark.parametrize(
    ("measured", "share", "close"),
    [
        ((1.0, 0.0, 1000), 0.995, True),
        ((1.0, 0.0, 100), 0.995, False),  # a hundred equal answers do not show it
        ((0.996, 0.0, 1000), 0.995, False),
        ((0.999, 0.0, 10000), 0.995, True),
        ((1.0, 0.0, 10**9), 1.0, False),
        ((None, 1e-5, 0), 0.995, True),  # a root mean square error of 0.3 %
        ((None, 1e-4, 0), 0.995, False),
        ((1.0, float("nan"), 1000), 0.9, False),
    ],
)
def test_close_is_more_than_luck(measured: tuple[float | None, float, int], share: float, close: bool):
    assert Closeness(*measured).close(share) is close
