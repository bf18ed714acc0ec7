"""A report arranged for reading: the rows and groups that the text table and the HTML page both show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnxcompress.report import units, zeros
from onnxcompress.report.records import Finding, PassRecord, Severity

# A run of the input model below this is too short to claim a speed-up by.
_CLAIM_MS = 10.0
# Paired figures of Report.quality: label, key before, key after.
_PAIRS = (("accuracy", "accuracy_before", "accuracy_after"), ("your metric", "metric_before", "metric_after"))
# Distance to a teacher of its own: label, key (its twin ends in _before), how it is written.
_DISTANCES = (("agreement with teacher", "top1_agreement", "share"), ("relative L2 to teacher", "relative_l2", "short"))
# Single figures: label, key, how it is written, where the top-1 family is fractions.
_SINGLES = (
    ("top-1 agreement", "top1_agreement", "share"),
    ("relative L2", "relative_l2", "short"),
    ("largest difference", "max_abs", "short"),
    ("cosine", "cosine", "short"),
    ("signal to noise", "sqnr_db", "db"),
)


@dataclass(frozen=True)
class Row:
    """One figure before and after.

    Attributes:
        label: What is measured.
        before: Figure of the input; empty where there is none.
        after: Figure of the output.
        change: The difference in a word.
        better: True or False where the change has a good and a bad side, else None.
        fraction: after / before for a bar, None where that means nothing.
    """

    label: str
    before: str
    after: str
    change: str = ""
    better: bool | None = None
    fraction: float | None = None


@dataclass(frozen=True)
class FindingGroup:
    """Findings of one code, counted.

    Attributes:
        code: Stable reason code.
        count: How many.
        severity: The gravest of them.
        message: The first one's sentence.
        nodes: Names of the nodes concerned, in order.
        details: Node and sentence of each, where they do not all say the same; else empty.
    """

    code: str
    count: int
    severity: Severity
    message: str
    nodes: tuple[str, ...]
    details: tuple[tuple[str, str], ...] = ()


def cost_rows(before: Mapping[str, int], after: Mapping[str, int]) -> list[Row]:
    """One row for each cost that both sides have."""
    keys = [key for key in units.LABELS if key in before and key in after]
    return [_cost_row(key, before[key], after[key]) for key in keys]


def _cost_row(key: str, before: int, after: int) -> Row:
    fraction = after / before if before else None
    better = None if before == after or key == "nodes" else after < before
    return Row(
        units.LABELS[key],
        units.cost(key, before),
        units.cost(key, after),
        units.percent(before, after),
        better,
        None if key == "nodes" else fraction,
    )


def zero_rows(passes: Sequence[PassRecord]) -> list[Row]:
    """Share of zero weights and bytes when zipped, where the last change was to set weights to zero."""
    found = zeros.standing(passes)
    if not found:
        return []
    shares = [units.share(found[key] / found["weights"]) for key in ("zeros_before", "zeros")]
    zipped = _cost_row("bytes", found["zipped_before"], found["zipped"])
    return [Row("zero weights", shares[0], shares[1]), replace(zipped, label="bytes when zipped")]


def quality_rows(quality: Mapping[str, Any]) -> list[Row]:
    """Accuracy before and after, then the figures that compare the two models' outputs."""
    certain = _certain(quality)
    rows = [_pair_row(label, quality[a], quality[b], certain) for label, a, b in _PAIRS if _numbers(quality, a, b)]
    several: Mapping[str, tuple[float, float]] = quality.get("metrics", {})
    if several:
        rows = [row for row in rows if row.label != _PAIRS[1][0]]
        rows += [_pair_row(name, *pair, certain and name == quality["metric_name"]) for name, pair in several.items()]
    if isinstance(quality.get("interval"), (list, tuple)) and rows:
        of = quality["metric_name"] if several else "the change"
        rows.append(Row(f"95 % interval of {of}", "", "", _interval(quality)))
    paired = [one for one in _DISTANCES if _numbers(quality, one[1], f"{one[1]}_before")]
    told = {key for _, key, _ in paired}
    rows += [
        Row(label, _single(quality[f"{key}_before"], kind), _single(quality[key], kind)) for label, key, kind in paired
    ]
    singles = [one for one in _SINGLES if one[1] not in told and _numbers(quality, one[1])]
    return rows + [Row(label, "", _single(quality[key], kind)) for label, key, kind in singles]


