from __future__ import annotations

from onnxcompress.shapes import ShapeTable


def test_free_sizes_that_figures_hold_for_are_told() -> None:
    table = ShapeTable(symbols={"N": 2, "h": 32, "w": 64}, batch_names=("N",))
    assert table.size_note() == "multiply-adds are counted at h = 32, w = 64; give --shape for other sizes"
    assert table.size_note("given") == "multiply-adds are counted at h = 32, w = 64"
    assert table.size_note("samples") == "multiply-adds are counted at h = 32, w = 64, as the first sample has it"
    assert ShapeTable(symbols={"N": 2}, batch_names=("N",)).size_note() == ""
