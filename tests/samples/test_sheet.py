"""A sample's table: rows are measured once, means and spreads are shown, a changed input counts as a new one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from samples.sheet import BEGIN, END, KB, Column, Sheet, draw, panels, scatter

COLUMNS = (Column("accuracy", "accuracy %", ".2f", tolerance=1.0), KB, Column("why", "why", "s"))


class Measured:
    """Counts its calls."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, seed: int) -> dict[str, float]:
        self.seeds.append(seed)
        return {"accuracy": 90.0 + seed, "kB": 10.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").write_bytes(b"one")
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    return tmp_path


def sheet(folder: Path, *words: str) -> Sheet:
    arguments = ["--out", str(folder), "--work", str(folder / "work"), *words]
    return Sheet("try", "A try", COLUMNS, "How.", (folder / "model",), arguments, folder / "README.md")


def test_rows_are_remembered_seed_by_seed_and_shown_with_their_spread(folder: Path) -> None:
    measured = Measured()
    for _ in range(2):
        made = sheet(folder)
        made.row("float", measured, seeds=(0, 1, 2))
        made.write()
    assert measured.seeds == [0, 1, 2]
    assert "| float | 91.00 ± 1.00 | 10 | - |" in (folder / "try.md").read_text()


def test_again_and_a_changed_input_measure_anew(folder: Path) -> None:
    measured = Measured()
    sheet(folder).row("float", measured)
    sheet(folder, "--again").row("float", measured)
    (folder / "model").write_bytes(b"two")
    sheet(folder).row("float", measured)
    assert measured.seeds == [0, 0, 0]


def test_quick_measures_marked_rows_at_the_first_seed_and_writes_figures_alone(folder: Path) -> None:
    measured = Measured()
    made = sheet(folder, "--quick")
    assert made.row("float", measured, seeds=(3, 4), quick=True)
    assert made.row("other", measured) == []
    made.write(plot=scatter("kB", "accuracy", "kB", "%"))
    assert measured.seeds == [3]
    assert list(json.loads((folder / "try.json").read_text())["rows"]) == ["float"]
    assert not (folder / "try.md").exists()


def test_the_plot_has_the_same_bytes_for_the_same_figures(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    pictures = []
    for _ in range(2):
        made = sheet(folder)
        made.row("float", Measured())
        made.write(plot=scatter("kB", "accuracy", "kB", "%"))
        pictures.append((folder / "try.svg").read_bytes())
    assert pictures[0] == pictures[1]


def test_a_rerun_differs_beyond_the_tolerance_only() -> None:
    accuracy, size = COLUMNS[:2]
    assert not accuracy.differs({"accuracy": 90.0}, {"accuracy": 90.9})
    assert accuracy.differs({"accuracy": 90.0}, {"accuracy": 91.1})
    assert size.differs({"kB": 100.0}, {"kB": 103.0})
    assert not size.differs({"kB": 100.0}, {"kB": 101.0})


def test_panels_draw_every_row_and_tell_what_lies_off_the_axis(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = {"whole": {"accuracy": 90.0, "kB": 10}, "ruined": {"accuracy": 12.0, "kB": 5}, "untimed": {"accuracy": 80.0}}
    draw(panels(("accuracy", "accuracy %"), ("kB", "kB"), least=70), rows, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert all(f">{name}<" in text for name in rows)
    assert ">12<" in text
    assert text.count("accuracy %") == 1


def test_a_difference_has_a_sign_and_its_spread_none() -> None:
    runs = [{"gain": 1.0}, {"gain": 2.0}]
    assert Column("gain", "gain", "+.2f").shown(runs) == "+1.50 ± 0.71"
