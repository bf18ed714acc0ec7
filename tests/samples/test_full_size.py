"""The full-size sample: its steps, and what its committed table has to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samples.full_size import pictures, table
from samples.sheet import BEGIN, END, RESULTS

ROOT = Path(__file__).parents[2]
PAGE = RESULTS / "full_size.md"


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    text = (RESULTS / "full_size.json").read_text(encoding="utf-8")
    return {label: runs["0"] for label, runs in json.loads(text)["rows"].items()}


def test_pictures_are_as_large_as_the_networks_want() -> None:
    images = pictures.train()["image"]
    assert (images.shape, images.dtype) == ((pictures.COUNT, 224, 224, 3), np.uint8)


@pytest.mark.parametrize("name", table.NAMES)
def test_every_step_has_a_file_of_its_own(name: str) -> None:
    files = [table.file_of(name, step) for step in table.steps(name)]
    assert len(set(files)) == len(files)
    assert table.WORK / f"{name}.onnx" not in files


def test_the_page_shows_the_measured_table() -> None:
    page = (ROOT / "samples" / "full_size" / "README.md").read_text(encoding="utf-8")
    assert page.split(BEGIN)[1].split(END)[0].strip() in PAGE.read_text(encoding="utf-8")


def test_every_command_passes_within_eight_gigabytes(rows: dict[str, dict[str, Any]]) -> None:
    assert [label for label, figures in rows.items() if figures.get("peak", 0) >= 8000] == []


def test_half_the_cost_is_reached(rows: dict[str, dict[str, Any]]) -> None:
    both = [name for name in table.NAMES if name in rows and f"{name}: prune" in rows]
    assert both
    assert [name for name in both if rows[f"{name}: prune"]["macs"] > 0.5 * rows[name]["macs"]] == []
