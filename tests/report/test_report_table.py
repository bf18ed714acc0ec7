from __future__ import annotations

from dataclasses import replace

from builders.reports import full_report

from onnxcompress.report import Report
from onnxcompress.report.table import to_text


def test_no_line_is_longer_than_80_columns() -> None:
    lines = to_text(full_report()).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)


def test_the_figures_passes_findings_and_notes_are_there() -> None:
    text = to_text(full_report())
    for part in ("1.23 M", "612 k", "-86.8 %", "97.31 %", "-0.29 pt", "21 ms", "insert-qdq", "note: accuracy was"):
        assert part in text
    assert "quality measured on 600 held-out samples" in text


def test_names_from_a_model_are_no_markup() -> None:
    assert "[bold]not traced[/bold]" in to_text(full_report())


def test_a_short_table_keeps_warnings_and_counts_the_rest() -> None:
    text = to_text(full_report(), findings=False)
    assert "PRUNE-FROZEN-OP " in text
    assert "PRUNE-FROZEN-OUTPUT" not in text
    assert "2 more findings" in text


def test_str_of_a_report_is_the_table() -> None:
    assert str(full_report()) == to_text(full_report())


def test_an_empty_report_is_no_error() -> None:
    assert "before" in to_text(Report())


def test_one_of_a_kind_is_singular() -> None:
    report = full_report()
    report.quality["samples"] = 1
    kept = [f for f in report.findings if f.severity == "info"][:1]
    report.passes = [replace(p, findings=kept if i == 0 else []) for i, p in enumerate(report.passes)]
    text = to_text(report, findings=False)
    assert "1 held-out sample\n" in text and "1 more finding: see it with -v" in text
