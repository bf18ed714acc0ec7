from __future__ import annotations

from builders.reports import costs, full_report, timed_run

from onnxcompress.report import Finding, PassRecord
from onnxcompress.report.records import Severity
from onnxcompress.report.summary import cost_rows, group_findings, latency_rows, long_enough, pass_line, quality_rows


def test_cost_rows_tell_better_from_worse() -> None:
    rows = {row.label: row for row in cost_rows(costs(100, 100, 100, 5), costs(50, 100, 120, 9))}
    assert (rows["parameters"].better, rows["multiply-adds"].better, rows["bytes"].better) == (True, None, False)
    assert rows["nodes"].better is None  # more nodes are no loss: Q/DQ nodes are fused away
    assert rows["parameters"].fraction == 0.5


def test_cost_rows_leave_out_what_was_not_measured() -> None:
    assert [row.label for row in cost_rows({"bytes": 10}, {"bytes": 5, "macs": 3})] == ["bytes"]


def test_quality_rows_pair_accuracy_with_its_interval() -> None:
    rows = quality_rows(full_report().quality)
    assert [(row.label, row.change) for row in rows[:2]] == [
        ("accuracy", "-0.29 pt"),
        ("95 % interval of the change", "-0.61 pt to +0.03 pt"),
    ]
    assert rows[0].better is None  # the interval holds 0: it may be chance
    assert quality_rows({**full_report().quality, "interval": [-0.006, -0.001]})[0].better is False
    assert rows[-1].after == "27.7 dB"


def test_the_interval_of_a_users_metric_is_not_in_points() -> None:
    rows = quality_rows({"metric_before": 1.5, "metric_after": 1.25, "interval": [-0.4, -0.1]})
    assert [row.change for row in rows] == ["-0.25", "-0.4 to -0.1"]


def test_each_of_several_metrics_has_a_row_and_the_interval_says_whose_it_is() -> None:
    metrics = {"accuracy of a kind": [0.9, 0.9], "recall": [0.8, 0.7]}
    quality = {"metric_before": 0.8, "metric_after": 0.7, "metric_name": "recall", "metrics": metrics}
    rows = quality_rows({**quality, "interval": [-0.2, -0.05]})
    assert [row.label for row in rows] == ["accuracy of a kind", "recall", "95 % interval of recall"]
    assert [row.better for row in rows[:2]] == [None, False]


def test_latency_within_the_noise_is_called_noise() -> None:
    runs = [timed_run(1, 10.0, 9.6, beyond_noise=False), timed_run(8, 10.0, 5.0), timed_run(8, 10.0, 20.0)]
    rows = latency_rows({"runs": runs})
    assert [row.change for row in rows] == ["1.04x (noise)", "2.00x faster", "0.50x"]
    assert [row.better for row in rows] == [None, True, False]
    assert latency_rows({}) == []


def test_pass_line_covers_all_three_outcomes() -> None:
    one = costs(1, 1, 1, 1)
    assert pass_line(PassRecord("p", {}, False, 0.0, one, one)) == "left the model as it was"
    assert pass_line(PassRecord("p", {}, True, 0.0, one, one)) == "changed, at the same cost"
    assert pass_line(PassRecord("p", {}, True, 0.0, costs(1, 1, 830_400, 1), costs(1, 1, 830_300, 1))) == (
        "changed, at the same cost"
    )
    assert pass_line(PassRecord("p", {}, True, 0.0, one, costs(1, 1, 1, 3))) == "nodes 1 -> 3"


def test_pass_line_of_a_training_has_steps_and_gain() -> None:
    one = costs(1, 1, 1, 1)
    shares = {"steps": 40, "error_before": 2.0, "error_after": 0.5, "agreement_before": 0.125, "agreement_after": 0.8}
    errors = {key: value for key, value in shares.items() if "agreement" not in key}
    lines = [
        pass_line(PassRecord("distill", {}, True, 0.0, one, one, [Finding("DISTILL-TRAINED", "m", numbers=numbers)]))
        for numbers in (shares, errors)
    ]
    assert lines == ["40 steps, equal classes 12.50 % -> 80.00 %", "40 steps, error 2 -> 0.5"]


def test_findings_are_grouped_by_code_with_warnings_first() -> None:
    many = [Finding("A", "a", f"n{i}") for i in range(3)]
    groups = group_findings([*many, Finding("B", "b", "m", Severity.WARNING)])
    assert [(g.code, g.count, g.nodes) for g in groups] == [("B", 1, ("m",)), ("A", 3, ("n0", "n1", "n2"))]


def test_a_run_under_ten_milliseconds_claims_no_speed() -> None:
    short, long = ({"runs": [timed_run(8, ms, ms / 2)]} for ms in (9.0, 11.0))
    assert [long_enough(latency) for latency in (short, long, {})] == [False, True, False]
    assert latency_rows(short)[0].change == "2.00x faster, short run"
    assert latency_rows(long)[0].change == "2.00x faster"
