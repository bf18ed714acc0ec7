"""The zoo's results as a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]


def page(rows: Mapping[str, Mapping[str, Row]], dropped: Mapping[str, str]) -> str:
    """One table of all files, and the summary."""
    return f"{len(rows)} files, {len(dropped)} not exported\n"
