from __future__ import annotations

from onnxcompress.report.summary import quality_rows


def test_with_a_teacher_the_distance_is_shown_before_and_after() -> None:
    quality = {"top1_agreement_before": 0.5, "top1_agreement": 0.9, "relative_l2": 0.1, "relative_l2_before": 0.4}
    rows = {row.label: (row.before, row.after) for row in quality_rows(quality)}
    assert rows == {
        "agreement with teacher": ("50.00 %", "90.00 %"),
        "relative L2 to teacher": ("0.4", "0.1"),
    }