def _certain(quality: Mapping[str, Any]) -> bool:
    """False where the interval of the change holds 0: the change may be chance, and is neither good nor bad."""
    low, high = quality.get("interval") or (1.0, 1.0)
    return not low <= 0 <= high


def _interval(quality: Mapping[str, Any]) -> str:
    """The interval of the user's metric where there is one, else of the accuracy."""
    low, high = quality["interval"]
    if "metric_after" in quality:
        return f"{low:+.4g} to {high:+.4g}"
    return f"{units.points(low)} to {units.points(high)}"


def _numbers(values: Mapping[str, Any], *keys: str) -> bool:
    return all(isinstance(values.get(key), (int, float)) for key in keys)


def _pair_row(label: str, before: float, after: float, certain: bool) -> Row:
    fractions = label == "accuracy"
    shown = units.share if fractions else units.short
    change = units.points(after - before) if fractions else f"{after - before:+.4g}"
    better = after > before if certain and before != after else None
    return Row(label, shown(before), shown(after), change, better)


def _single(value: float, kind: str) -> str:
    if kind == "share":
        return units.share(value)
    return f"{value:.1f} dB" if kind == "db" else units.short(value)


def latency_rows(latency: Mapping[str, Any]) -> list[Row]:
    """Medians before and after, one row a batch size; what an A/A run calls noise is called noise."""
    runs = [run for run in latency.get("runs", ()) if {"before", "after"} <= set(run.get("models", ()))]
    return [_latency_row(run) for run in runs]


def long_enough(latency: Mapping[str, Any]) -> bool:
    """Whether the last run took the input model the 10 ms that a claim of speed needs."""
    runs = [run for run in latency.get("runs", ()) if "before" in run.get("models", ())]
    return bool(runs) and runs[-1]["models"]["before"]["ms"] >= _CLAIM_MS


def _latency_row(run: Mapping[str, Any]) -> Row:
    before, after = run["models"]["before"], run["models"]["after"]
    faster, certain = after["ratio"], after["beyond_noise"]
    told = f"{faster:.2f}x faster" if certain and faster > 1 else f"{faster:.2f}x{'' if certain else ' (noise)'}"
    return Row(
        f"run of batch {run['batch']}",
        f"{before['ms']:.3g} ms",
        f"{after['ms']:.3g} ms",
        told + (", short run" if before["ms"] < _CLAIM_MS else ""),
        faster > 1 if certain else None,
        1 / faster,
    )


def pass_line(record: PassRecord) -> str:
    """What one pass changed, in few words."""
    parts = [units.change(key, record.before, record.after) for key in units.LABELS]
    told = ", ".join(part for part in (zeros.told(record), _trained(record), *parts) if part)
    return told or ("changed, at the same cost" if record.changed else "left the model as it was")


def _trained(record: PassRecord) -> str:
    """Steps and what they gained, where the pass trained."""
    found = next((f for f in record.findings if f.code in ("DISTILL-TRAINED", "DISTILL-REPAIR-ONLY")), None)
    numbers = {} if found is None else found.numbers
    if not _numbers(numbers, "steps", "error_before", "error_after"):
        return ""
    steps = "repair alone" if found is not None and found.code == "DISTILL-REPAIR-ONLY" else f"{numbers['steps']} steps"
    if _numbers(numbers, "agreement_before", "agreement_after"):
        before, after = (units.share(float(numbers[f"agreement_{when}"])) for when in ("before", "after"))
        return f"{steps}, equal classes {before} -> {after}"
    return (
        f"{steps}, error {units.short(float(numbers['error_before']))} -> {units.short(float(numbers['error_after']))}"
    )


def group_findings(findings: list[Finding]) -> list[FindingGroup]:
    """Findings by code, warnings first, then by number."""
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    groups = [_group(code, members) for code, members in by_code.items()]
    return sorted(groups, key=lambda g: (g.severity is not Severity.WARNING, -g.count, g.code))


def _group(code: str, members: list[Finding]) -> FindingGroup:
    grave = any(member.severity == Severity.WARNING for member in members)
    nodes = tuple(member.node for member in members if member.node)
    differ = len({member.message for member in members}) > 1
    details = tuple((member.node, member.message) for member in members) if differ else ()
    severity = Severity.WARNING if grave else Severity.INFO
    return FindingGroup(code, len(members), severity, members[0].message, nodes, details)
