from __future__ import annotations

import pytest

from onnxcompress.report import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.7, "1 k"),
        (1_234_567, "1.23 M"),
        (999_499, "999 k"),
        (999_501, "1 M"),
        (5e13, "50 T"),
    ],
)
def test_count(value: float, text: str) -> None:
    assert units.count(value) == text


def test_cost_gives_bytes_their_unit_and_nodes_all_digits() -> None:
    assert units.cost("bytes", 650_321) == "650 kB"
    assert units.cost("bytes", 12) == "12 B"
    assert units.cost("nodes", 12_345) == "12,345"
    assert units.cost("macs", 12_345) == "12.3 k"


def test_percent_and_times_say_nothing_about_zero() -> None:
    assert units.percent(200, 100) == "-50.0 %"
    assert units.percent(100_000, 100_001) == "0 %"
    assert units.percent(0, 1) == ""
    assert units.times(0, 1) == units.times(1, 0) == ""
    assert units.times(30, 10) == "3.00x"


def test_change_is_silent_where_nothing_changed() -> None:
    assert units.change("params", {"params": 10}, {"params": 10}) == ""
    assert units.change("params", {}, {"params": 10}) == ""
    assert units.change("params", {"params": 2000}, {"params": 1000}) == "parameters 2 k -> 1 k"
