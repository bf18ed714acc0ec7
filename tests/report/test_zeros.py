from __future__ import annotations

from builders.reports import costs

from onnxcompress.report import Finding, PassRecord, Report
from onnxcompress.report.html import headline, to_html
from onnxcompress.report.summary import group_findings, pass_line, zero_rows
from onnxcompress.report.table import to_text

NUMBERS = {"weights": 1000, "zeros_before": 10, "zeros": 700, "zipped_before": 4000, "zipped": 1600}
LAYER = {"weights": 1000, "zeros": 700, "sparsity": 0.7, "error_by_magnitude": 0.5, "error": 0.0625}


def report(*, later: bool = False, layers: int = 1) -> Report:
    one = costs(1010, 5, 4100, 1)
    sparse = PassRecord("prune-weights", {"pass": "prune-weights"}, True, 0.1, one, one)
    sparse.findings = [Finding("PRUNE-SPARSITY", "70 %", f"<b>conv{i}</b>", numbers=LAYER) for i in range(layers)]
    sparse.findings.append(Finding("PRUNE-SPARSITY-TOTAL", "in all", numbers=NUMBERS))
    passes = [sparse, PassRecord("insert-qdq", {"pass": "insert-qdq"}, later, 0.1, one, one)]
    return Report(before=one, after=one, passes=passes)


def test_zeros_and_zipped_bytes_are_rows_of_size() -> None:
    zero, zipped = zero_rows(report().passes)
    assert (zero.label, zero.before, zero.after) == ("zero weights", "1.00 %", "70.00 %")
    assert (zipped.label, zipped.before, zipped.after, zipped.change) == (
        "bytes when zipped",
        "4 kB",
        "1.6 kB",
        "-60.0 %",
    )
    assert headline(report()) == [("2.50x", "smaller when zipped")]


def test_figures_that_a_later_pass_outdated_are_not_shown() -> None:
    assert zero_rows(report(later=True).passes) == []
    assert headline(report(later=True)) == []


def test_a_pass_says_how_many_weights_are_zero() -> None:
    assert pass_line(report().passes[0]) == "70.0 % of 1 k weights zero"


def test_the_table_by_layer_has_80_columns_at_most() -> None:
    text = to_text(report(layers=40))
    assert "<b>conv0</b>" in text
    assert "70.00 %" in text
    assert "0.0625" in text
    assert "and 10 more" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "conv0" not in to_text(report(), findings=False)


def test_the_page_has_every_layer_and_escapes_names() -> None:
    page = to_html(report(layers=40))
    assert page.count("&lt;b&gt;conv") >= 40
    assert "<b>conv" not in page
    assert "Zeros by layer" in page
    assert "Zeros by layer" not in to_html(Report())


def test_findings_that_say_different_things_are_listed_with_what_they_say() -> None:
    alike, other = [Finding("A", "same", name) for name in "xy"], Finding("B", "one", "x")
    groups = {g.code: g for g in group_findings([*alike, other, Finding("B", "two", "y")])}
    assert groups["A"].details == ()
    assert groups["B"].details == (("x", "one"), ("y", "two"))
