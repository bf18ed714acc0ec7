"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from onnxcompress.duration import parse_duration
from onnxcompress.errors import UsageError


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("3m", 180), ("1.5h", 5400), (" 2 min ", 120)])
def test_numbers_with_and_without_units(text, seconds):
    assert parse_duration(text, option="budget") == seconds


@pytest.mark.parametrize("text", ["", "0", "-3m", "3 parsecs", "m", "nan", "1e999", "9" * 400])
def test_anything_else_is_refused_by_name(text):
    with pytest.raises(UsageError, match="no length of time"):
        parse_duration(text, option="budget")
